"""The sections of a study as frozen models, each right by itself, and the kinds of value in them.

Each kind is a check with a message of our own and, for editors, its JSON schema. Numbers may be
written as text ("1e-3", "2**-10"), as everywhere in a study.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import CoreSchema

from sweeper.errors import shown
from sweeper.study.axes import (
    Axis,
    axis_schema,
    number,
    number_schema,
    parse_axis,
    whole_number,
)
from sweeper.study.settings import text

_SLUG = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


def _slug(raw: Any) -> str:
    value = _filled(raw)
    if not re.fullmatch(_SLUG, value):
        raise ValueError(
            f"{shown(value)} is not a name; use letters, digits, '-', '_' and '.', "
            "starting with a letter or digit, at most 100 in all"
        )
    return value


def _filled(raw: Any) -> str:
    if not text(raw).strip():
        raise ValueError("the text is empty")
    return str(raw)


def _number(raw: Any) -> float:
    return float(number(raw))


def _positive(raw: Any) -> float:
    value = _number(raw)
    if value <= 0:
        raise ValueError(f"{shown(raw)} is not above 0; give a positive number")
    return value


def _shrink(raw: Any) -> float:
    value = _positive(raw)
    if value > 1:
        raise ValueError(f"{shown(raw)} is above 1; give how many times as wide steps become")
    return value


def _count(raw: Any) -> int:
    value = whole_number(raw)
    if value < 1:
        raise ValueError(f"{shown(raw)} is too small; give a whole number of at least 1")
    return value


def _pack(raw: Any) -> int | str:
    try:
        return "auto" if raw == "auto" else _count(raw)
    except ValueError:
        raise ValueError(
            f"{shown(raw)}: allowed are auto and whole numbers of at least 1"
        ) from None


def search_methods() -> tuple[str, ...]:
    """Returns the names of the strategies that propose trials: the modules of ``sweeper.search``
    beside its ``base``; packages there hold what strategies are made of. They import the study,
    and so are not imported here."""
    package = find_spec("sweeper.search")
    assert package is not None
    modules = iter_modules(package.submodule_search_locations)
    names = {module.name for module in modules if not module.ispkg}
    return tuple(sorted(names - {"base"}))


def _method(raw: Any) -> str:
    if raw not in (known := search_methods()):
        raise ValueError(f"{shown(raw)} is not available; known: {', '.join(known)}")
    return str(raw)


def _flag(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"{shown(raw)} is neither true nor false")
    return raw


def _part(raw: Any) -> float:
    value = _number(raw)
    if not 0 < value < 1:
        raise ValueError(f"{shown(raw)} is no share of a run; give a number between 0 and 1")
    return value


def _one_of(raw: Any, *, allowed: Sequence[str]) -> str:
    if raw not in allowed:
        raise ValueError(f"{shown(raw)} is not known; allowed: {', '.join(allowed)}")
    return str(raw)


def _choice(*allowed: str) -> tuple[BeforeValidator, WithJsonSchema]:
    check = BeforeValidator(partial(_one_of, allowed=allowed))
    return check, WithJsonSchema({"type": "string", "enum": list(allowed)})


MOST_STEPS = 100
"""Values by which an axis may grow at an end, at most; more is a slip of the pen."""


def _steps(raw: Any) -> int:
    if isinstance(raw, bool):
        raise ValueError(f"{shown(raw)} is no cap; give the most values that an axis may grow by")
    if (value := _whole(raw)) > MOST_STEPS:
        raise ValueError(f"{shown(raw)} is too large; an axis grows by {MOST_STEPS} at most")
    return value


def _whole(raw: Any) -> int:
    if (value := whole_number(raw)) < 0:
        raise ValueError(f"{shown(raw)} is too small; give a whole number of at least 0")
    return value


def _goal(raw: Any) -> str:
    if raw not in ("min", "max"):
        raise ValueError(f"{shown(raw)} is not a goal; allowed: min, max")
    return str(raw)


def _amount(raw: Any, *, zero: bool) -> float | dict[float, float]:
    if not isinstance(raw, Mapping):
        return _share(raw, zero=zero)
    if not raw:
        raise ValueError("the table is empty; give {scale value: number}, or one number")
    table = {_number(key): _share(value, zero=zero) for key, value in raw.items()}
    if len(table) < len(raw):
        raise ValueError("two keys of the table are the same number; remove one")
    return dict(sorted(table.items()))


def _share(raw: Any, *, zero: bool) -> float:
    value = _number(raw)
    if value < 0 or (value == 0 and not zero):
        raise ValueError(
            f"{shown(raw)} is too small; allowed: {'0 or more' if zero else 'above 0'}"
        )
    if value > 1 and value != int(value):
        raise ValueError(f"{shown(raw)} is not allowed: above 1 only whole numbers are")
    return value


def _amount_schema(**bounds: Any) -> WithJsonSchema:
    one = number_schema(**bounds)
    table = {"type": "object", "additionalProperties": one, "minProperties": 1}
    return WithJsonSchema({"anyOf": [*one["anyOf"], table]})


Name = Annotated[
    str, BeforeValidator(_slug), WithJsonSchema({"type": "string", "pattern": f"^{_SLUG}$"})
]
Text = Annotated[
    str, BeforeValidator(_filled), WithJsonSchema({"type": "string", "pattern": "\\S"})
]
Line = Annotated[str, BeforeValidator(text)]
Number = Annotated[float, BeforeValidator(_number), WithJsonSchema(number_schema())]
Positive = Annotated[
    float, BeforeValidator(_positive), WithJsonSchema(number_schema(exclusiveMinimum=0))
]
Shrink = Annotated[
    float,
    BeforeValidator(_shrink),
    WithJsonSchema(number_schema(exclusiveMinimum=0, maximum=1)),
]
_COUNT = number_schema(type="integer", minimum=1)
Count = Annotated[int, BeforeValidator(_count), WithJsonSchema(_COUNT)]
_WHOLE = number_schema(type="integer", minimum=0)
Whole = Annotated[int, BeforeValidator(_whole), WithJsonSchema(_WHOLE)]
Steps = Annotated[
    int,
    BeforeValidator(_steps),
    WithJsonSchema(number_schema(type="integer", minimum=0, maximum=MOST_STEPS)),
]
Seeds = Annotated[str, *_choice("all", "auto")]
Until = Annotated[str, *_choice("optimum", "verdict")]
Sampler = Annotated[str, *_choice("tpe", "gp", "cmaes", "grid", "qmc", "random")]
Pack = Annotated[
    int | Literal["auto"],
    BeforeValidator(_pack),
    WithJsonSchema({"anyOf": [{"const": "auto"}, *_COUNT["anyOf"]]}),
]
_METHODS = list(search_methods())
Method = Annotated[
    str,
    BeforeValidator(_method),
    WithJsonSchema(
        ({"enum": _METHODS} if len(_METHODS) > 1 else {"const": _METHODS[0]}) | {"type": "string"}
    ),
]
Flag = Annotated[bool, BeforeValidator(_flag)]
Part = Annotated[
    float,
    BeforeValidator(_part),
    WithJsonSchema(number_schema(exclusiveMinimum=0, exclusiveMaximum=1)),
]
Goal = Annotated[Literal["min", "max"], BeforeValidator(_goal)]
Cpus = Annotated[
    float | dict[float, float],
    BeforeValidator(partial(_amount, zero=False)),
    _amount_schema(exclusiveMinimum=0),
]
Gpus = Annotated[
    float | dict[float, float],
    BeforeValidator(partial(_amount, zero=True)),
    _amount_schema(minimum=0),
]
AxisField = Annotated[Axis, BeforeValidator(parse_axis), WithJsonSchema(axis_schema({}))]


class Section(BaseModel):
    """A frozen part of a study that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(Section):
    """A named bundle of settings; ``sweep`` adds axes or overrides those of the study."""

    model_config = ConfigDict(frozen=True, extra="allow")

    sweep: dict[str, AxisField] = Field(default={}, description="Axes of this variant alone.")

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_no_settings(cls, data: Any) -> Any:
        return {} if data is None else data

    @property
    def settings(self) -> dict[str, Any]:
        """The variant's constant settings, as written."""
        return dict(self.model_extra or {})


