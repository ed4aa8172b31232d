"""Engine: executes trials, in process or through Ray Tune."""

from .messages import Ended as Ended
from .messages import Shape as Shape
from .packing import local_processors as local_processors
from .packing import make_packs as make_packs
from .policy import Limits as Limits
from .progress import View as View
from .proposals import Proposals as Proposals
from .ray.cluster import cluster as cluster
from .ray.exchange import Exchange as Exchange
from .ray.mailbox import Mailbox as Mailbox
from .ray.mailbox import WorkerProcess as WorkerProcess
from .run import Run as Run
from .run import RunSummary as RunSummary
from .signals import graceful as graceful
from .timing import Timings as Timings
