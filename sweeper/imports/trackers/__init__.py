"""Runs that experiment trackers keep, as tables; one module a tracker.

``__init__.pyi`` is the face of the package: what others may use; loaded when asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
