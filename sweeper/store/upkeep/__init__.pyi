"""What keeps a store in order: trials again, space back, faults found and mended."""

from .check_curves import orphans as orphans
from .move import Move as Move
from .move import move_store as move_store
from .move import survey as survey
from .prune import Waste as Waste
from .prune import prune_store as prune_store
from .retry import forgive as forgive
from .retry import retry_trials as retry_trials
from .verify import Verification as Verification
from .verify import verify_store as verify_store
