"""What runs where a trial trains: the host of a pack, its attempts, its environment."""

from .attempt import told as told
from .environment import hostname as hostname
from .environment import processor as processor
from .host import Host as Host
from .inspection import VERSIONS as VERSIONS
from .inspection import Inspection as Inspection
from .inspection import Reading as Reading
from .inspection import inspect as inspect
from .inspection import read_all as read_all
