"""What is wrong with a ``llama`` config and its data, its canonical form, and what follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from workloads.data import (
    FORMS,
    HOLD_OUT_EVERY,
    canonical_source,
    kind_of,
    known_kind,
    load_corpus,
    tokenizer_of,
)
from workloads.llama.shape import LlamaShape, mlp_hidden, shape_of, tensors_of
from workloads.parametrization import canonical_rules, rule_faults, rule_results
from workloads.training import has_one_horizon, run_faults, warmup_steps
from workloads.workload import Config, DataUnavailableError, Problem

HORIZONS = ("steps", "tokens", "tokens_per_param")


def canonical(config: Config, shape: LlamaShape) -> dict[str, Any]:
    """Returns a completed, faultless config in the one form that all its equals share.

    The horizon becomes ``steps``; ``eval_tokens`` whole sequences; ``evals`` at most one a step;
    the path of a text file absolute; optimizers and rules as in
    :func:`canonical_rules`.
    """
    result = dict(config)
    result["steps"] = steps = steps_of(config, shape)
    result["evals"] = min(config["evals"], steps)
    result["eval_tokens"] = config["eval_tokens"] // config["context"] * config["context"]
    result |= canonical_source(config)
    _drop_idle_attention(result)
    for name in ("tokens", "tokens_per_param"):
        result[name] = None
    return canonical_rules(result, tensors_of)


def derived(config: Config, shape: LlamaShape) -> dict[str, Any]:
    """Returns the derived quantities of a canonical config."""
    tokens = config["steps"] * shape.tokens_per_step
    return {
        "params": shape.params,
        "params_non_embedding": shape.params_non_embedding,
        "steps": config["steps"],
        "tokens": tokens,
        "flops": 3 * shape.flops_per_token * tokens,
        "flops_per_token": shape.flops_per_token,
        "warmup_steps": warmup_steps(config),
        "heads": shape.heads,
        "mlp_hidden": shape.mlp_hidden,
        "vocabulary": shape.vocabulary,
        **rule_results(config, tensors_of),
    }


def steps_of(config: Config, shape: LlamaShape) -> int:
    """Returns the length of the run in steps: tokens become whole batches, at least one."""
    if config["steps"] is not None:
        return int(config["steps"])
    per_param = config["tokens_per_param"]
    tokens = config["tokens"] if per_param is None else per_param * shape.params
    return max(1, int(tokens // shape.tokens_per_step))


def _drop_idle_attention(config: dict[str, Any]) -> None:
    """Writes an attention scale without effect as the usual one."""
    if config["base_head_dim"] == config["head_dim"]:
        config["attention_scale"] = "sqrt"
    if config["attention_scale"] == "sqrt":
        config["base_head_dim"] = None


def faults(config: Config) -> Iterator[Problem]:
    """Yields every fault of the combination of settings."""
    yield from head_faults(config)
    yield from _scale_faults(config)
    yield from _mlp_faults(config)
    yield from run_faults(config, HORIZONS)
    yield from _rule_faults(config)
    yield from _evaluation_faults(config)
    yield from _data_faults(config)


def head_faults(config: Config) -> Iterator[Problem]:
    """Yields the faults of the size of attention heads."""
    width, head_dim = config["width"], config["head_dim"]
    if head_dim % 2 and config["positions"] == "rope":
        yield Problem(
            keys=("head_dim",),
            message=f"head_dim {head_dim} is odd, and rotary positions turn pairs of numbers; "
            f"use {head_dim - 1} or {head_dim + 1}",
        )
    if width % head_dim:
        counts = [number for number in (width // head_dim, width // head_dim + 1) if number]
        near = " or ".join(f"{n * head_dim} ({n} {'heads' if n > 1 else 'head'})" for n in counts)
        yield Problem(
            keys=("width", "head_dim"),
            message=f"width {width} is no multiple of head_dim {head_dim}; the nearest allowed "
            f"is {near}",
        )


def _scale_faults(config: Config) -> Iterator[Problem]:
    if config["attention_scale"] == "linear" and config["base_head_dim"] is None:
        yield Problem(
            keys=("base_head_dim", "attention_scale"),
            message="base_head_dim is missing, and attention_scale linear is relative to it; set "
            "it to the head_dim at which the hyperparameters are tuned",
        )


def _mlp_faults(config: Config) -> Iterator[Problem]:
    width, ratio = config["width"], config["mlp_ratio"]
    if mlp_hidden(width, ratio) is None:
        near = max(1, round(ratio * width))
        yield Problem(
            keys=("mlp_ratio", "width"),
            message=f"mlp_ratio {ratio:g} times width {width} is {ratio * width:g}, and the "
            f"hidden size has to be a whole number from 1; the nearest mlp_ratio for this width "
            f"is {near / width!r} (hidden size {near})",
        )


def _evaluation_faults(config: Config) -> Iterator[Problem]:
    context, eval_tokens = config["context"], config["eval_tokens"]
    if eval_tokens < context:
        yield Problem(
            keys=("eval_tokens", "context"),
            message=f"eval_tokens {eval_tokens} is less than one sequence of context {context}; "
            f"use at least {context}",
        )


def _rule_faults(config: Config) -> Iterator[Problem]:
    known = has_one_horizon(config, HORIZONS)
    steps = steps_of(config, shape_of(config)) if known else None
    yield from rule_faults(config, tensors_of(config), steps)


def _data_faults(config: Config) -> Iterator[Problem]:
    kind, vocabulary = kind_of(config["data"]), config["vocabulary"]
    if kind is None:
        yield Problem(keys=("data",), message=f"data {config['data']!r} is no source; use {FORMS}")
    elif kind != "bin" and vocabulary is not None:
        yield Problem(
            keys=("vocabulary", "data"),
            message=f"vocabulary {vocabulary} is given, and that of data {config['data']} follows "
            "from its tokenizer; remove it (it is for token files, bin:PATH)",
        )


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
        from workloads.data import read_tokens  # loads numpy, which bytes do without

        found = read_tokens(config)
        _demand(config, "tokens", len(found.train), len(found.held_out))
        return f"sha256:{found.sha256}"
    corpus = load_corpus(config["data"])
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