class Search(Section):
    """Who proposes the trials, and how."""

    OPTIONS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "grid": ("expand_edges", "refine", "seeds"),
        "ladder": ("until", "within", "most", "expand_edges"),
        "telescope": ("points", "shrink", "expand_edges"),
        "optuna": ("sampler", "trials", "startup", "batch", "sampler_seed"),
    }
    """The options of each method; a method without an entry has none."""

    method: Method = Field(
        default="grid",
        description="grid runs every combination of the axes; ladder goes from small to large "
        "scales, each run where it narrows an optimum most for its price; telescope narrows a "
        "grid at every doubling; optuna asks a sampler of Optuna.",
    )
    expand_edges: Steps | None = Field(
        default=None,
        description="Most values by which an axis grows at an end where an optimum lies; ladder 4 "
        "unless given, others none.",
    )
    refine: Positive | None = Field(
        default=None,
        description="grid: half width of an optimum's 95% interval, octaves, above which "
        "half-steps are run beside it.",
    )
    seeds: Seeds = Field(
        default="all",
        description="grid: all runs every seed everywhere; auto runs the first one everywhere "
        "and the others where the verdict on a claim needs them.",
    )
    until: Until = Field(
        default="optimum",
        description="ladder: optimum until every optimum is narrow enough, verdict until the "
        "claims are decided.",
    )
    within: Positive = Field(
        default=0.4,
        description="ladder: half width of the 95% interval of the optimum at the largest scale, "
        "octaves, that is narrow enough.",
    )
    most: Count | None = Field(
        default=None,
        description="ladder: most points of the largest scale for each hyperparameter; 2 unless "
        "given, 4 until a verdict. Smaller scales may have more, as the fourth root of the price, "
        "8 or as many.",
    )
    points: Count = Field(
        default=3,
        description="telescope: fewest values of a hyperparameter at one scale; even numbers "
        "count as the next odd one.",
    )
    shrink: Shrink = Field(
        default=0.5,
        description="telescope: factor by which steps narrow when the scale doubles, to a quarter "
        "of the declared ones at most.",
    )
    sampler: Sampler = Field(
        default="tpe", description="optuna: tpe, gp, cmaes, grid, qmc or random."
    )
    trials: Count = Field(default=10, description="optuna: points of every scale, seeds apart.")
    startup: Count = Field(
        default=4, description="optuna: random points of every scale that tpe and gp start from."
    )
    batch: Count = Field(
        default=1,
        description="optuna: points of one scale that tpe, gp and cmaes choose at a time, without "
        "knowing how the others end.",
    )
    sampler_seed: Whole = Field(default=0, description="optuna: seed of the sampler.")

    @property
    def document(self) -> dict[str, Any]:
        """The method and those of its options that are set, as plain data."""
        names = ("method", *self.OPTIONS.get(self.method, ()))
        values = {name: getattr(self, name) for name in names}
        off = {"expand_edges": None, "refine": None, "seeds": "all", "most": None}
        return {k: v for k, v in values.items() if k not in off or v != off[k]}


