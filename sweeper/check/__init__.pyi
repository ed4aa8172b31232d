"""The coordinate check: whether updates and activations keep their size as a model grows."""

from .archive import checked as checked
from .archive import require_check as require_check
from .archive import stored_checks as stored_checks
from .measured import Measured as Measured
from .measured import Model as Model
from .measuring import CheckRequest as CheckRequest
from .measuring import measured_study as measured_study
from .model import coordinate_check as coordinate_check
from .reading import TOLERANCE as TOLERANCE
from .reading import Row as Row
from .statement import CheckStatement as CheckStatement
from .statement import VariantCheck as VariantCheck
from .statement import drawn_lines as drawn_lines
from .statement import layer_rows as layer_rows
from .statement import role_rows as role_rows
from .statement import statement_of as statement_of
