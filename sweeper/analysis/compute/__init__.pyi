"""Loss against compute: laws, frontiers, tuned losses and compute multipliers."""

from .cost import RunCost as RunCost
from .frontier import Frontier as Frontier
from .frontier import FrontierPoint as FrontierPoint
from .frontier import compute_lost as compute_lost
from .frontier import frontier_of as frontier_of
from .law import Law as Law