class Objective(Section):
    """What is compared between trials."""

    metric: Text = Field(default="val_loss", description="A metric of the workload.")
    goal: Goal = Field(default="min", description="min or max.")


class Budget(Section):
    """Ceilings; None is no ceiling."""

    flops: Positive | None = Field(default=None, description="Training FLOPs in total.")
    trials: Count | None = Field(default=None, description="Number of trials.")
    hours: Positive | None = Field(default=None, description="Wall-clock hours of a run.")


class Stop(Section):
    """Which trials are stopped before their end, besides those that diverge."""

    dominated: Flag = Field(
        default=False, description="Stop trials far from the best that finished ones dominate."
    )
    after: Part = Field(
        default=0.5, description="Share of its steps that a trial runs before it is stopped."
    )


class Recording(Section):
    """What trainers record on the way; a name or a list is short for its ``quantities``."""

    quantities: tuple[Text, ...] = Field(
        default=(), description="What is recorded, as columns of the curves."
    )
    every: Count | None = Field(
        default=None,
        description="Steps between two recordings; a twentieth of the run unless given.",
    )
    steps: tuple[Count, ...] = Field(
        default=(), description="The steps to record after, in place of `every`."
    )

    @model_validator(mode="before")
    @classmethod
    def _list_of_quantities(cls, data: Any) -> Any:
        names = [data] if isinstance(data, str) else data
        return {"quantities": names} if isinstance(names, list | tuple) else data

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: Any) -> Any:
        whole = handler(core)
        names = handler.resolve_ref_schema(whole)["properties"]["quantities"]
        name = names["items"]
        return {"anyOf": [name, {"type": "array", "items": name}, whole]}


