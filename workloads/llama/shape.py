"""The sizes of a ``llama`` and of its tensors, and what follows: parameters and FLOPs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from workloads.data import vocabulary_of
from workloads.parametrization import Role, TensorKind, tensor_kinds
from workloads.workload import Config

LOGITS = 1 << 24
"""Logits of a member that are in memory at once."""


@dataclass(frozen=True, kw_only=True)
class LlamaShape:
    """Sizes of one model and of its batch.

    Attributes:
        width: size D of the residual stream.
        depth: number of blocks N.
        heads: attention heads H of each block.
        context: tokens S a sequence.
        batch_size: sequences a step.
        accumulation: parts of a batch that go through the model one after the other.
        vocabulary: different tokens V.
        mlp_hidden: hidden size F of the MLP.
        mlp_matrices: 3 with a gate (SwiGLU), 2 without (GELU).
        norm_gain: True if the norms have trainable gains.
        learned_positions: True if a table of positions, [S, D], is added to the embedding.
        tied_embeddings: True if the embedding is the readout too.
    """

    width: int
    depth: int
    heads: int
    context: int
    batch_size: int
    accumulation: int
    vocabulary: int
    mlp_hidden: int
    mlp_matrices: int
    norm_gain: bool
    learned_positions: bool
    tied_embeddings: bool

    @property
    def params_non_embedding(self) -> int:
        """Parameters without embedding, learned positions and readout."""
        block = 4 * self.width**2 + self.mlp_matrices * self.width * self.mlp_hidden
        gains = (2 * self.depth + 1) * self.width if self.norm_gain else 0
        return self.depth * block + gains

    @property
    def params(self) -> int:
        """All parameters: embedding and readout, [V, D] each or one for both, and learned
        positions, [S, D], included."""
        tables = self.vocabulary if self.tied_embeddings else 2 * self.vocabulary
        positions = self.context if self.learned_positions else 0
        return self.params_non_embedding + (tables + positions) * self.width

    @property
    def flops_per_token(self) -> int:
        """Forward FLOPs a token.

        N (2 k D F + 6 D^2 + 2 D^2 + 4 S D + 3 S H) + 2 D V with k MLP matrices and attention
        counted over the full S^2 square (arXiv 2512.05620, appendix H.2). Lookups cost nothing,
        and a tied readout as much as one of its own.
        """
        mlp = 2 * self.mlp_matrices * self.width * self.mlp_hidden
        attention = 8 * self.width**2 + self.context * (4 * self.width + 3 * self.heads)
        return self.depth * (mlp + attention) + 2 * self.width * self.vocabulary

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one batch."""
        return self.batch_size * self.context

    @property
    def tokens_per_pass(self) -> int:
        """Tokens of one part of a batch, which go through the model at once."""
        return self.tokens_per_step // self.accumulation

    def tokens_read_out(self, logits: int = LOGITS) -> int:
        """Returns the tokens of a member that are read out at once, so that they make so many
        logits at most; a multiple of 64, which keeps products in step with registers."""
        return max(64, logits // self.vocabulary // 64 * 64)


def mlp_hidden(width: int, ratio: float) -> int | None:
    """Returns the hidden size ``ratio * width``, or None if that is no positive whole number."""
    size = round(ratio * width)
    exact = abs(ratio * width - size) <= 1e-9 * size  # 8/3 of 96 is 256 up to rounding
    return size if exact and size >= 1 else None


def shape_of(config: Config) -> LlamaShape:
    """Returns the shape of a completed config without faults."""
    width = config["width"]
    return LlamaShape(
        width=width,
        depth=config["depth"],
        heads=width // config["head_dim"],
        context=config["context"],
        batch_size=config["batch_size"],
        accumulation=config["accumulation"],
        vocabulary=vocabulary_of(config),
        mlp_hidden=round(config["mlp_ratio"] * width),
        mlp_matrices=3 if config["mlp"] == "swiglu" else 2,
        norm_gain=config["norm_gain"],
        learned_positions=config["positions"] == "learned",
        tied_embeddings=config["tied_embeddings"],
    )


def tensors_of(config: Config) -> tuple[TensorKind, ...]:
    """Returns the kinds of tensors of a completed config, as scaling rules see them.

    ``hidden`` is the output of attention, and each role's other tensors have a name after a dot.
    The spread of ``hidden`` is that of a matrix with ``width`` inputs: one with another number of
    inputs takes inputs^(-1/2) instead, and the outputs of attention and MLP take 0 under
    ``zero_init``. Gains start at 1, so their spread is 0.
    """
    return _tensor_kinds(
        config["width"],
        config.get("base_width") or config["width"],
        config["head_dim"],
        config.get("base_head_dim") or config["head_dim"],
        config["mlp_ratio"],
        config["context"],
        vocabulary_of(config),
        config.get("qkv", "split"),
        config.get("positions") == "learned",
        config["norm_gain"],
        config["embedding_std"],
        config["zero_init"],
    )


@lru_cache(maxsize=1024)
def _tensor_kinds(
    width: int,
    base_width: int,
    head_dim: int,
    base_head_dim: int,
    mlp_ratio: float,
    context: int,
    vocabulary: int,
    qkv: str,
    positions: bool,
    gains: bool,
    embedding_std: float,
    zero_init: bool,
) -> tuple[TensorKind, ...]:
    def sizes(width: int, head_dim: int) -> dict[str, tuple[float, float]]:
        """Returns inputs and outputs of each kind of tensor."""
        projection = {"split": width, "fused": 3 * width, "per_head": head_dim}[qkv]
        return {
            "embedding": (vocabulary, width),
            **({"embedding.position": (context, width)} if positions else {}),
            "hidden": (width, width),
            "hidden.qkv": (width, projection),
            "hidden.mlp_in": (width, mlp_ratio * width),
            "hidden.mlp_out": (mlp_ratio * width, width),
            "readout": (width, vocabulary),
            **({"vector": (1, width)} if gains else {}),
        }

    inner = float(base_width**-0.5)
    stds: dict[Role, float] = {
        "embedding": embedding_std,
        "hidden": inner,
        "readout": 0.0 if zero_init else inner,
        "vector": 0.0,
    }
    return tensor_kinds(sizes(width, head_dim), sizes(base_width, base_head_dim), stds)
