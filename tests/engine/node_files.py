"""A place of files that nodes do not share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ray

from sweeper.store.files.local import LocalFiles


@dataclass(frozen=True)
class FolderOfEach(LocalFiles):
    """A folder that is another one on every node."""

    def local(self, name: str) -> Path:
        here = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "nowhere"
        return self.root / here / name