class Decompose(Section):
    """What `sweeper decompose` asks of leading directions; None is as described."""

    tolerances: tuple[Positive, ...] | None = Field(
        default=None,
        description="Weights of the slope of what the leading directions leave, tried in pairs by "
        "their sum; 0.01, 0.03, 0.1, 0.3, 1, 3 and 10 unless given.",
    )
    convexity: Part | None = Field(
        default=None,
        description="Largest share of the inner points at which the curve of the leading "
        "directions may bend downwards; 0.25 unless given.",
    )
    argmin: Positive | None = Field(
        default=None,
        description="Octaves by which the minimum of that curve may lie off that of the whole; "
        "0.5 unless given.",
    )
    invariance: Part | None = Field(
        default=None,
        description="Share of the whole change of the loss up to which top-k curves of two "
        "scales are alike; 0.02 unless given.",
    )
    error: Part | None = Field(
        default=None,
        description="Share of the change of the loss by which that to first order may miss it, "
        "for a point to count; 0.03 unless given.",
    )

    @property
    def document(self) -> dict[str, Any]:
        """What is set, as plain data."""
        return self.model_dump(mode="json", exclude_none=True)


class Resources(Section):
    """What one trial is given, as one number or as a table by the value of the scale."""

    cpus: Cpus = Field(
        default=1.0, description="Processors a trial (fractions allowed), or a table by scale."
    )
    gpus: Gpus = Field(
        default=0.0, description="GPUs a trial (fractions allowed), or a table by scale."
    )
    pack: Pack = Field(
        default="auto", description="Trials that train side by side in one process; auto decides."
    )

    def cpus_at(self, scale: float) -> float:
        """Returns the processors of a trial at a value of the scale."""
        return _at(self.cpus, scale)

    def gpus_at(self, scale: float) -> float:
        """Returns the GPUs of a trial at a value of the scale."""
        return _at(self.gpus, scale)


class Claim(Section):
    """A rule to put to the test: the optimum moves by ``exponent`` octaves when the scale
    doubles, within ``tolerance``."""

    hyperparameter: Text = Field(description="A swept setting.")
    exponent: Number = Field(description="Octaves per doubling of the scale; 0 is no drift.")
    tolerance: Positive = Field(description="Largest deviation that still counts as the rule.")


class Sections(Section):
    """All sections of a study, each right by itself."""

    name: Name = Field(description="Name of the study in the store and in commands.")
    question: Line = Field(default="", description="What the study asks, in a sentence.")
    workload: Text = Field(description="A registered workload, or package.module:ATTRIBUTE.")
    scale: Text = Field(description="The swept setting along which optima are tracked.")
    fixed: dict[str, Any] = Field(default={}, description="Settings with one value.")
    variants: dict[Name, Variant] = Field(
        default={"default": Variant()},
        min_length=1,
        description="Named bundles of settings that are compared with each other.",
    )
    sweep: dict[str, AxisField] = Field(description="Axes; every combination of values is run.")
    search: Search = Field(default=Search(), description="Who proposes the trials.")
    objective: Objective = Field(default=Objective(), description="What is compared.")
    budget: Budget = Field(default=Budget(), description="Ceilings on what is spent.")
    stop: Stop = Field(default=Stop(), description="Which trials are stopped before their end.")
    record: Recording = Field(default=Recording(), description="What trainers record on the way.")
    decompose: Decompose = Field(
        default=Decompose(), description="What is asked of the leading directions."
    )
    resources: Resources = Field(default=Resources(), description="What one trial is given.")
    claims: tuple[Claim, ...] = Field(
        default=(),
        description="Rules to put to the test; several about one setting are weighed as rivals.",
    )


def _at(amount: float | Mapping[float, float], scale: float) -> float:
    """Returns the entry of the largest listed scale that does not exceed the given one."""
    if not isinstance(amount, Mapping):
        return amount
    return amount[max(key for key in amount if key <= scale)]
