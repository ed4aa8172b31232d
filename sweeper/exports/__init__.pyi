"""Studies of the store as files for other programs; every module beside ``base`` is one format."""

from .base import Exported as Exported
from .base import export_formats as export_formats
from .base import export_study as export_study
