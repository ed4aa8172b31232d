"""A workload of a user's own torch module in one class: settings, a module, a loss and batches.

    class Cnn(TorchWorkload):
        name = "cnn"
        version = "1.0.0"
        doc = "A convolutional network on digits."

        def module(self, config):
            return nn.Sequential(...)                   # of config["width"]

        def examples(self, config):
            return train_inputs, train_targets, held_out_inputs, held_out_targets

    CNN = Cnn()                                         # workload: my_module:CNN

Loop, schedules, optimizers and scaling rules, evaluations, divergence and checkpoints are those of
the built-in workloads, and so are the settings: ``width``, ``batch_size``, ``steps``, and all of
``sweeper rules`` and of a run.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from workloads.card import ModelCard
from workloads.data import IMAGES, drawn
from workloads.optimizers import SPECS, algorithm_settings, choice_settings, power_settings
from workloads.parametrization import (
    TensorKind,
    canonical_rules,
    rule_faults,
    rule_results,
    rule_settings,
)
from workloads.settings import count
from workloads.training import RUN, STEP_RECORDINGS, run_faults, warmup_steps
from workloads.workload import (
    Config,
    DataUnavailableError,
    Problem,
    Resolved,
    Setting,
    TrainerFactory,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from workloads.parameters import FoundTensor, Roles

_OURS = (
    Setting(name="width", kind="int", required=True, low=1, doc="What the module grows along."),
    count("batch_size", 64, "Examples a step."),
    count("steps", 200, "Optimizer steps of the whole run."),
)
_REST = (
    *choice_settings(),
    *rule_settings({}),
    *algorithm_settings({}, attention=False),
    *power_settings(),
    *RUN,
)


class _Own(dict[str, Any]):
    """The settings that data may depend on; says so where another one is asked for."""

    def __init__(self, name: str, given: Iterable[tuple[str, Any]]) -> None:
        super().__init__(given)
        self._name = name

    def __missing__(self, key: str) -> Any:
        raise DataUnavailableError(
            f"data of workload {self._name} reads {key!r}, and is given no settings but "
            "own_settings (batch also batch_size), so that all widths see the same data; make "
            "what it needs one of own_settings"
        )


def _checked(name: str, found: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns examples as they are.

    Raises:
        DataUnavailableError: they are no inputs and targets of one length, twice.
    """
    import torch

    start = f"examples of workload {name}"
    if not isinstance(found, tuple | list) or len(found) != 4:
        said = f"{len(found)} parts" if isinstance(found, tuple | list) else type(found).__name__
        raise DataUnavailableError(
            f"{start} are {said}; return four tensors: inputs and targets to train on, inputs and "
            "targets that are held out"
        )
    for each in found:
        if not isinstance(each, torch.Tensor):
            raise DataUnavailableError(
                f"{start} hold a {type(each).__name__}; make it a tensor, as torch.as_tensor does"
            )
    for kind, inputs, targets in (("to train on", *found[:2]), ("held out", *found[2:])):
        sizes = [len(each) if each.ndim else 0 for each in (inputs, targets)]
        if sizes[0] != sizes[1] or not sizes[0]:
            raise DataUnavailableError(
                f"{start}: {sizes[0]} inputs and {sizes[1]} targets {kind}; "
                "there have to be as many of both, and one at least"
            )
    return found[0], found[1], found[2], found[3]


