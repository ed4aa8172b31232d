"""A trial: one resolved configuration with its seed, named by the hash of its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HASH_VERSION = 1
"""Version of the recipe in :func:`trial_key`; a change of the recipe must raise it."""

Value = str | int | float | bool | None | list[Any]
"""What a setting of a configuration may hold."""


def canonical_json(document: Any) -> str:
    """Returns the one JSON text of a document: sorted keys, no spaces, shortest floats.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )


def trial_key(
    *, workload: str, version: str, data: str, config: Mapping[str, Value], seed: int
) -> str:
    """Returns the key of a trial: 64 hex digits of SHA-256 over what decides its result."""
    document = {
        "hash": HASH_VERSION,
        "workload": workload,
        "version": version,
        "data": data,
        "config": dict(config),
        "seed": seed,
    }
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One resolved configuration and a seed.

    Attributes:
        key: content hash, from :func:`trial_key`; the identity in the store and in Ray Tune.
        workload: name of the workload, or ``package.module:ATTRIBUTE``.
        version: semantic version of the workload.
        data: fingerprint of the data that it trains on.
        config: every setting that applies, defaults filled in, without the seed.
        seed: the seed of initialisation and data order.
        derived: quantities that follow from the config (params, tokens, flops, warmup steps,
            per-group learning rates...); never part of the key.
    """

    key: str
    workload: str
    version: str
    data: str
    config: Mapping[str, Value]
    seed: int
    derived: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of(
        cls,
        *,
        workload: str,
        version: str,
        data: str,
        config: Mapping[str, Value],
        seed: int,
        derived: Mapping[str, Any] | None = None,
    ) -> Trial:
        """Returns a trial under its content key."""
        key = trial_key(workload=workload, version=version, data=data, config=config, seed=seed)
        return cls(
            key=key,
            workload=workload,
            version=version,
            data=data,
            config=dict(config),
            seed=seed,
            derived=dict(derived or {}),
        )
