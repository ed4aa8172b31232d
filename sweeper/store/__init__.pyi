"""The store: one database of trials and results, and the files beside it."""

from .files.checkpoints import Journal as Journal
from .files.checkpoints import discard_checkpoints as discard_checkpoints
from .files.checkpoints import forget_older as forget_older
from .files.checkpoints import read_journal as read_journal
from .files.checkpoints import write_checkpoint as write_checkpoint
from .files.curves import read_curves as read_curves
from .files.curves import read_outcome as read_outcome
from .files.curves import write_curve as write_curve
from .files.curves import write_curves as write_curves
from .files.paths import Paths as Paths
from .files.protocol import FileStore as FileStore
from .files.protocol import disk_fault as disk_fault
from .owner import Owner as Owner
from .records import IMPORTED as IMPORTED
from .records import LOSS_ERROR as LOSS_ERROR
from .records import RESERVED_COLUMNS as RESERVED_COLUMNS
from .records import STANDARD_ERROR as STANDARD_ERROR
from .records import Account as Account
from .records import Changes as Changes
from .records import Estimate as Estimate
from .records import Membership as Membership
from .records import Probe as Probe
from .records import StudyRecord as StudyRecord
from .store import Store as Store
from .upkeep.prune import Waste as Waste
from .upkeep.verify import Verification as Verification
