"""Scaling rules for any torch model: learning rates, decays, epsilons and initial values by the
shapes of two models, as ``sweeper rules`` has them for the built-in ones.

    from workloads.scaled import scaled_groups, set_init

    models = make(width), make(64), make(128)          # to train, base, any other width
    set_init(*models, optimizer="adamw", parametrization="mup")
    groups = scaled_groups(
        *models, optimizer="adamw", parametrization="mup", learning_rate=2**-8
    )
    print(groups)
    optimizer = torch.optim.AdamW(groups)        # or ours: groups.optimizer()

``base_model`` is the same model at the width at which the hyperparameters were tuned; it may lie
on torch's meta device for the groups, and has to hold initial values for :func:`set_init`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from workloads.optimizers import (
    PlainOptimizer,
    algorithm_settings,
    choice_settings,
    power_settings,
)
from workloads.parameters import (
    IN_BY_OUT,
    OUT_BY_IN,
    FoundTensor,
    Roles,
    any_fits,
    counterpart,
    find_tensors,
    names_of,
)
from workloads.parametrization import (
    Role,
    rule_faults,
    rule_results,
    rule_settings,
    single_groups,
    with_optimizer_defaults,
)
from workloads.settings import completed
from workloads.workload import Config, Resolved

_SETTINGS = (
    *choice_settings(),
    *rule_settings({}),
    *algorithm_settings({}, attention=False),
    *power_settings(),
)


@dataclass(frozen=True, kw_only=True)
class ScaledParameter:
    """A parameter of a model under a rule.

    Attributes:
        name: as ``named_parameters`` has it.
        parameter: the parameter itself.
        shape, base_shape: its sizes, and those in the base model.
        role: ``embedding`` (only its outputs grow), ``hidden``, ``readout`` (only its inputs
            grow), or ``vector``, which is never decayed.
        group: ``optimizer``, ``learning_rate``, ``weight_decay`` (the share of a weight that a
            step takes away), its epsilons and ``init_std``, over that in the base model.
    """

    name: str
    parameter: nn.Parameter
    shape: tuple[int, ...]
    base_shape: tuple[int, ...]
    role: Role
    group: Mapping[str, Any]


class ScaledGroups(list[dict[str, Any]]):
    """Parameter groups for an optimizer of torch's; prints as a table.

    Each has ``params``, ``lr``, ``weight_decay`` (as torch means it, times ``lr``, so that the
    share that a step takes away is the rule's), ``eps`` where the optimizer has one, and for
    reading ``optimizer``, ``role`` and ``names``.

    Attributes:
        tensors: every parameter with its role and factors.
        branch_multiplier: what every residual branch has to be multiplied by; 1 without a rule
            over depth.
    """

    def __init__(self, tensors: Sequence[ScaledParameter], plan: Resolved) -> None:
        super().__init__(_merged(tensors))
        self.tensors = tuple(tensors)
        self.branch_multiplier = float(plan.derived["branch_multiplier"])
        self._plan = plan

    def of(self, optimizer: str) -> list[dict[str, Any]]:
        """Returns the groups that one optimizer drives, such as ``muon`` or ``adamw``."""
        return [group for group in self if group["optimizer"] == optimizer]

    def optimizer(self) -> PlainOptimizer:
        """Returns one optimizer of ours for all groups, each by its own algorithm.

        Raises:
            ValueError: an algorithm needs what a plain optimizer is not given.
        """
        return PlainOptimizer(list(self), self._plan)

    def __str__(self) -> str:
        rows = [("parameter", "shape", "base", "role", "optimizer", "lr", "decay", "eps", "init")]
        for each in self.tensors:
            group = each.group
            rows.append(
                (
                    each.name,
                    "x".join(map(str, each.shape)) or "1",
                    "x".join(map(str, each.base_shape)) or "1",
                    each.role,
                    str(group["optimizer"]),
                    f"{group['learning_rate']:.4g}",
                    f"{group['weight_decay']:.4g}",
                    f"{group['epsilon']:.4g}" if "epsilon" in group else "",
                    f"x {group['init_std']:.4g}" if each.role != "vector" else "",
                )
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
        return "\n".join(lines)


def scaled_groups(
    model: nn.Module,
    base_model: nn.Module,
    delta_model: nn.Module | None = None,
    *,
    learning_rate: float,
    optimizer: str = "adamw",
    parametrization: str = "mup",
    weight_decay: float = 0.0,
    roles: Roles | None = None,
    width_ratio: float | None = None,
    depth_ratio: float = 1.0,
    steps: int | None = None,
    **settings: Any,
) -> ScaledGroups:
    """Returns the parameter groups of a model under a scaling rule.

    Args:
        model: the model to train.
        base_model: its counterpart at the base width, with the same names of parameters; a block
            that it lacks (``layers.7``) has the sizes of one that it has (``layers.0``).
        delta_model: the same at any other width, from which roles are told where ``model`` may
            have the size of the base model, as in a sweep over widths; None takes ``model``.
        learning_rate: at the base width.
        optimizer: of the hidden matrices: any of ``sweeper rules --optimizer``.
        parametrization: the rule: sp, mup, spectral, moonlight, completep, ntk, mean_field or
            custom.
        weight_decay: at the base width, meant as ``weight_decay_convention`` says.
        roles: of parameters whose role their shapes do not tell, or tell wrongly.
        width_ratio: width over base width; None reads it off the shapes.
        depth_ratio: depth over base depth, for rules over depth.
        steps: length of the run, which ``weight_decay_rule: timescale`` asks for.
        settings: any other setting of optimizers and rules, by its name in a study.

    Raises:
        ValueError: the models do not belong together, a role cannot be told, a setting is
            unknown, or the rule is refused; says which and what to do.
    """
    config = _config(
        {
            "optimizer": optimizer,
            "parametrization": parametrization,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            **settings,
        }
    )
    found = find_tensors(model, base_model, delta_model, roles or {})
    ratio = _width_ratio(found) if width_ratio is None else width_ratio
    config |= {"width": ratio, "base_width": 1.0, "depth": depth_ratio, "base_depth": 1.0}
    config["steps"] = steps or 1
    if config.get("weight_decay_rule") == "timescale" and steps is None:
        raise ValueError("weight_decay_rule timescale needs steps, the length of the run")
    kinds = [each.kind for each in found]
    if problems := list(rule_faults(config, kinds, config["steps"])):
        raise ValueError("; ".join(problem.message for problem in problems))
    config = with_optimizer_defaults(config)
    plan = Resolved(config=config, derived=rule_results(config, lambda _: kinds))
    groups = single_groups(config, kinds)
    tensors = [
        ScaledParameter(
            name=each.name,
            parameter=each.parameter,
            shape=tuple(each.parameter.shape),
            base_shape=each.base_shape,
            role=each.kind.role,
            group=group,
        )
        for each, group in zip(found, groups, strict=True)
    ]
    _check_tied(model, tensors, roles or {})
    return ScaledGroups(tensors, plan)


@torch.no_grad()
def set_init(
    model: nn.Module, base_model: nn.Module, delta_model: nn.Module | None = None, **settings: Any
) -> None:
    """Scales the initial values of a model, in place: each matrix gets the root mean square that
    its counterpart in the base model has, times the rule's factor. Vectors stay as they are, and
    what starts at zero in the base model starts at zero.

    Args:
        model: with its initial values.
        base_model: with its initial values.
        delta_model: as for :func:`scaled_groups`.
        settings: as for :func:`scaled_groups`; the learning rate is not needed.

    Raises:
        ValueError: as for :func:`scaled_groups`, or a matrix has no initial values to scale.
    """
    bases = dict(base_model.named_parameters())
    given = {"learning_rate": 1e-9, **settings}
    for each in scaled_groups(model, base_model, delta_model, **given).tensors:
        if each.role == "vector":
            continue
        wanted = _size(bases[counterpart(each.name, bases)]) * each.group["init_std"]
        size = _size(each.parameter)
        if wanted and not size:
            raise ValueError(
                f"{each.name} is zero, and its counterpart in the base model is not; initialise "
                "the model in the same way before set_init"
            )
        each.parameter.mul_(wanted / size if size else 0.0)


def _size(parameter: torch.Tensor) -> float:
    if parameter.is_meta:
        raise ValueError("a model on the meta device has no initial values; make it on the CPU")
    return float(parameter.double().square().mean().sqrt())


def _config(given: Config) -> dict[str, Any]:
    """Returns the completed settings of optimizers and rules.

    Raises:
        ValueError: one is unknown, of another type, out of bounds or no choice.
    """
    settings = {each.name: each for each in _SETTINGS}
    for name in given.keys() - settings.keys():
        close = get_close_matches(name, settings, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(settings)}"
        raise ValueError(f"unknown setting {name}; {hint}")
    full = completed(_SETTINGS, given)
    for name, value in given.items():
        setting = settings[name]
        if setting.kind == "choice" and value not in setting.choices:
            raise ValueError(f"{name} {value!r} is not known; use {', '.join(setting.choices)}")
        if isinstance(value, int | float) and not setting.admits(value):
            small = setting.low is not None and value <= setting.low
            raise ValueError(f"{name} {value!r} is {'too small' if small else 'out of bounds'}")
        if name not in full:
            raise ValueError(f"{name} has no effect beside the other settings; leave it out")
    return full


def _width_ratio(found: Sequence[FoundTensor]) -> float:
    """Returns by how much models grow.

    Raises:
        ValueError: sides grow by different factors.
    """
    ratios = {
        round(here / there, 9)
        for each in found
        for here, there in (
            (each.kind.fan_in, each.kind.base_fan_in),
            (each.kind.fan_out, each.kind.base_fan_out),
        )
        if here != there
    }
    if len(ratios) > 1:
        said = ", ".join(f"{ratio:g}" for ratio in sorted(ratios))
        raise ValueError(f"sides grow by {said}; say width_ratio, the width over the base width")
    return ratios.pop() if ratios else 1.0


def _check_tied(model: nn.Module, tensors: Sequence[ScaledParameter], roles: Roles) -> None:
    """Refuses a parameter that stands in two modules with two different rules."""
    groups = {each.role: {**each.group, "init_std": None} for each in tensors}
    modules = dict(model.named_modules(remove_duplicate=False))
    for both in names_of(model).values():
        kinds = {type(modules[name.rpartition(".")[0]]) for name in both}
        given = any(any_fits(both, pattern) for pattern in roles)
        tied = any(issubclass(kind, IN_BY_OUT) for kind in kinds) and any(
            issubclass(kind, OUT_BY_IN) for kind in kinds
        )
        if tied and not given and groups.get("embedding") != groups.get("readout"):
            raise ValueError(
                f"{' and '.join(both)} are one tensor, an embedding and a readout with different "
                "rules; untie them, or say which rule it has: "
                f'roles={{"{both[0]}": "embedding"}}'
            )


def _merged(tensors: Sequence[ScaledParameter]) -> list[dict[str, Any]]:
    """Returns one group for each set of parameters with the same role and hyperparameters."""
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for each in tensors:
        values = {k: v for k, v in each.group.items() if k != "init_std"}
        key = (each.role, *values.items())
        if key not in groups:
            rate, share = values["learning_rate"], values["weight_decay"]
            groups[key] = {
                "params": [],
                "lr": rate,
                "weight_decay": share / rate if rate else 0.0,
                **({"eps": values["epsilon"]} if values.get("epsilon") else {}),
                **{k: v for k, v in values.items() if k.endswith("epsilon") and k != "epsilon"},
                "optimizer": values["optimizer"],
                "role": each.role,
                "names": [],
            }
        groups[key]["params"].append(each.parameter)
        groups[key]["names"].append(each.name)
    return list(groups.values())
