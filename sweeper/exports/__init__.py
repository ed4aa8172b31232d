"""Studies of the store as files for other programs; every module beside ``base`` is one format.

``__init__.pyi`` is the face of the package: what others may use; loaded when asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
