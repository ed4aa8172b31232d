"""Search: who proposes the next trials; every module beside ``base`` is one strategy."""

from .base import Proposal as Proposal
from .base import Search as Search
from .base import make_search as make_search
from .basins.climb import Aim as Aim
from .basins.climb import decided as decided
from .basins.ladder import Ladder as Ladder
