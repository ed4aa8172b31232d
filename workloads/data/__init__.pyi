"""Data: text as tokens, batches common to all trials of a seed."""

from .corpus import HOLD_OUT_EVERY as HOLD_OUT_EVERY
from .draws import IMAGES as IMAGES
from .draws import LABELS as LABELS
from .draws import drawn as drawn
from .images import Part as Part
from .images import absolute as absolute
from .images import images_fingerprint as images_fingerprint
from .images import is_source as is_source
from .images import load as load
from .images import sizes_of as sizes_of
from .sources import FORMS as FORMS
from .sources import canonical_source as canonical_source
from .sources import kind_of as kind_of
from .sources import known_kind as known_kind
from .sources import tokenizer_of as tokenizer_of
from .sources import vocabulary_of as vocabulary_of
from .text import load_corpus as load_corpus
from .tokens import batch as batch
from .tokens import evaluation_windows as evaluation_windows
from .tokens import read_tokens as read_tokens
