"""Engine: executes trials, in process or through Ray Tune."""

from .doctor import Machine as Machine
from .doctor import Visit as Visit
from .doctor import answer_faults as answer_faults
from .doctor import clock_faults as clock_faults
from .doctor import device_faults as device_faults
from .doctor import examine as examine
from .doctor import file_faults as file_faults
from .doctor import here as here
from .doctor import off_clock as off_clock
from .doctor import version_faults as version_faults
from .messages import Shape as Shape
from .packing import local_accelerators as local_accelerators
from .packing import local_processors as local_processors
from .packing import make_packs as make_packs
from .packing import shape_at as shape_at
from .policy import Limits as Limits
from .progress import View as View
from .proposals import Proposals as Proposals
from .ray.nodes import Cluster as Cluster
from .ray.nodes import visit_cluster as visit_cluster
from .run import Run as Run
from .run import RunSummary as RunSummary
from .signals import graceful as graceful
from .timing import Timings as Timings
from .worker import VERSIONS as VERSIONS
from .worker import hostname as hostname
