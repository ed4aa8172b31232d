"""Parametrizations: what each tensor is, and what a rule does to it; free of torch."""

from .canonical import rule_results as rule_results
from .canonical import settled as settled
from .checks import rule_faults as rule_faults
from .roles import ROLES as ROLES
from .roles import Leaf as Leaf
from .roles import Role as Role
from .settings import rule_settings as rule_settings
from .table import UNSCALED as UNSCALED
from .table import rule_table as rule_table
