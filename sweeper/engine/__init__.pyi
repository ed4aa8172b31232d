"""Engine: executes trials, in process or through Ray Tune."""

from .ledger import LOOK_SECONDS as LOOK_SECONDS
from .messages import Died as Died
from .messages import Ended as Ended
from .messages import Event as Event
from .messages import Lost as Lost
from .messages import Parked as Parked
from .messages import Saved as Saved
from .messages import Started as Started
from .metrics import published as published
from .packing import local_processors as local_processors
from .packing import make_packs as make_packs
from .policy import Limits as Limits
from .progress import Progress as Progress
from .progress import View as View
from .proposals import Proposals as Proposals
from .run import Run as Run
from .run import RunSummary as RunSummary
from .signals import graceful as graceful
from .timing import Timings as Timings
