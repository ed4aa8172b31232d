"""Optimizers with a leading ensemble axis; one algorithm a module."""

from .clipping import clip as clip
from .factory import build as build
from .names import EPSILONS as EPSILONS
from .names import ORTHOGONAL as ORTHOGONAL
from .names import default_steps as default_steps
from .names import newton_schulz_coefficients as newton_schulz_coefficients
from .names import others_of as others_of
from .names import used as used
from .names import vectors_of as vectors_of
from .optimizer import Unit as Unit
from .optimizer import select as select
from .qk_clip import QKClip as QKClip
from .qk_clip import qk_clip_of as qk_clip_of
from .settings import SHARES as SHARES
from .settings import algorithm_settings as algorithm_settings
from .settings import block_settings as block_settings
from .settings import choice_settings as choice_settings
from .settings import power_settings as power_settings
