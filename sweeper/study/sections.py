"""The sections of a study as frozen models: each is right by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sweeper.study.values import (
    AxisField,
    Count,
    Cpus,
    Goal,
    Gpus,
    Line,
    Method,
    Name,
    Number,
    Pack,
    Positive,
    Text,
)


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
    """Who proposes the trials."""

    method: Method = Field(default="grid", description="grid runs every combination of the axes.")


class Objective(Section):
    """What is compared between trials."""

    metric: Text = Field(default="val_loss", description="A metric of the workload.")
    goal: Goal = Field(default="min", description="min or max.")


class Budget(Section):
    """Ceilings; None is no ceiling."""

    flops: Positive | None = Field(default=None, description="Training FLOPs in total.")
    trials: Count | None = Field(default=None, description="Number of trials.")
    hours: Positive | None = Field(default=None, description="Wall-clock hours of a run.")


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
    resources: Resources = Field(default=Resources(), description="What one trial is given.")
    claims: tuple[Claim, ...] = Field(default=(), description="Rules to put to the test.")


def _at(amount: float | Mapping[float, float], scale: float) -> float:
    """Returns the entry of the largest listed scale that does not exceed the given one."""
    if not isinstance(amount, Mapping):
        return amount
    return amount[max(key for key in amount if key <= scale)]
