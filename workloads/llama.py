"""A Llama-like byte model with a leading ensemble axis, and its trainer.

Legend: E members of the pack, B sequences, T tokens a sequence, D width, H heads, K size of a
head, F hidden size of the MLP, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from workloads.cards import LLAMA
from workloads.llama_shape import VOCABULARY, shape_of
from workloads.optimizers.optimizer import Unit
from workloads.sampling import sampled
from workloads.streams import TokenStream
from workloads.training import Training
from workloads.workload import Member, Resolved

RMS_EPSILON = 1e-6
"""Added to the mean square in every RMSNorm."""

CACHED = 1 << 18
"""Numbers of an activation that a processor works on without waiting for memory, about."""

Observe = Callable[[str, Tensor], None]
"""Is told the name and the value of an activation, [E, B * T, ...]."""


class _Spec(NamedTuple):
    """One tensor of the model: its role, its shape without E, and the spread of its start."""

    role: str
    shape: tuple[int, ...]
    std: float


class Llama:
    """The model as functions of stacked parameters; it holds none itself.

    x <- x + beta attention(norm(x)); x <- x + beta mlp(norm(x)); logits = norm(x) R', with
    RMSNorm, rotary positions, QK-norm per head, SwiGLU or GELU and no biases (arXiv 2512.05620,
    appendix D.1; beta is its depth multiplier). A matrix is [E, out, in]; members never meet.

    Attributes:
        units: what the parameters make up for an optimizer, by the name of their group.
    """

    def __init__(self, plan: Resolved, *, compute: torch.dtype = torch.float32) -> None:
        """Reads the shape off a resolved config.

        Args:
            plan: the resolved config of any member of the pack.
            compute: number format of matrix products and attention; parameters, residual
                stream and loss keep their own.
        """
        self._config = plan.config
        self._derived = plan.derived
        self._shape = shape_of(plan.config)
        self._compute = compute
        self._specs = self._tensors()
        self.units: Mapping[str, Sequence[Unit]] = self._units()

    def _units(self) -> dict[str, list[Unit]]:
        """Returns every tensor as a unit of the group of its role."""
        units: dict[str, list[Unit]] = {}
        for name, spec in self._specs.items():
            turned = spec.role == "embedding"
            units.setdefault(spec.role, []).append(Unit(names=(name,), turned=turned))
        return units

    def _tensors(self) -> dict[str, _Spec]:
        """Returns every tensor in the order in which members draw their initial values."""
        width, hidden = self._shape.width, self._shape.mlp_hidden
        groups = self._derived["groups"]
        inner = float(groups["hidden"]["init_std"])  # of a matrix with D inputs
        last = 0.0 if self._config["zero_init"] else inner
        gated = {"gate": _Spec("hidden", (hidden, width), inner)}
        block = {
            **{n: _Spec("hidden", (width, width), inner) for n in ("query", "key", "value")},
            "output": _Spec("hidden", (width, width), last),
            **(gated if self._config["mlp"] == "swiglu" else {}),
            "up": _Spec("hidden", (hidden, width), inner),
            "down": _Spec("hidden", (width, hidden), last * (width / hidden) ** 0.5),
        }
        gain = _Spec("vector", (width,), 0.0)
        if self._config["norm_gain"]:
            block |= {"attention_gain": gain, "mlp_gain": gain}
        table = (VOCABULARY, width)
        specs = {"embedding": _Spec("embedding", table, groups["embedding"]["init_std"])}
        for layer in range(self._shape.depth):
            specs |= {f"{layer}.{name}": spec for name, spec in block.items()}
        if self._config["norm_gain"]:
            specs["final_gain"] = gain
        specs["readout"] = _Spec("readout", table, groups["readout"]["init_std"])
        return specs

    def initial(self, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Returns the parameters at the start, [E, ...], on the CPU in float32.

        One generator a member draws its tensors in a fixed order, so that a member starts the
        same in any pack.
        """
        members = [self._initial_member(seed) for seed in seeds]
        return {name: torch.stack([each[name] for each in members]) for name in self._specs}

    def _initial_member(self, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        values = {}
        for name, spec in self._specs.items():
            if spec.role == "vector":
                values[name] = torch.ones(spec.shape)
            elif spec.std == 0:
                values[name] = torch.zeros(spec.shape)
            else:
                values[name] = torch.randn(spec.shape, generator=generator) * spec.std
        return values

    def losses(self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of each sequence, [E, B], nats per token.

        Args:
            parameters: by name, each [E, ...].
            inputs: tokens, [E, B, T].
            targets: the tokens that follow, [E, B, T].
        """
        logits = self.logits(parameters, inputs).to(parameters["readout"].dtype)
        each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return each.view(targets.shape).mean(2)

    def sampled_losses(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, draws: Tensor
    ) -> Tensor:
        """Returns the losses, [E, B], on tokens that the model guesses; see ``Model``."""
        logits = self.logits(parameters, inputs).to(parameters["readout"].dtype)
        labels = sampled(logits.detach(), draws.flatten(1))
        each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        return each.view(draws.shape).mean(2)

    def evaluated(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> dict[str, Tensor]:
        """Returns the mean loss of each sequence, [E, B], as ``val_loss``."""
        return {"val_loss": self.losses(parameters, inputs, targets)}

    def logits(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, observe: Observe | None = None
    ) -> Tensor:
        """Returns the logits, [E, B * T, V], of tokens [E, B, T].

        Args:
            parameters: by name, each [E, ...].
            inputs: tokens, [E, B, T].
            observe: is told the residual stream after the embedding and each block (before the
                last norm), and the logits.
        """
        tell = observe or _tell_nobody
        rotation = self._rotation(inputs)
        x = _embed(parameters["embedding"], inputs)
        tell("embedding", x)
        for layer in range(self._shape.depth):
            x = self._block(parameters, f"{layer}.", x, rotation)
            tell(f"block {layer}", x)
        logits = self._linear(self._norm(parameters, "final_gain", x), parameters["readout"])
        tell("logits", logits)
        return logits

    def _block(
        self,
        parameters: Mapping[str, Tensor],
        prefix: str,
        x: Tensor,
        rotation: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Returns the residual stream [E, B * T, D] after one block."""
        beta = self._derived["branch_multiplier"]
        normed = self._norm(parameters, f"{prefix}attention_gain", x)
        branch = self._attention(parameters, prefix, normed, rotation)
        x = torch.add(x, branch, alpha=beta)
        normed = self._norm(parameters, f"{prefix}mlp_gain", x)
        return torch.add(x, self._mlp(parameters, prefix, normed), alpha=beta)

    def _attention(
        self,
        parameters: Mapping[str, Tensor],
        prefix: str,
        x: Tensor,
        rotation: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Returns causal attention of x [E, B * T, D], with E folded into the batch."""
        folded = (-1, rotation[0].shape[0], self._shape.heads, self._config["head_dim"])
        q, k, v = (
            self._linear(x, parameters[prefix + name]).view(folded)
            for name in ("query", "key", "value")
        )  # [E * B, T, H, K]
        if self._config["qk_norm"]:
            q, k = (F.rms_norm(each, each.shape[-1:], eps=RMS_EPSILON) for each in (q, k))
        q, k = _rotate(q, rotation), _rotate(k, rotation)
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        joined = mixed.transpose(1, 2).reshape(x.shape)
        return self._linear(joined, parameters[prefix + "output"])

    def _mlp(self, parameters: Mapping[str, Tensor], prefix: str, x: Tensor) -> Tensor:
        """Returns the MLP of x [E, B * T, D]."""
        hidden = self._linear(x, parameters[prefix + "up"])
        if self._config["mlp"] == "swiglu":
            hidden = F.silu(self._linear(x, parameters[prefix + "gate"])) * hidden
        else:
            hidden = F.gelu(hidden)
        return self._linear(hidden, parameters[prefix + "down"])

    def _linear(self, x: Tensor, weight: Tensor) -> Tensor:
        """Returns x W', [E, N, out], in the number format of the computation."""
        return torch.bmm(x.to(self._compute), weight.to(self._compute).mT)

    def _norm(self, parameters: Mapping[str, Tensor], gain: str, x: Tensor) -> Tensor:
        normed = F.rms_norm(x, x.shape[-1:], eps=RMS_EPSILON)
        return normed * parameters[gain][:, None] if gain in self._specs else normed

    def _rotation(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Returns cosines and sines, [T, 1, K / 2], of the rotary positions (2104.09864)."""
        half = self._config["head_dim"] // 2
        pairs = torch.arange(half, dtype=torch.float64, device=inputs.device)
        times = torch.arange(inputs.shape[-1], dtype=torch.float64, device=inputs.device)
        frequencies = self._config["rope_base"] ** -(pairs / half)
        angles = times[:, None, None] * frequencies
        return angles.cos().to(self._compute), angles.sin().to(self._compute)


def _tell_nobody(name: str, value: Tensor) -> None:
    pass


def _embed(table: Tensor, inputs: Tensor) -> Tensor:
    """Returns rows [E, B * T, D] of tables [E, V, D]: one lookup over all members."""
    members, vocabulary, width = table.shape
    offsets = torch.arange(members, device=inputs.device) * vocabulary
    rows = F.embedding(inputs.flatten(1) + offsets[:, None], table.view(-1, width))
    return rows


def _rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Returns x [N, T, H, K] with the pairs (i, i + K / 2) turned by the position."""
    cosine, sine = rotation
    first, second = x.chunk(2, dim=-1)
    turned = (first * cosine - second * sine, second * cosine + first * sine)
    return torch.cat(turned, dim=-1)


class LlamaTrainer(Training):
    """Trains a pack of ``llama`` trials."""

    def __init__(self, members: Sequence[Member], *, threads: int, device: str) -> None:
        """Makes model, data and optimizers; see :class:`workloads.workload.TrainerFactory`."""
        plans = [LLAMA.resolve(member.config) for member in members]
        compute = compute_dtype(plans[0].config["dtype"], device)
        super().__init__(
            members,
            plans,
            card=LLAMA,
            model=Llama(plans[0], compute=compute),
            stream=TokenStream(plans[0].config, device=device),
            together=members_together(plans[0], len(members), device),
            threads=threads,
            device=device,
        )


def compute_dtype(setting: str, device: str) -> torch.dtype:
    """Returns the number format of the products: ``auto`` is bfloat16 on CUDA only."""
    if setting == "auto":
        return torch.bfloat16 if device == "cuda" else torch.float32
    return torch.bfloat16 if setting == "bfloat16" else torch.float32


def members_together(plan: Resolved, members: int, device: str) -> int:
    """Returns how many members go through the model at once.

    On a GPU all of them, to fill it. On a CPU as many as keep one activation of the pack within
    ``CACHED`` numbers: measured over widths 16 to 128 and 64 to 2048 tokens a step, 8 members
    then train 1.02 to 3.7 times as fast as one by one, where all of them at once fall to 0.8
    times for large ones, as every activation has to be fetched from memory.
    """
    if device == "cuda":
        return members
    shape = shape_of(plan.config)
    return max(1, min(members, CACHED // (shape.tokens_per_pass * shape.width)))
