"""The engine on Ray Tune: the only importers of ray."""

from .session import run_ray as run_ray
