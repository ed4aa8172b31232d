"""The files beside the database: curves, checkpoints, sealed documents; where each lies."""

from .checkpoints import read_journal as read_journal
from .curves import read_outcome as read_outcome
from .inventory import CurveFile as CurveFile
from .inventory import checkpoint_folders as checkpoint_folders
from .inventory import curve_files as curve_files
from .inventory import unfinished_files as unfinished_files
from .inventory import withdrawn_files as withdrawn_files
from .paths import TEMPORARY_PREFIX as TEMPORARY_PREFIX
from .paths import Paths as Paths
from .paths import Renaming as Renaming
from .paths import disk_fault as disk_fault
from .paths import flush as flush
from .paths import remove_files as remove_files
from .paths import temporary as temporary
from .sealed import seal as seal
from .sealed import unseal as unseal
