"""What the data reads of a config."""

from __future__ import annotations

from typing import Any


def data_config(data: str, **changes: Any) -> dict[str, Any]:
    """Returns the settings that the data reads, with windows small enough for any test."""
    config = {"data": data, "tokenizer": None, "vocabulary": None, "context": 8}
    return {**config, "eval_tokens": 64, **changes}
