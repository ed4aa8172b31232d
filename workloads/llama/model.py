"""A Llama-like (or GPT-2-like) language model with a leading ensemble axis, and its trainer.

Legend: E members of the pack, B sequences, T tokens a sequence, D width, F hidden size of the
MLP, V vocabulary, S context.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from workloads.llama.attention import Attention, qk_clip_of
from workloads.llama.readout import Readout
from workloads.llama.shape import LOGITS, shape_of
from workloads.llama.stream import TokenStream
from workloads.optimizers import Unit
from workloads.training import (
    RMS_EPSILON,
    InitialTensor,
    Observe,
    Ranks,
    Training,
    compute_dtype,
    grouped,
    tell_nobody,
)
from workloads.workload import Card, Config, Member, Record, Resolved


class Llama:
    """The model as functions of stacked parameters; it holds none itself.

    x <- x + beta attention(norm(x)); x <- x + beta mlp(norm(x)); logits = norm(x) R', with
    RMSNorm, rotary or learned positions, QK-norm per head, SwiGLU or GELU and no biases (arXiv
    2512.05620, appendix D.1; beta is its depth multiplier). R is the embedding itself where they
    are tied. A matrix is [E, out, in]; members never meet.

    Attributes:
        tensors: every tensor and how it starts, by name.
        units: what the parameters make up for an optimizer, by the name of their group.
    """

    def __init__(
        self, plan: Resolved, *, compute: torch.dtype = torch.float32, logits: int = LOGITS
    ) -> None:
        """Reads the shape off a resolved config.

        Args:
            plan: the resolved config of any member of the pack.
            compute: number format of matrix products and attention; parameters, residual
                stream and loss keep their own.
            logits: of a member that are in memory at once, about.
        """
        self._config = plan.config
        self._beta: float = plan.derived["branch_multiplier"]
        self._shape = shape_of(plan.config)
        self._compute = compute
        self.tensors = _tensors(plan)
        self._attention = Attention(plan.config, linear=self._linear)
        self._readout = Readout(self._linear, together=self._shape.tokens_read_out(logits))
        self.units: Mapping[str, Sequence[Unit]] = grouped(_units(plan.config, self.tensors), plan)

    def losses(self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss of each sequence, [E, B], nats per token.

        Args:
            parameters: by name, each [E, ...].
            inputs: tokens, [E, B, T].
            targets: the tokens that follow, [E, B, T].
        """
        return self.token_losses(parameters, inputs, targets).view(targets.shape).mean(2)

    def token_losses(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor
    ) -> Tensor:
        """Returns the loss of each token, [E, B * T], nats; see :meth:`losses`."""
        x, weight = self._last(parameters, inputs), self._readout_weight(parameters)
        return self._readout.losses(x, weight, targets.flatten(1))

    def sampled_losses(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, draws: Tensor
    ) -> Tensor:
        """Returns the losses, [E, B], on tokens that the model guesses for draws [E, B, T]."""
        x, weight = self._last(parameters, inputs), self._readout_weight(parameters)
        labels = self._readout.sampled(x, weight, draws.flatten(1))
        return self._readout.losses(x, weight, labels).view(draws.shape).mean(2)

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
            observe: is told what attention and MLP of each block add (``attention 0``, ``mlp 0``),
                the residual stream after the embedding and each block (``block 0``, before the
                last norm), the logits, and what goes into each matrix (``input 0.query``; tokens
                into a table).
        """
        tell = observe or tell_nobody
        last = self._last(parameters, inputs, tell)
        tell("input readout", last)
        logits = self._linear(last, self._readout_weight(parameters))
        tell("logits", logits)
        return logits

    def peaks(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Returns the largest attention logit of each block's heads over a batch, [E, N, H].

        Args:
            parameters: by name, each [E, ...].
            inputs: tokens, [E, B, T].
        """
        x, size = self._embedded(parameters, inputs), inputs.shape[-1]
        found = []
        for layer in range(self._shape.depth):
            prefix = f"{layer}."
            normed = self._norm(parameters, f"{prefix}attention_gain", x)
            found.append(self._attention.peaks(parameters, prefix, normed, size))
            if layer + 1 < self._shape.depth:
                x = self._block(parameters, layer, x, size, tell_nobody)
        return torch.stack(found, 1)

    def _last(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, tell: Observe | None = None
    ) -> Tensor:
        """Returns the normalised residual stream, [E, B * T, D], after the last block."""
        tell = tell or tell_nobody
        x = self._embedded(parameters, inputs)
        self._tell_tables(inputs, tell)
        tell("embedding", x)
        for layer in range(self._shape.depth):
            x = self._block(parameters, layer, x, inputs.shape[-1], tell)
            tell(f"block {layer}", x)
        return self._norm(parameters, "final_gain", x)

    def _embedded(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Returns the residual stream [E, B * T, D] before the first block."""
        x = _embed(parameters["embedding"], inputs)
        if not self._shape.learned_positions:
            return x
        positions = parameters["position"][:, None, : inputs.shape[-1]]  # [E, 1, T, D]
        return (x.view(*inputs.shape, -1) + positions).flatten(1, 2)

    def _tell_tables(self, inputs: Tensor, tell: Observe) -> None:
        tell("input embedding", inputs.flatten(1))
        if self._shape.learned_positions:
            times = torch.arange(inputs.shape[-1], device=inputs.device)
            tell("input position", times.expand_as(inputs).flatten(1))

    def _readout_weight(self, parameters: Mapping[str, Tensor]) -> Tensor:
        return parameters["embedding" if self._shape.tied_embeddings else "readout"]

    def _block(
        self, parameters: Mapping[str, Tensor], layer: int, x: Tensor, size: int, tell: Observe
    ) -> Tensor:
        """Returns the residual stream [E, B * T, D] after one block; ``size`` is T."""
        prefix = f"{layer}."
        normed = self._norm(parameters, f"{prefix}attention_gain", x)
        branch = self._attention.mixed(parameters, prefix, normed, size, tell)
        tell(f"attention {layer}", branch)
        x = torch.add(x, branch, alpha=self._beta)
        normed = self._norm(parameters, f"{prefix}mlp_gain", x)
        branch = self._mlp(parameters, prefix, normed, tell)
        tell(f"mlp {layer}", branch)
        return torch.add(x, branch, alpha=self._beta)

    def _mlp(
        self, parameters: Mapping[str, Tensor], prefix: str, x: Tensor, tell: Observe
    ) -> Tensor:
        """Returns the MLP of x [E, B * T, D]."""
        hidden = self._linear(x, parameters[prefix + "up"])
        tell(f"input {prefix}up", x)
        if self._config["mlp"] == "swiglu":
            hidden = F.silu(self._linear(x, parameters[prefix + "gate"])) * hidden
            tell(f"input {prefix}gate", x)
        else:
            hidden = F.gelu(hidden)
        tell(f"input {prefix}down", hidden)
        return self._linear(hidden, parameters[prefix + "down"])

    def _linear(self, x: Tensor, weight: Tensor) -> Tensor:
        """Returns x W', [E, N, out], in the number format of the computation."""
        return torch.bmm(x.to(self._compute), weight.to(self._compute).mT)

    def _norm(self, parameters: Mapping[str, Tensor], gain: str, x: Tensor) -> Tensor:
        normed = F.rms_norm(x, x.shape[-1:], eps=RMS_EPSILON)
        return normed * parameters[gain][:, None] if gain in self.tensors else normed


def _embed(table: Tensor, inputs: Tensor) -> Tensor:
    """Returns rows [E, B * T, D] of tables [E, V, D]: one lookup over all members."""
    members, vocabulary, width = table.shape
    offsets = torch.arange(members, device=inputs.device) * vocabulary
    rows = F.embedding(inputs.flatten(1) + offsets[:, None], table.view(-1, width))
    return rows


def _tensors(plan: Resolved) -> dict[str, InitialTensor]:
    """Returns every tensor by name, in the order in which members draw their initial values."""
    shape, groups = shape_of(plan.config), plan.derived["groups"]
    gain = InitialTensor("vector", (shape.width,), 0.0, mean=1.0)
    spread = float(groups["embedding"]["init_std"])
    tensors = {"embedding": InitialTensor("embedding", (shape.vocabulary, shape.width), spread)}
    if shape.learned_positions:
        table = (shape.context, shape.width)
        tensors["position"] = InitialTensor("embedding.position", table, spread)
    block = _block(plan)
    for layer in range(shape.depth):
        tensors |= {f"{layer}.{name}": each for name, each in block.items()}
    if shape.norm_gain:
        tensors["final_gain"] = gain
    if not shape.tied_embeddings:
        table, spread = (shape.vocabulary, shape.width), float(groups["readout"]["init_std"])
        tensors["readout"] = InitialTensor("readout", table, spread)
    return tensors


def _block(plan: Resolved) -> dict[str, InitialTensor]:
    """Returns the tensors of a block."""
    shape, config = shape_of(plan.config), plan.config
    width, hidden = shape.width, shape.mlp_hidden
    inner = float(plan.derived["groups"]["hidden"]["init_std"])  # of a matrix with D inputs
    last = 0.0 if config["zero_init"] else inner
    square, wide = (width, width), InitialTensor("hidden.mlp_in", (hidden, width), inner)
    gains = ("attention_gain", "mlp_gain") if shape.norm_gain else ()
    return {
        **{name: InitialTensor("hidden.qkv", square, inner) for name in ("query", "key", "value")},
        "output": InitialTensor("hidden", square, last),
        **({"gate": wide} if config["mlp"] == "swiglu" else {}),
        "up": wide,
        "down": InitialTensor("hidden.mlp_out", (width, hidden), last * (width / hidden) ** 0.5),
        **{name: InitialTensor("vector", (width,), 0.0, mean=1.0) for name in gains},
    }


def _units(config: Config, tensors: Mapping[str, InitialTensor]) -> Iterator[tuple[str, Unit]]:
    """Yields each unit and its kind."""
    qkv = config.get("qkv", "split")
    heads = config["width"] // config["head_dim"]
    for name, tensor in tensors.items():
        layer, _, last = name.rpartition(".")
        if tensor.kind != "hidden.qkv":
            yield tensor.kind, Unit(names=(name,), turned=tensor.role == "embedding")
        elif qkv != "fused":
            yield tensor.kind, Unit(names=(name,), parts=heads if qkv == "per_head" else 1)
        elif last == "query":  # on behalf of all three
            names = tuple(f"{layer}.{each}" for each in ("query", "key", "value"))
            yield tensor.kind, Unit(names=names)


class LlamaTrainer(Training):
    """Trains a pack of ``llama`` trials."""

    def __init__(
        self,
        card: Card,
        members: Sequence[Member],
        *,
        threads: int,
        device: str,
        logits: int = LOGITS,
        ranks: Ranks | None = None,
        record: Record | None = None,
    ) -> None:
        """Makes model, data and optimizers; see :class:`TrainerFactory` and, for ``logits``,
        :class:`Llama`, for ``ranks`` :class:`Training`."""
        plan = card.resolve(members[0].config)
        shape = shape_of(plan.config)
        compute = compute_dtype(plan.config["dtype"], device)
        model = Llama(plan, compute=compute, logits=logits)
        super().__init__(
            card,
            members,
            model=model,
            stream=TokenStream(plan.config, device=device),
            activation=shape.tokens_per_pass * shape.width,
            qk_clip=qk_clip_of(plan, model.peaks),
            record=record,
            threads=threads,
            device=device,
            ranks=ranks,
        )
