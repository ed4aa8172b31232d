"""The kinds of tensors of a ``llama`` as scaling rules see them."""

from __future__ import annotations

from functools import lru_cache

from workloads.data import vocabulary_of
from workloads.parametrization import Role, TensorKind, tensor_kinds
from workloads.workload import Config


def leaves_of(config: Config) -> tuple[TensorKind, ...]:
    """Returns the tensors of a completed config.

    ``hidden`` is the output of attention, and each role's other tensors have a name after a dot.
    The spread of ``hidden`` is that of a matrix with ``width`` inputs: one with another number of
    inputs takes inputs^(-1/2) instead, and the outputs of attention and MLP take 0 under
    ``zero_init``. Gains start at 1, so their spread is 0.
    """
    return _leaves(
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
def _leaves(
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
