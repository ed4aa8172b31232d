"""The figures of a report: the only importers of matplotlib.

``__init__.pyi`` is the face of the package: what others may use; loaded when asked for.
"""

import importlib.util
import logging
import os
from pathlib import Path

import lazy_loader

from sweeper.errors import EnvironmentFault


def _import_matplotlib() -> None:
    """Imports matplotlib for files alone, whatever the user's environment chooses for windows
    and notebooks: a back end or a configuration that is not to be had here must not matter.

    Raises:
        EnvironmentFault: it cannot be imported; says what to look at.
    """
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        raise EnvironmentFault("figures need matplotlib, which is not installed")
    own = {
        "MPLBACKEND": "agg",
        "MATPLOTLIBRC": str(Path(found.origin).parent / "mpl-data" / "matplotlibrc"),
    }
    # It warns of a home that may not be written, which costs it a cache and us nothing.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        importlib.import_module("matplotlib")
    except Exception as fault:
        why = " ".join(f"{type(fault).__name__}: {fault}".split())[:200]
        raise EnvironmentFault(
            f"matplotlib, which draws figures, cannot be loaded ({why}); look at the file "
            "matplotlibrc in this folder, if there is one, and at MPLCONFIGDIR, or install "
            "matplotlib anew"
        ) from fault
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_import_matplotlib()

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
