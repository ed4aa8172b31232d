"""Causal attention of a pack, the largest logits of its heads, and what clips them.

Legend: E members of the pack, B sequences, T tokens a sequence, D width, H heads, K size of a
head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from workloads.optimizers import SPECS, Peaks, QKClip
from workloads.training import RMS_EPSILON, Observe
from workloads.workload import Config, Resolved

SCORES = 1 << 24
"""Attention logits that are in memory at once where their largest is sought."""

Heads = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values, [E * B, H, T, K] each."""


class Attention:
    """Attention as functions of stacked parameters.

    softmax(scale q k') v per head, over the past, with rotary positions or none and QK-norm or
    none. E is folded into the batch, so that any kernel serves.
    """

    def __init__(self, config: Config, *, linear: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Reads the settings.

        Args:
            config: canonical config.
            linear: returns x W', [E, N, out], of x [E, N, in] and W [E, out, in], in the number
                format of the computation.
        """
        self._config = config
        self._linear = linear
        self._scale = attention_scale(config)

    def mixed(
        self, parameters: Mapping[str, Tensor], prefix: str, x: Tensor, size: int, tell: Observe
    ) -> Tensor:
        """Returns attention of x [E, B * T, D] over sequences of ``size`` tokens T, the same
        shape; ``tell`` is told what goes into each matrix."""
        for name in ("query", "key", "value"):
            tell(f"input {prefix}{name}", x)
        q, k, v = self._heads(parameters, prefix, x, size)
        values = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self._scale)
        joined = values.transpose(1, 2).reshape(x.shape)
        tell(f"input {prefix}output", joined)
        return self._linear(joined, parameters[prefix + "output"])

    def peaks(self, parameters: Mapping[str, Tensor], prefix: str, x: Tensor, size: int) -> Tensor:
        """Returns the largest logit of each head over all sequences and causal pairs, [E, H]."""
        q, k, _ = self._heads(parameters, prefix, x, size)
        scale = q.shape[-1] ** -0.5 if self._scale is None else self._scale
        found = largest_products(q, k) * scale
        return found.view(x.shape[0], -1, found.shape[1]).amax(1)

    def _heads(self, parameters: Mapping[str, Tensor], prefix: str, x: Tensor, size: int) -> Heads:
        folded = (-1, size, x.shape[-1] // self._config["head_dim"], self._config["head_dim"])
        q, k, v = (
            self._linear(x, parameters[prefix + name]).view(folded)
            for name in ("query", "key", "value")
        )  # [E * B, T, H, K]
        if self._config["qk_norm"]:
            q, k = (F.rms_norm(each, each.shape[-1:], eps=RMS_EPSILON) for each in (q, k))
        if self._config["positions"] == "rope":
            rotation = self._rotation(q)
            q, k = _rotate(q, rotation), _rotate(k, rotation)
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        return q, k, v

    def _rotation(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Returns cosines and sines, [T, 1, K / 2], of the rotary positions (2104.09864)."""
        half = self._config["head_dim"] // 2
        pairs = torch.arange(half, dtype=torch.float64, device=like.device)
        times = torch.arange(like.shape[1], dtype=torch.float64, device=like.device)
        frequencies = self._config["rope_base"] ** -(pairs / half)
        angles = times[:, None, None] * frequencies
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def attention_scale(config: Config) -> float | None:
    """Returns the factor on attention logits; None for K^(-1/2), what kernels take it for.

    ``linear`` is K_base^(1/2) / K: 1/K as maximal update needs it (arXiv 2203.03466, definition
    4.1), and K^(-1/2) at the base.
    """
    if config["attention_scale"] == "sqrt":
        return None
    return sqrt(config["base_head_dim"]) / float(config["head_dim"])


def qk_clip_of(plan: Resolved, peaks: Peaks) -> QKClip | None:
    """Returns the QK-clip of a resolved config, or None where there is nothing to clip.

    With QK-norm queries and keys have norm K^(1/2) at most, so that no logit exceeds K times the
    scale; a threshold from there on never acts.
    """
    config = plan.config
    if not SPECS[config["optimizer"]].clips_attention:
        return None
    size = config["head_dim"]
    bound = size * (attention_scale(config) or size**-0.5)
    if config["qk_norm"] and bound <= config["qk_clip_threshold"]:
        return None
    return QKClip(
        peaks,
        threshold=config["qk_clip_threshold"],
        alpha=config["qk_clip_alpha"],
        frequency=config["qk_clip_frequency"],
    )


def largest_products(q: Tensor, k: Tensor, *, at_once: int = SCORES) -> Tensor:
    """Returns max over i >= j of q_i . k_j, [N, H], of q and k [N, H, T, K], in float32 at least.

    At most ``at_once`` products are in memory, or those of one query of one sequence.
    """
    number, heads, size, _ = q.shape
    rows = max(1, min(size, at_once // (heads * size)))
    together = max(1, at_once // (heads * rows * size))
    found = [
        _largest(q[i : i + together], k[i : i + together], rows)
        for i in range(0, number, together)
    ]
    return torch.cat(found)


def _largest(q: Tensor, k: Tensor, rows: int) -> Tensor:
    """Returns the same, ``rows`` queries at a time."""
    times = torch.arange(q.shape[2], device=q.device)
    best = []
    for first in range(0, len(times), rows):
        some = slice(first, first + rows)
        future = times > times[some, None]  # [rows, T]
        products = (q[:, :, some] @ k.mT).masked_fill(future, -torch.inf)
        best.append(products.flatten(2).amax(2))
    largest = torch.stack(best).amax(0)
    return largest if largest.dtype == torch.float64 else largest.float()


def _rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Returns x [N, T, H, K] with the pairs (i, i + K / 2) turned by the position."""
    cosine, sine = rotation
    first, second = x.chunk(2, dim=-1)
    turned = (first * cosine - second * sine, second * cosine + first * sine)
    return torch.cat(turned, dim=-1)
