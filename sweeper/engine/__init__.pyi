"""Engine: executes trials, in process or through Ray Tune."""

from .packing import local_accelerators as local_accelerators
from .packing import local_processors as local_processors
from .packing import make_packs as make_packs
from .policy import Limits as Limits
from .progress import View as View
from .proposals import Proposals as Proposals
from .run import Run as Run
from .run import RunSummary as RunSummary
from .signals import graceful as graceful
from .timing import Timings as Timings
