"""Results that were made elsewhere, as a study like any other."""

from .importing import Imported as Imported
from .importing import import_results as import_results
from .request import ClaimedRule as ClaimedRule
from .request import ImportRequest as ImportRequest
from .request import NamePattern as NamePattern
from .sources import place_of as place_of
