"""The sizes of a ``llama`` and what follows from them: parameters and FLOPs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from workloads.workload import Config

VOCABULARY = 256
"""Tokens are bytes."""


@dataclass(frozen=True, kw_only=True)
class LlamaShape:
    """Sizes of one model and of its batch.

    Attributes:
        width: size D of the residual stream.
        depth: number of blocks N.
        heads: attention heads H of each block.
        context: tokens S a sequence.
        batch_size: sequences a step.
        mlp_hidden: hidden size F of the MLP.
        mlp_matrices: 3 with a gate (SwiGLU), 2 without (GELU).
        norm_gain: True if the norms have trainable gains.
    """

    width: int
    depth: int
    heads: int
    context: int
    batch_size: int
    mlp_hidden: int
    mlp_matrices: int
    norm_gain: bool

    @property
    def params_non_embedding(self) -> int:
        """Parameters without the token embedding and without the readout."""
        block = 4 * self.width**2 + self.mlp_matrices * self.width * self.mlp_hidden
        gains = (2 * self.depth + 1) * self.width if self.norm_gain else 0
        return self.depth * block + gains

    @property
    def params(self) -> int:
        """All parameters: embedding and untied readout, [VOCABULARY, D] each, included."""
        return self.params_non_embedding + 2 * VOCABULARY * self.width

    @property
    def flops_per_token(self) -> int:
        """Forward FLOPs a token.

        N (2 k D F + 6 D^2 + 2 D^2 + 4 S D + 3 S H) + 2 D V with k MLP matrices and attention
        counted over the full S^2 square (arXiv 2512.05620, appendix H.2).
        """
        mlp = 2 * self.mlp_matrices * self.width * self.mlp_hidden
        attention = 8 * self.width**2 + self.context * (4 * self.width + 3 * self.heads)
        return self.depth * (mlp + attention) + 2 * self.width * VOCABULARY

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one batch."""
        return self.batch_size * self.context


def mlp_hidden(width: int, ratio: float) -> int | None:
    """Returns the hidden size ``ratio * width``, or None if that is no positive whole number."""
    size = round(ratio * width)
    exact = abs(ratio * width - size) <= 1e-9 * size  # 8/3 of 96 is 256 up to rounding
    return size if exact and size >= 1 else None


def shape_of(config: Config) -> LlamaShape:
    """Returns the shape of a completed config without faults."""
    return _shape(
        config["width"],
        config["depth"],
        config["head_dim"],
        config["context"],
        config["batch_size"],
        config["mlp"],
        config["mlp_ratio"],
        config["norm_gain"],
    )


@lru_cache(maxsize=1024)
def _shape(
    width: int,
    depth: int,
    head_dim: int,
    context: int,
    batch_size: int,
    mlp: str,
    mlp_ratio: float,
    norm_gain: bool,
) -> LlamaShape:
    return LlamaShape(
        width=width,
        depth=depth,
        heads=width // head_dim,
        context=context,
        batch_size=batch_size,
        mlp_hidden=round(mlp_ratio * width),
        mlp_matrices=3 if mlp == "swiglu" else 2,
        norm_gain=norm_gain,
    )
