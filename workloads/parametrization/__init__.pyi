"""Parametrizations: what each tensor is, and what a rule does to it; free of torch."""

from .canonical import canonical_rules as canonical_rules
from .canonical import rule_results as rule_results
from .checks import rule_faults as rule_faults
from .formula import ONE as ONE
from .formula import monomial as monomial
from .groups import single_groups as single_groups
from .groups import with_optimizer_defaults as with_optimizer_defaults
from .roles import ROLES as ROLES
from .roles import Role as Role
from .roles import TensorKind as TensorKind
from .roles import tensor_kinds as tensor_kinds
from .settings import rule_settings as rule_settings
from .table import PLACEHOLDERS as PLACEHOLDERS
from .table import rule_table as rule_table
from .updates import ENTRY as ENTRY
from .updates import GRID as GRID
from .updates import NORM as NORM
from .updates import SIGNS as SIGNS
from .updates import STEP as STEP
from .updates import OptimizerTraits as OptimizerTraits
from .updates import UpdateRule as UpdateRule
