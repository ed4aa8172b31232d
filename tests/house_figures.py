"""How the house is built: who imports whom in sweeper and workloads, read from the source.

``python tests/house_figures.py [CHECKOUT ...]`` prints the figures of this or of older checkouts.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

PACKAGES = ("sweeper", "workloads")
SHORT = 60
"""Lines below which a module with a single importer belongs into it."""


@cache
def imported(path: Path) -> frozenset[str]:
    """Returns the full names that a file imports, at its top or anywhere in it: modules and, of
    ``from`` imports, every name below its module. Relative ones count from its folder."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or path.suffix == ".pyi", f"{path}: relative import"
            if node.module:
                names.add(node.module)
                names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


@dataclass(frozen=True)
class House:
    """The modules of a checkout.

    Attributes:
        root: folder of the checkout.
    """

    root: Path

    @cached_property
    def files(self) -> dict[str, Path]:
        """The file of every module and package, by full name."""
        paths = [path for package in PACKAGES for path in (self.root / package).rglob("*.py")]
        return {self.name(path): path for path in sorted(paths)}

    def name(self, path: Path) -> str:
        """Returns the full name of the module or package in a file."""
        parts = path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts).removesuffix(".__init__")

    def lines(self, name: str) -> int:
        """Returns the number of lines of a module, with those of its face."""
        path = self.files[name]
        face = path.with_suffix(".pyi")
        files = (path, face) if face.exists() else (path,)
        return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)

    @cached_property
    def faces(self) -> set[str]:
        """The packages that say in a ``.pyi`` what others may use."""
        return {name for name, path in self.files.items() if path.with_suffix(".pyi").exists()}

    @cached_property
    def handed_on(self) -> dict[str, str]:
        """Every name of a face, in full, with the module that defines it."""
        found = {}
        for face in self.faces:
            for node in ast.parse(self.files[face].with_suffix(".pyi").read_text()).body:
                if isinstance(node, ast.ImportFrom):
                    home = f"{face}.{node.module}"
                    found |= {f"{face}.{alias.name}": home for alias in node.names}
        return found

    @cached_property
    def arrows(self) -> dict[str, set[str]]:
        """The modules that each module imports, straight or through a face; the faces apart, and
        sweeper itself, which only hand on."""
        nodes = self.files.keys() - self.faces - {"sweeper"}
        return {name: self._targets(name) & nodes - {name} for name in sorted(nodes)}

    def _targets(self, name: str) -> set[str]:
        return {self.handed_on.get(target, target) for target in imported(self.files[name])}

    @cached_property
    def importers(self) -> dict[str, set[str]]:
        """The modules that import each module."""
        found: dict[str, set[str]] = {name: set() for name in self.arrows}
        for name, targets in self.arrows.items():
            for target in targets:
                found[target].add(name)
        return found

    @property
    def lonely(self) -> list[str]:
        """The modules that a single one imports."""
        return [
            name
            for name, found in self.importers.items()
            if len(found) == 1 and self.files[name].stem not in ("__init__", "__main__")
        ]

    @property
    def slips(self) -> dict[str, str]:
        """The short modules that a single one imports, each with that one; what is never imported
        by name (entry points, migrations, what is discovered), or by the spec that brings it in,
        is none."""
        return {
            name: next(iter(self.importers[name]))
            for name in self.lonely
            if self.lines(name) < SHORT and ".specs." not in next(iter(self.importers[name]))
        }

    @property
    def circles(self) -> list[list[str]]:
        """The groups of modules that import each other, straight or by way of one another."""
        reached = {name: self._reached(name) for name in self.arrows}
        groups = {
            tuple(sorted(other for other in reached[name] if name in reached[other]))
            for name in self.arrows
            if name in reached[name]
        }
        return sorted(map(list, groups))

    def _reached(self, name: str) -> set[str]:
        found: set[str] = set()
        ahead = [name]
        while ahead:
            new = self.arrows[ahead.pop()] - found
            found |= new
            ahead += new
        return found

    @property
    def room_arrows(self) -> set[tuple[str, str]]:
        """The rooms that import each other, as (importer, imported)."""
        pairs = {(room(a), room(b)) for a, targets in self.arrows.items() for b in targets}
        return {(a, b) for a, b in pairs if a != b}

    @property
    def rooms(self) -> set[str]:
        """The modules and packages at the top of sweeper."""
        return {room(name) for name in self.files if name.startswith("sweeper.")}

    def figures(self) -> dict[str, int]:
        """Returns the figures of the house under what they count."""
        return {
            "modules": len(self.files),
            "lines of sweeper and workloads": sum(map(self.lines, self.files)),
            "import circles": len(self.circles),
            "arrows between rooms": len(self.room_arrows),
            "modules with a single importer": len(self.lonely),
            f"of them under {SHORT} lines": len(self.slips),
            "rooms at the top of sweeper": len(self.rooms),
        }


def room(name: str) -> str:
    """Returns the room of a module: the first two parts of its name."""
    return ".".join(name.split(".")[:2])


def main(arguments: list[str]) -> None:
    """Prints the figures of some checkouts side by side, then the short modules of the last."""
    roots = [Path(each).resolve() for each in arguments] or [Path(__file__).resolve().parents[1]]
    houses = [House(root) for root in roots]
    columns = [house.figures() for house in houses]
    for label in columns[0]:
        print(f"{label:34}" + "".join(f"{column[label]:>10,}" for column in columns))
    for group in houses[-1].circles:
        print(f"circle: {', '.join(group)}")
    for name, importer in houses[-1].slips.items():
        print(f"{houses[-1].lines(name):4} lines  {name}, imported by {importer} alone")


if __name__ == "__main__":
    main(sys.argv[1:])
