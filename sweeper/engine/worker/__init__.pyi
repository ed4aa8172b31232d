"""What runs where a trial trains: the host of a pack, its attempts, its environment."""

from .attempt import told as told
from .environment import hostname as hostname
from .environment import processor as processor
from .host import Host as Host
