"""The sections of a study as frozen models, each right by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import CoreSchema

from sweeper.study.program import ProgramKeys, Section
from sweeper.study.values import (
    AxisField,
    Count,
    Cpus,
    Custom,
    Flag,
    Goal,
    Gpus,
    Line,
    Method,
    Name,
    Number,
    Pack,
    Part,
    Positive,
    Processes,
    Sampler,
    Seeds,
    Shrink,
    Steps,
    Text,
    Until,
    Whole,
)


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

    SAMPLERS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "startup": ("tpe", "gp"),
        "batch": ("tpe", "gp", "cmaes"),
    }
    """The samplers of Optuna that an option is of, where not of all."""

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
        foreign = {o for o, those in self.SAMPLERS.items() if self.sampler not in those}
        values = {name: getattr(self, name) for name in names if name not in foreign}
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
        description="Steps between two recordings; a twentieth of the run, 16 at least, "
        "unless given.",
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


class Check(Section):
    """The coordinate check before the grid; ``required`` is short for ``{required: true}``."""

    required: Flag = Field(
        default=False, description="Refuse to run a study whose coordinate check fails."
    )
    variants: tuple[Name, ...] = Field(
        default=(), description="The variants that are checked; all unless given."
    )
    steps: Count = Field(default=10, description="Steps of each model.")
    seeds: Count = Field(default=5, description="Seeds of each size, at least 2.")

    @model_validator(mode="before")
    @classmethod
    def _word(cls, data: Any) -> Any:
        if isinstance(data, str) and data != "required":
            raise ValueError(f"{data!r} is not known; write `required`, or a mapping")
        return {"required": True} if data == "required" else data

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: Any) -> Any:
        return {"anyOf": [{"const": "required"}, handler(core)]}


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


class Resources(Section):
    """What one trial is given, as one number or as a table by the value of the scale.

    Names other than the fields are custom resources of a Ray cluster, such as ``H100``.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Custom] = Field(init=False)

    cpus: Cpus = Field(
        default=1.0, description="Processors a trial (fractions allowed), or a table by scale."
    )
    gpus: Gpus = Field(
        default=0.0,
        description="GPUs a trial (fractions allowed), or a table by scale; on several it trains "
        "data-parallel, in a process each.",
    )
    processes: Processes = Field(
        default=1,
        description="Processes that train a trial data-parallel on CPUs, or a table by scale.",
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

    def at(self, scale: float) -> dict[str, float]:
        """Returns what a trial is given at a value of the scale, by name; what it needs nothing
        of is left out."""
        given = {"cpus": self.cpus_at(scale), "gpus": self.gpus_at(scale)}
        if not given["gpus"] and (processes := self.processes_at(scale)) > 1:
            given["processes"] = processes
        return {k: v for k, v in (given | dict(self.custom_at(scale))).items() if v}

    @property
    def custom(self) -> dict[str, float | dict[float, float]]:
        """Custom resources by name, as written."""
        return dict(self.__pydantic_extra__)

    def custom_at(self, scale: float) -> tuple[tuple[str, float], ...]:
        """Returns (name, amount) of the custom resources of a trial at a value of the scale, by
        name; those of which it needs nothing are left out."""
        amounts = ((name, _at(table, scale)) for name, table in sorted(self.custom.items()))
        return tuple((name, amount) for name, amount in amounts if amount > 0)

    def processes_at(self, scale: float) -> int:
        """Returns the processes that train a trial at a value of the scale: one for every GPU,
        or without GPUs as many as are asked for."""
        return int(self.gpus_at(scale)) or int(_at(self.processes, scale))


class Claim(Section):
    """A rule to put to the test: the optimum moves by ``exponent`` octaves when the scale
    doubles, within ``tolerance``."""

    hyperparameter: Text = Field(description="A swept setting.")
    exponent: Number = Field(description="Octaves per doubling of the scale; 0 is no drift.")
    tolerance: Positive = Field(description="Largest deviation that still counts as the rule.")


class Sections(ProgramKeys):
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
    check: Check = Field(
        default=Check(), description="The coordinate check before the grid is spent."
    )
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
    """Returns the entry of the largest listed scale that does not exceed the given one; of a
    table that begins above it, which is refused, the first."""
    if not isinstance(amount, Mapping):
        return amount
    return amount[max((key for key in amount if key <= scale), default=min(amount))]
