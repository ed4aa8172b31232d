"""The parameters of a torch model and what each is to a scaling rule, by shapes of two models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.parameter import is_lazy

from workloads.parametrization import ROLES, Role, TensorKind

OUT_BY_IN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.RNNBase, nn.RNNCellBase)
IN_BY_OUT = (
    nn.Embedding,
    nn.EmbeddingBag,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)

Roles = Mapping[str, Role]
"""Roles by the names of parameters, which may have ``*`` and ``?``; the first that fits counts."""


@dataclass(frozen=True)
class FoundTensor:
    """A parameter of a model, and what it is to a rule; its spread in the base model counts as 1.

    Attributes:
        name: as ``named_parameters`` has it.
        parameter: the parameter itself.
        base_shape: its sizes in the base model.
        kind: role and sizes.
        turned: True if it is stored with its inputs first, as tables of embeddings are.
    """

    name: str
    parameter: nn.Parameter
    base_shape: tuple[int, ...]
    kind: TensorKind
    turned: bool


def find_tensors(
    model: nn.Module, base_model: nn.Module, delta_model: nn.Module | None, roles: Roles
) -> list[FoundTensor]:
    """Returns the parameters of a model with what they are to a rule; see :func:`scaled_groups`.

    Raises:
        ValueError: the models do not belong together, or a role cannot be told.
    """
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise ValueError(
                f"{name} has no size yet, as parameters of lazy modules before their first batch; "
                "call each of the models once before their parameters are asked for"
            )
    grown = _growths(model if delta_model is None else delta_model, base_model)
    if not any(map(any, grown.values())):
        raise ValueError(
            "the model has the size of the base model, so that shapes do not tell which sides "
            "grow; give delta_model, the same model at any other width"
        )
    return list(_found(model, base_model, grown, roles))


def _growths(model: nn.Module, base_model: nn.Module) -> dict[str, tuple[bool, bool]]:
    """Returns by name whether inputs and outputs of a parameter grow with the width.

    Raises:
        ValueError: the models do not belong together.
    """
    bases, modules = dict(base_model.named_parameters()), dict(model.named_modules())
    found = {}
    for name, parameter in model.named_parameters():
        base = bases[counterpart(name, bases)]
        if parameter.ndim != base.ndim:
            raise ValueError(
                f"{name} has {parameter.ndim} dimensions, and {base.ndim} in the base model"
            )
        module = modules[name.rpartition(".")[0]]
        here, there = _sides(parameter.shape, module), _sides(base.shape, module)
        found[name] = here[0] != there[0], here[1] != there[1]
    return found


def _found(
    model: nn.Module,
    base_model: nn.Module,
    grown: Mapping[str, tuple[bool, bool]],
    roles: Roles,
) -> Iterator[FoundTensor]:
    bases = dict(base_model.named_parameters())
    modules = dict(model.named_modules())
    parameters = dict(model.named_parameters())
    names = names_of(model)
    called = {each for all_names in names.values() for each in all_names}
    unused = [pattern for pattern in roles if not any(fnmatchcase(n, pattern) for n in called)]
    if unused:
        raise ValueError(f"roles: no parameter is called {', '.join(unused)}")
    if wrong := [role for role in roles.values() if role not in ROLES]:
        raise ValueError(
            f"roles: {', '.join(map(repr, wrong))} is no role; use {', '.join(ROLES)}"
        )
    for name, parameter in parameters.items():
        base = tuple(bases[counterpart(name, bases)].shape)
        module = modules[name.rpartition(".")[0]]
        role = next((role for p, role in roles.items() if any_fits(names[id(parameter)], p)), None)
        grows = grown[counterpart(name, grown)]
        kind = _kind(name, tuple(parameter.shape), base, grows, module, role)
        yield FoundTensor(name, parameter, base, kind, isinstance(module, IN_BY_OUT))


def names_of(model: nn.Module) -> dict[int, list[str]]:
    """Returns all names of each parameter by its id: one that is tied, or whose module stands in
    several places, has several."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return names


def any_fits(names: Iterable[str], pattern: str) -> bool:
    """Returns whether a pattern of ``roles`` means a parameter of these names."""
    return any(fnmatchcase(name, pattern) for name in names)


def counterpart(name: str, bases: Iterable[str]) -> str:
    """Returns the name of a parameter of the base model for one of the model: the same, or the
    same but for the numbers of blocks.

    Raises:
        ValueError: there is none.
    """
    known = list(bases)
    if name in known:
        return name
    plain = _without_numbers(name)
    found = next((each for each in known if _without_numbers(each) == plain), None)
    if found is None:
        wrapped = any(part in ("_orig_mod", "module") for part in name.split("."))
        raise ValueError(
            f"the base model has no parameter {name}; "
            + (
                "make the groups of the model before torch.compile or DataParallel wrap it: its "
                "parameters stay the same ones"
                if wrapped
                else "build both by one function"
            )
        )
    return found


def _without_numbers(name: str) -> tuple[str, ...]:
    return tuple("#" if part.isdigit() else part for part in name.split("."))


def _kind(
    name: str,
    shape: tuple[int, ...],
    base: tuple[int, ...],
    grows: tuple[bool, bool],
    module: nn.Module,
    role: Role | None,
) -> TensorKind:
    """Returns what a parameter is to a rule.

    Raises:
        ValueError: its shape does not tell.
    """
    sides, base_sides = _sides(shape, module), _sides(base, module)
    if role is None:
        role = _role(name, shape, grows, module)
    if role == "vector":
        size, base_size = math.prod(shape), math.prod(base)
        layer: Role | None = None if any(grows) else "readout"
        sides, base_sides = (1.0, size), (1.0, base_size)
    else:
        layer = None
        # what is given a role against its shape has its sides the other way round
        if (role == "embedding" and grows == (True, False)) or (
            role == "readout" and grows == (False, True)
        ):
            sides, base_sides = sides[::-1], base_sides[::-1]
    return TensorKind(
        key=role,
        role=role,
        fan_in=sides[0],
        fan_out=sides[1],
        base_fan_in=base_sides[0],
        base_fan_out=base_sides[1],
        base_std=1.0,
        layer=layer,
    )


def _role(name: str, shape: tuple[int, ...], grows: tuple[bool, ...], module: nn.Module) -> Role:
    if sum(side != 1 for side in shape) <= 1 and not isinstance(module, OUT_BY_IN + IN_BY_OUT):
        return "vector"
    if len(shape) < 2:
        return "vector"
    if all(grows):
        return "hidden"
    if isinstance(module, OUT_BY_IN + IN_BY_OUT):
        return "readout" if grows[0] else "embedding"
    if not any(grows):
        return "embedding"  # nothing of it grows, and no rule changes anything about it
    raise ValueError(
        f"{name} of shape {'x'.join(map(str, shape))} grows along one side, and a "
        f"{type(module).__name__} does not say which are its inputs; give its role: "
        f'roles={{"{name}": "embedding"}} if its outputs grow, "readout" if its inputs do'
    )


def _sides(shape: Sequence[int], module: nn.Module) -> tuple[float, float]:
    """Returns inputs and outputs; the numbers of a kernel count among the inputs."""
    if len(shape) < 2:
        return 1.0, float(math.prod(shape))
    first, second, *kernel = shape
    if isinstance(module, IN_BY_OUT):
        return float(first * math.prod(kernel)), float(second)
    return float(second * math.prod(kernel)), float(first)
