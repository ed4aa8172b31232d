"""Optimizers with a leading ensemble axis; one algorithm a module."""

from .coefficients import default_steps as default_steps
from .coefficients import newton_schulz_coefficients as newton_schulz_coefficients
from .factory import build as build
from .optimizer import Unit as Unit
from .optimizer import select as select
from .qk_clip import QKClip as QKClip
from .qk_clip import qk_clip_of as qk_clip_of
from .settings import block_settings as block_settings
from .settings import choice_settings as choice_settings
from .settings import power_settings as power_settings
from .spec import ORTHOGONAL as ORTHOGONAL
from .spec import SHARES as SHARES
from .spec import SPECS as SPECS
from .spec import algorithm_settings as algorithm_settings
from .spec import others_of as others_of
from .spec import spec_of as spec_of
from .spec import traits_of as traits_of
from .spec import used as used
from .spec import vectors_of as vectors_of
