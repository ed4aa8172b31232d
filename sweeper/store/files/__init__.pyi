"""The files beside the database: curves, checkpoints, sealed documents; where each lies."""

from .checkpoints import read_journal as read_journal
from .curves import read_outcome as read_outcome
from .local import flush as flush
from .paths import CurveFile as CurveFile
from .paths import Paths as Paths
from .protocol import TEMPORARY_PREFIX as TEMPORARY_PREFIX
from .protocol import FileInfo as FileInfo
from .protocol import FileStore as FileStore
from .protocol import disk_fault as disk_fault
from .protocol import listed as listed
from .protocol import open_files as open_files
