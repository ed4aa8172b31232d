"""The tensors of a ``llama``: what each is, how it starts, what it makes up for an optimizer.

Legend: D width, F hidden size of the MLP, V vocabulary, S context.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from workloads.llama.shape import shape_of
from workloads.optimizers import Unit
from workloads.workload import Config, Resolved


class Spec(NamedTuple):
    """One tensor.

    Attributes:
        kind: its role, or role and kind, as rules know it.
        shape: without E.
        std: spread of its start.
    """

    kind: str
    shape: tuple[int, ...]
    std: float

    @property
    def role(self) -> str:
        """What it is to a rule."""
        return self.kind.partition(".")[0]


def specs_of(plan: Resolved) -> dict[str, Spec]:
    """Returns every tensor by name, in the order in which members draw their initial values."""
    shape, groups = shape_of(plan.config), plan.derived["groups"]
    gain = Spec("vector", (shape.width,), 0.0)
    spread = float(groups["embedding"]["init_std"])
    specs = {"embedding": Spec("embedding", (shape.vocabulary, shape.width), spread)}
    if shape.learned_positions:
        table = (shape.context, shape.width)
        specs["position"] = Spec("embedding.position", table, spread)
    block = _block(plan)
    for layer in range(shape.depth):
        specs |= {f"{layer}.{name}": spec for name, spec in block.items()}
    if shape.norm_gain:
        specs["final_gain"] = gain
    if not shape.tied_embeddings:
        table, spread = (shape.vocabulary, shape.width), float(groups["readout"]["init_std"])
        specs["readout"] = Spec("readout", table, spread)
    return specs


def _block(plan: Resolved) -> dict[str, Spec]:
    """Returns the tensors of a block."""
    shape, config = shape_of(plan.config), plan.config
    width, hidden = shape.width, shape.mlp_hidden
    inner = float(plan.derived["groups"]["hidden"]["init_std"])  # of a matrix with D inputs
    last = 0.0 if config["zero_init"] else inner
    square, wide = (width, width), Spec("hidden.mlp_in", (hidden, width), inner)
    gains = ("attention_gain", "mlp_gain") if shape.norm_gain else ()
    return {
        **{name: Spec("hidden.qkv", square, inner) for name in ("query", "key", "value")},
        "output": Spec("hidden", square, last),
        **({"gate": wide} if config["mlp"] == "swiglu" else {}),
        "up": wide,
        "down": Spec("hidden.mlp_out", (width, hidden), last * (width / hidden) ** 0.5),
        **{name: Spec("vector", (width,), 0.0) for name in gains},
    }


def units_of(plan: Resolved, specs: Mapping[str, Spec]) -> dict[str, list[Unit]]:
    """Returns what the tensors make up for an optimizer, by group: that of their kind if there
    is one, else that of their role."""
    units: dict[str, list[Unit]] = {}
    for kind, unit in _units(plan.config, specs):
        group = kind if kind in plan.derived["groups"] else kind.partition(".")[0]
        units.setdefault(group, []).append(unit)
    return units


def _units(config: Config, specs: Mapping[str, Spec]) -> Iterator[tuple[str, Unit]]:
    """Yields each unit and its kind."""
    qkv = config.get("qkv", "split")
    heads = config["width"] // config["head_dim"]
    for name, spec in specs.items():
        layer, _, last = name.rpartition(".")
        if spec.kind != "hidden.qkv":
            yield spec.kind, Unit(names=(name,), turned=spec.role == "embedding")
        elif qkv != "fused":
            yield spec.kind, Unit(names=(name,), parts=heads if qkv == "per_head" else 1)
        elif last == "query":  # on behalf of all three
            names = tuple(f"{layer}.{each}" for each in ("query", "key", "value"))
            yield spec.kind, Unit(names=names)
