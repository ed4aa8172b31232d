"""Optimizers with a leading ensemble axis; one algorithm a module."""

from .coefficients import MARGINS as MARGINS
from .coefficients import default_steps as default_steps
from .coefficients import newton_schulz_coefficients as newton_schulz_coefficients
from .factory import build as build
from .layout import Unit as Unit
from .layout import select as select
from .plain import PlainOptimizer as PlainOptimizer
from .qk_clip import Peaks as Peaks
from .qk_clip import QKClip as QKClip
from .spec import SHARES as SHARES
from .spec import SPECS as SPECS
from .spec import algorithm_settings as algorithm_settings
from .spec import block_settings as block_settings
from .spec import choice_settings as choice_settings
from .spec import optimizer_rule_settings as optimizer_rule_settings
from .spec import others_of as others_of
from .spec import power_settings as power_settings
from .spec import spec_of as spec_of
from .spec import traits_of as traits_of
from .spec import vectors_of as vectors_of
