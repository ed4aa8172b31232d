"""The coordinate check: whether updates and activations keep their size as a model grows."""

from .measured import Measured as Measured
from .measured import Model as Model
from .measuring import SEEDS as SEEDS
from .measuring import STEPS as STEPS
from .measuring import CheckRequest as CheckRequest
from .measuring import keep as keep
from .measuring import measured_study as measured_study
from .measuring import stored as stored
from .reading import TOLERANCE as TOLERANCE
from .reading import Row as Row
from .statement import CheckStatement as CheckStatement
from .statement import VariantCheck as VariantCheck
from .statement import as_csv as as_csv
from .statement import statement_of as statement_of
from .statement import table_rows as table_rows
