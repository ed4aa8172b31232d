"""What keeps a store in order: trials again, space back, faults found and mended."""

from .backup import Backup as Backup
from .backup import back_up as back_up
from .check_curves import orphans as orphans
from .disposal import Disposal as Disposal
from .disposal import delete_study as delete_study
from .disposal import disposal_of as disposal_of
from .disposal import rename_study as rename_study
from .merge import merge_store as merge_store
from .merge_plan import Differing as Differing
from .merge_plan import Merge as Merge
from .merge_plan import Side as Side
from .move import Move as Move
from .move import move_store as move_store
from .move import survey as survey
from .prune import Waste as Waste
from .prune import prune_store as prune_store
from .retry import forgive as forgive
from .retry import retry_trials as retry_trials
from .verify import Verification as Verification
from .verify import verify_store as verify_store
