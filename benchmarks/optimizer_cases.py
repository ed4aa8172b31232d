"""The optimizers of ``benchmarks/optimizers.py``, their peers, and what each cannot do without."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytorch_optimizer as peers
import torch
from pytorch_optimizer.optimizer.utils.graft import LayerWiseGrafting
from torch.nn import Parameter
from torch.optim import Optimizer

FREQUENCY = 10
"""Steps from one computation of roots or bases to the next, ours and the peers'."""

POWER_ITERATIONS = 1


class Work(NamedTuple):
    """The least that a step of one m x n matrix takes.

    Attributes:
        flops: of matrix products (a root or basis as products of the same cost).
        passes: numbers read from or written to memory, per weight.
    """

    flops: float
    passes: int


def elementwise(passes: int) -> Callable[[int, int], Work]:
    """Returns the work of an update without products."""
    return lambda m, n: Work(0.0, passes)


def newton_schulz(m: int, n: int) -> Work:
    """Five steps: X X', its square, and the product with X."""
    short, long = min(m, n), max(m, n)
    return Work(5 * (4 * long * short**2 + 2 * short**3), 5)


def adaptive_newton_schulz(m: int, n: int) -> Work:
    """The same, with a second moment."""
    return Work(newton_schulz(m, n).flops, 7)


def shampoo(m: int, n: int) -> Work:
    """Two statistics, two products with roots; a root counts 16 n^3, a share of it a step."""
    return Work(4 * m * n * (m + n) + 16 * (m**3 + n**3) / FREQUENCY, 5)


def grafted_shampoo(m: int, n: int) -> Work:
    """The same, with the moments of the graft."""
    return Work(shampoo(m, n).flops, 9)


def soap(m: int, n: int) -> Work:
    """Two statistics, the gradient into the bases and the update out of them; a power step and a
    QR decomposition of each side, a share of them a step."""
    refresh = (2 + 8 / 3) * (m**3 + n**3)
    return Work(6 * m * n * (m + n) + refresh / FREQUENCY, 7)


def dion(m: int, n: int) -> Work:
    """Three products with a right factor of full rank, and a QR decomposition with its Q."""
    rank = min(m, n)
    return Work(6 * m * n * rank + 4 * m * rank**2 - 4 / 3 * rank**3, 5)


