"""The training of a pack of models side by side: loop, passes, checkpoints."""

from .crew import ParallelTraining as ParallelTraining
from .devices import compute_dtype as compute_dtype
from .loop import Training as Training
from .model import RMS_EPSILON as RMS_EPSILON
from .model import Batch as Batch
from .model import InitialTensor as InitialTensor
from .model import Observe as Observe
from .model import grouped as grouped
from .model import initial_parameters as initial_parameters
from .model import tell_nobody as tell_nobody
from .own import OwnTrainer as OwnTrainer
from .ranks import Ranks as Ranks
from .ranks import serve as serve
from .sampling import sampled as sampled
from .schedule import Schedule as Schedule
from .schedule import warmup_steps as warmup_steps
from .settings import RECORDINGS as RECORDINGS
from .settings import RUN as RUN
from .settings import STEP_RECORDINGS as STEP_RECORDINGS
from .settings import has_one_horizon as has_one_horizon
from .settings import run_faults as run_faults
