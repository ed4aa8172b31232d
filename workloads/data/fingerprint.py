"""The fingerprint of the data that a trial trains on."""

from __future__ import annotations

from workloads.data.corpus import HOLD_OUT_EVERY
from workloads.data.sources import known_kind, tokenizer_of
from workloads.data.text import load
from workloads.workload import Config, DataUnavailableError


def corpus_fingerprint(config: Config) -> str:
    """Returns ``sha256:`` and the digest of a config's data, once it is known to be enough.

    The digest is that of the text, whatever the tokenizer (which is a setting of its own, and
    whose vocabulary is checked), or of the ids of token files, whatever their layout. GPT-2
    tokens are prepared on the way, so that workers of the machine find them.

    Args:
        config: a completed config; reads data, tokenizer, vocabulary, context and eval_tokens.

    Raises:
        DataUnavailableError: the source is missing, altered, unreadable or too small.
    """
    if known_kind(config["data"]) == "bin" or tokenizer_of(config) != "bytes":
        from workloads.data.tokens import read_tokens  # loads numpy, which bytes do without

        found = read_tokens(config)
        _demand(config, "tokens", len(found.train), len(found.held_out))
        return f"sha256:{found.sha256}"
    corpus = load(config["data"])
    _demand(config, "bytes", corpus.train_bytes, corpus.held_out_bytes)
    return f"sha256:{corpus.sha256}"


def _demand(config: Config, unit: str, train: int, held_out: int) -> None:
    needs = (("training", train, "context"), ("held-out", held_out, "eval_tokens"))
    for part, size, setting in needs:
        needed = config[setting] + 1  # the last token of a sequence is only a target
        if size < needed:
            raise DataUnavailableError(
                f"data {config['data']} has {size} {part} {unit} (every {HOLD_OUT_EVERY}th "
                f"document is held out), and {setting} {config[setting]} needs {needed}; lower it "
                "or use a larger text"
            )