def normalized_muon(m: int, n: int) -> Work:
    """Muon, and power iterations on the update."""
    return Work(newton_schulz(m, n).flops + POWER_ITERATIONS * 4 * m * n, 5)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One optimizer.

    Attributes:
        name: what the table calls it.
        config: its settings in a study.
        work: the least it takes, of m and n.
        members: members of the pack.
        period: steps after which its work repeats.
        products: number format of its matrix products.
        peer: makes the peer for the tensors of one member.
        peer_name: what the table calls the peer.
        curvature: True if the peer is given a Hessian's diagonal once a period.
    """

    name: str
    config: Mapping[str, Any]
    work: Callable[[int, int], Work]
    members: int = 1
    period: int = 1
    products: torch.dtype = torch.float32
    peer: Callable[[Sequence[Parameter]], Optimizer] | None = None
    peer_name: str = ""
    curvature: bool = False


def _torch_adamw(weights: Sequence[Parameter]) -> Optimizer:
    return torch.optim.AdamW(weights, betas=(0.9, 0.95), fused=True)


def _torch_muon(weights: Sequence[Parameter]) -> Optimizer:
    return torch.optim.Muon(weights, weight_decay=0.0)


def _muons(weights: Sequence[Parameter]) -> list[dict[str, Any]]:
    return [{"params": list(weights), "use_muon": True}]


def _shampoo(weights: Sequence[Parameter]) -> Optimizer:
    return peers.Shampoo(weights, momentum=0.9, preconditioning_compute_steps=FREQUENCY)


def _scalable_shampoo(weights: Sequence[Parameter]) -> Optimizer:
    return peers.ScalableShampoo(
        weights,
        betas=(0.9, 0.95),
        start_preconditioning_step=1,
        preconditioning_compute_steps=FREQUENCY,
        block_size=1 << 20,
        shape_interpretation=False,
        graft_type=LayerWiseGrafting.RMSPROP,
    )


_SHAMPOO = {"optimizer": "shampoo", "preconditioner_frequency": FREQUENCY}
_NORMALIZED = {"parametrization": "normalized", "base_width": 16}

CASES: tuple[Case, ...] = (
    Case(
        name="sgd",
        config={"optimizer": "sgd"},
        work=elementwise(5),
        peer=lambda w: torch.optim.SGD(w, lr=1e-3, momentum=0.9, fused=True),
        peer_name="torch SGD fused",
    ),
    Case(
        name="adamw",
        config={"optimizer": "adamw"},
        work=elementwise(7),
        peer=_torch_adamw,
        peer_name="torch AdamW fused",
    ),
    Case(
        name="adamw, 8 members",
        config={"optimizer": "adamw"},
        work=elementwise(7),
        members=8,
        peer=_torch_adamw,
        peer_name="8 x torch AdamW fused",
    ),
    Case(
        name="adopt",
        config={"optimizer": "adopt"},
        work=elementwise(7),
        peer=lambda w: peers.ADOPT(w),
        peer_name="p-o ADOPT",
    ),
    Case(
        name="lamb",
        config={"optimizer": "lamb"},
        work=elementwise(7),
        peer=lambda w: peers.Lamb(w, max_grad_norm=0.0),
        peer_name="p-o Lamb",
    ),
    Case(
        name="sophia",
        config={"optimizer": "sophia", "sophia_frequency": FREQUENCY},
        work=elementwise(6),
        period=FREQUENCY,
        peer=lambda w: peers.SophiaH(w, update_period=FREQUENCY),
        peer_name="p-o SophiaH, given h",
        curvature=True,
    ),
    Case(
        name="muon",
        config={"optimizer": "muon"},
        work=newton_schulz,
        peer=_torch_muon,
        peer_name="torch Muon (bfloat16)",
    ),
    Case(
        name="muon, bfloat16",
        config={"optimizer": "muon", "dtype": "bfloat16"},
        work=newton_schulz,
        products=torch.bfloat16,
        peer=_torch_muon,
        peer_name="torch Muon (bfloat16)",
    ),
    Case(
        name="muonclip, bfloat16",
        config={"optimizer": "muonclip", "dtype": "bfloat16"},
        work=newton_schulz,
        products=torch.bfloat16,
        peer=lambda w: peers.MuonClip(_muons(w)),
        peer_name="p-o MuonClip (bfloat16)",
    ),
    Case(
        name="adamuon, bfloat16",
        config={"optimizer": "adamuon", "adamuon_rms_align": True, "dtype": "bfloat16"},
        work=adaptive_newton_schulz,
        products=torch.bfloat16,
        peer=lambda w: peers.AdaMuon(_muons(w)),
        peer_name="p-o AdaMuon (bfloat16)",
    ),
    Case(
        name="shampoo",
        config=_SHAMPOO,
        work=shampoo,
        period=FREQUENCY,
        peer=_shampoo,
        peer_name="p-o Shampoo",
    ),
    Case(
        name="shampoo + rmsprop",
        config={**_SHAMPOO, "graft": "rmsprop"},
        work=grafted_shampoo,
        period=FREQUENCY,
        peer=_scalable_shampoo,
        peer_name="p-o ScalableShampoo",
    ),
    Case(
        name="soap",
        config={
            "optimizer": "soap",
            "preconditioner_frequency": FREQUENCY,
            "soap_eigh_steps": 1,  # as the peer has it
        },
        work=soap,
        period=FREQUENCY,
        peer=lambda w: peers.SOAP(w, precondition_frequency=FREQUENCY),
        peer_name="p-o SOAP",
    ),
    Case(name="dion", config={"optimizer": "dion"}, work=dion),
    Case(
        name="muon, normalized",
        config={
            "optimizer": "muon",
            "power_iterations": POWER_ITERATIONS,
            "power_warmup_steps": 0,
            **_NORMALIZED,
        },
        work=normalized_muon,
    ),
)