class TorchWorkload(ModelCard):
    """Base of a workload that trains a module of one's own.

    Its module is called in evaluation mode and without buffers that change, since members of a
    pack and resumed runs have to see the same: batch norm and dropout are refused.

    Attributes:
        name: of the workload.
        version: raise it whenever the same config would train differently.
        doc: one sentence on what is trained.
        own_settings: settings of the module, besides ``width``.
        roles: of parameters whose role their shapes do not tell, see :func:`scaled_groups`.
        metrics: names and meaning of what is measured; ``val_loss`` is among it.
        guess: loss of guessing; twice that for a twentieth of the steps is divergence. None
            knows nothing, and only numbers that are not finite are.
        recordings: what can be recorded on the way; activations are what comes out of each
            part that has a weight.
    """

    name: str
    version: str
    doc: str
    own_settings: tuple[Setting, ...] = ()
    roles: Roles = MappingProxyType({})
    metrics: Mapping[str, str] = MappingProxyType(
        {"val_loss": "Mean loss on held-out examples.", "train_loss": "Mean training loss."}
    )
    guess: float | None = None
    recordings: Mapping[str, str] = STEP_RECORDINGS

    @abstractmethod
    def module(self, config: Config) -> nn.Module:
        """Returns the module of a completed config, with its initial values."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss of each example, [B], of the module's outputs [B, ...]: by default
        the cross-entropy of logits [B, C] with labels [B]."""
        import torch.nn.functional as F

        return F.cross_entropy(outputs, targets, reduction="none")

    def measured(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Returns what is measured of each held-out example besides ``val_loss``, [B] each."""
        return {}

    def examples(self, config: Config) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns inputs and targets to train on, and those that are held out: one set for all
        widths, so that of the config only ``own_settings`` are given. torch draws the same numbers
        here in every process."""
        raise DataUnavailableError(
            f"workload {self.name} has no data; give it examples, or batch and held_out"
        )

    def batch(self, config: Config, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """Returns inputs and targets of a step, [B, ...] each, that depend on seed and step
        alone: by default drawn from the examples, with replacement."""
        import torch

        inputs, targets, *_ = self._examples(config)
        draws = drawn(config["batch_size"], seed=seed, step=step, use=IMAGES) % len(targets)
        places = torch.from_numpy(draws.astype("int64"))
        return inputs[places], targets[places]

    def held_out(self, config: Config) -> Iterable[tuple[Tensor, Tensor]]:
        """Returns inputs and targets that are held out, in parts: by default 1,024 at a time."""
        _, _, inputs, targets = self._examples(config)
        import torch

        return zip(torch.split(inputs, 1024), torch.split(targets, 1024), strict=True)

    def flops(self, config: Config, module: nn.Module) -> float:
        """Returns forward FLOPs of one example: by default two for each parameter, which is
        right for a module whose parameters are each used once."""
        return 2.0 * sum(each.numel() for each in module.parameters())

    @cached_property
    def settings(self) -> tuple[Setting, ...]:  # type: ignore[override]
        """All settings but ``seed``."""
        width, *run = _OURS
        return (width, *self.own_settings, *run, *_REST)

    def faults(self, config: Config) -> Iterator[Problem]:
        """Yields every fault of a completed config."""
        yield from run_faults(config, ("steps",))
        left = SPECS[config["optimizer"]].without_clip
        if left is not None:
            message = f"optimizer {config['optimizer']} scales down attention, which is not seen; "
            yield Problem(keys=("optimizer",), message=f"{message}use {left}")
        try:
            tensors = self.tensors(config)
        except ValueError as fault:
            yield Problem(keys=("width",), message=str(fault))
            return
        if config.get("base_depth") is not None:
            message = f"base_depth {config['base_depth']}: rules over depth need branches, which "
            yield Problem(keys=("base_depth",), message=f"{message}are not seen; remove it")
        yield from rule_faults(config, tensors, config["steps"])

    def resolved(self, config: Config) -> Resolved:
        """Returns the canonical form of a completed, faultless config and what follows."""
        result = dict(config)
        result["evals"] = min(config["evals"], config["steps"])
        result = canonical_rules(result, self.tensors)
        module = self._meta(config)
        examples = config["steps"] * config["batch_size"]
        forward = self.flops(config, module)
        derived = {
            "params": sum(each.numel() for each in module.parameters()),
            "steps": config["steps"],
            "tokens": examples,
            "flops": 3 * forward * examples,
            "flops_per_token": forward,
            "warmup_steps": warmup_steps(config),
            **rule_results(result, self.tensors),
        }
        return Resolved(config=result, derived=derived)

    def tensors(self, config: Config) -> Sequence[TensorKind]:
        """Returns the tensors of a completed config, the first of each role under its name."""
        return [each.kind for each in self.found(config)]

    def data_fingerprint(self, config: Config) -> str:
        """Returns the SHA-256 of the first batch and of all that is held out."""
        own = {each.name for each in self.own_settings} | {"batch_size"}
        return self._fingerprint(frozenset((k, v) for k, v in config.items() if k in own))

    def pack_size(self, config: Config, device: str) -> int:
        """Returns 1: on a CPU members go through the module one after the other."""
        return 1 if device == "cpu" else 8

    def trainer(self) -> TrainerFactory:
        """Returns the factory of the trainer; imports torch."""
        from workloads.training import OwnTrainer

        return partial(OwnTrainer, self)

    def found(self, config: Config) -> Sequence[FoundTensor]:
        """Returns every parameter and what it is to a rule."""
        return self._found(self._shape(config), config.get("base_width") or config["width"])

    def built(self, config: Config, *, width: int | None = None) -> nn.Module:
        """Returns the module of a config, at another width if one is given, ready for training.

        Raises:
            ValueError: it has parts whose state is no parameter, or that draw numbers.
        """
        module = self.module({**config, "width": width or config["width"]}).eval()
        for name, part in module.named_modules():
            running = getattr(part, "track_running_stats", False)
            chance = "p" if type(part).__name__.endswith("Dropout") else "dropout"
            drops = getattr(part, chance, 0)
            if running or (isinstance(drops, int | float) and drops):
                what = "keeps running statistics" if running else "drops activations by chance"
                raise ValueError(
                    f"{type(part).__name__} {name} {what}, which a resumed run would not repeat; "
                    "use a norm of one example (LayerNorm, GroupNorm), and no dropout"
                )
        return module

    @cached_property
    def _examples(self) -> Callable[[Config], tuple[Tensor, Tensor, Tensor, Tensor]]:
        own = {each.name for each in self.own_settings}

        @lru_cache(maxsize=4)
        def read(given: frozenset[tuple[str, Any]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            import torch

            # what is drawn without a seed has to be the same in every process
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                found = self.examples(_Own(self.name, given))
            return _checked(self.name, found)

        return lambda config: read(frozenset((k, v) for k, v in config.items() if k in own))

    @cached_property
    def _fingerprint(self) -> Callable[[frozenset[tuple[str, Any]]], str]:
        @lru_cache(maxsize=64)
        def digest(given: frozenset[tuple[str, Any]]) -> str:
            config = _Own(self.name, given)
            found = hashlib.sha256()
            held_out = list(self.held_out(config))
            if not held_out:
                raise DataUnavailableError(
                    f"workload {self.name} holds nothing out; held_out has to yield inputs and "
                    "targets, by which trials are compared"
                )
            for pair in (self.batch(config, 0, 1), *held_out):
                for tensor in pair:
                    found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
                    found.update(tensor.contiguous().view(-1).numpy().tobytes())
            return found.hexdigest()

        return digest

    def _shape(self, config: Config) -> frozenset[tuple[str, Any]]:
        own = {each.name for each in self.own_settings} | {"width"}
        return frozenset((name, value) for name, value in config.items() if name in own)

    def _meta(self, config: Config, width: int | None = None) -> nn.Module:
        return self._on_meta(self._shape({**config, "width": width or config["width"]}))

    @cached_property
    def _on_meta(self) -> Callable[[frozenset[tuple[str, Any]]], nn.Module]:
        @lru_cache(maxsize=256)
        def build(given: frozenset[tuple[str, Any]]) -> nn.Module:
            import torch

            with torch.device("meta"):
                return self.built(dict(given))

        return build

    @cached_property
    def _found(self) -> Callable[[frozenset[tuple[str, Any]], int], Sequence[FoundTensor]]:
        @lru_cache(maxsize=256)
        def find(given: frozenset[tuple[str, Any]], base: int) -> Sequence[FoundTensor]:
            from dataclasses import replace

            from workloads.parameters import find_tensors

            config = dict(given)
            here, there, other = (
                self._meta(config, width) for width in (config["width"], base, 2 * base)
            )
            found, seen = [], set[str]()
            for each in find_tensors(here, there, other, self.roles):
                role = each.kind.role
                key = f"{role}.{each.name}" if role in seen else role
                seen.add(role)
                found.append(replace(each, kind=replace(each.kind, key=key)))
            return sorted(found, key=lambda each: each.kind.key != each.kind.role)

        return find
