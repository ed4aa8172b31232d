"""The training of a pack of models side by side: loop, passes, batches, checkpoints."""

from .devices import CACHED as CACHED
from .devices import compute_dtype as compute_dtype
from .loop import Training as Training
from .sampling import sampled as sampled
from .schedule import Schedule as Schedule
from .schedule import warmup_steps as warmup_steps
from .settings import RUN as RUN
from .settings import has_one_horizon as has_one_horizon
from .settings import run_faults as run_faults
from .streams import Batch as Batch
from .streams import TokenStream as TokenStream
