"""The ``llama`` workload: a language model, its card, settings, shape and checks."""

from .card import LLAMA as LLAMA
from .coordinates import coordinate_check as coordinate_check
from .coordinates import slopes as slopes
from .model import Llama as Llama
