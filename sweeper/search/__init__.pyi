"""Search: who proposes the next trials; every module beside ``base`` is one strategy."""

from .base import Outlook as Outlook
from .base import Proposal as Proposal
from .base import Search as Search
from .base import Standing as Standing
from .base import goes_on as goes_on
from .base import make_search as make_search
from .base import outlook_of as outlook_of
from .base import standings_of as standings_of
