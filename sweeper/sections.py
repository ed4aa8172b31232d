"""The small sections of a study: search, objective, budget, resources and claims."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sweeper.axes import Axis, number, parse_axis

_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def slug(raw: Any) -> str:
    """Returns a name: letters, digits, - _ and . only.

    Raises:
        ValueError: it is no such name.
    """
    value = text(raw)
    if not _SLUG.match(value) or len(value) > 100:
        raise ValueError(
            f"{value!r} is not a name; use letters, digits, '-', '_' and '.', "
            "starting with a letter or digit, at most 100 in all"
        )
    return value


def text(raw: Any) -> str:
    """Returns text that is not blank.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(raw, str):
        raise ValueError(f"{raw!r} is not text (quote it if it is meant to be)")
    if not raw.strip():
        raise ValueError("the text is empty")
    return raw


def _positive(raw: Any) -> float:
    value = float(number(raw))
    if value <= 0:
        raise ValueError(f"{raw!r} is not above 0; give a positive number")
    return value


def _count(raw: Any) -> int:
    value = number(raw)
    if value != int(value) or value < 1:
        raise ValueError(f"{raw!r} is not a whole number of at least 1")
    return int(value)


def _pack(raw: Any) -> int | str:
    try:
        return "auto" if raw == "auto" else _count(raw)
    except ValueError:
        raise ValueError(f"{raw!r}: allowed are auto and whole numbers of at least 1") from None


def _one_of(*choices: str, more: str = "") -> BeforeValidator:
    def check(raw: Any) -> Any:
        if raw not in choices:
            raise ValueError(f"{raw!r} is not available; known: {', '.join(choices)}{more}")
        return raw

    return BeforeValidator(check)


def _amount(raw: Any, *, zero: bool) -> float | dict[float, float]:
    if isinstance(raw, Mapping):
        if not raw:
            raise ValueError("the table is empty; give {scale value: number} or one number")
        table = {float(number(key)): _share(value, zero=zero) for key, value in raw.items()}
        if len(table) < len(raw):
            raise ValueError("two keys of the table are the same number; remove one")
        return dict(sorted(table.items()))
    if isinstance(raw, Sequence) and not isinstance(raw, str):
        raise ValueError(f"{raw!r} is a list; give a number, or a table {{scale value: number}}")
    return _share(raw, zero=zero)


def _share(raw: Any, *, zero: bool) -> float:
    value = float(number(raw))
    if value < 0 or (value == 0 and not zero):
        raise ValueError(f"{raw!r} is too small; allowed: {'0 or more' if zero else 'above 0'}")
    if value > 1 and value != int(value):
        raise ValueError(f"{raw!r} is not allowed: above 1 only whole numbers are")
    return value


def _cpus(raw: Any) -> float | dict[float, float]:
    return _amount(raw, zero=False)


def _gpus(raw: Any) -> float | dict[float, float]:
    return _amount(raw, zero=True)


Name = Annotated[str, BeforeValidator(slug)]
Text = Annotated[str, BeforeValidator(text)]
Number = Annotated[float, BeforeValidator(lambda raw: float(number(raw)))]
Positive = Annotated[float, BeforeValidator(_positive)]
Count = Annotated[int, BeforeValidator(_count)]
AxisField = Annotated[Axis, BeforeValidator(parse_axis)]


class Section(BaseModel):
    """A frozen part of a study that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(Section):
    """A named bundle of settings; ``sweep`` adds axes or overrides those of the study."""

    model_config = ConfigDict(frozen=True, extra="allow")

    sweep: dict[str, AxisField] = Field(default={}, description="Axes of this variant alone.")

    @property
    def settings(self) -> dict[str, Any]:
        """The variant's constant settings, as written."""
        return dict(self.model_extra or {})


class Search(Section):
    """Who proposes the trials."""

    method: Annotated[
        Literal["grid"], _one_of("grid", more=" (other methods are not available yet)")
    ] = Field(default="grid", description="grid runs every combination of the axes.")


class Objective(Section):
    """What is compared between trials."""

    metric: Text = Field(default="val_loss", description="A metric of the workload.")
    goal: Annotated[Literal["min", "max"], _one_of("min", "max")] = Field(
        default="min", description="min or max."
    )


class Budget(Section):
    """Ceilings; None is no ceiling."""

    flops: Positive | None = Field(default=None, description="Training FLOPs in total.")
    trials: Count | None = Field(default=None, description="Number of trials.")
    hours: Positive | None = Field(default=None, description="Wall-clock hours of a run.")


class Resources(Section):
    """What one trial is given, as one number or as a table by the value of the scale."""

    cpus: Annotated[float | dict[float, float], BeforeValidator(_cpus)] = Field(
        default=1.0, description="Processors a trial (fractions allowed), or a table by scale."
    )
    gpus: Annotated[float | dict[float, float], BeforeValidator(_gpus)] = Field(
        default=0.0, description="GPUs a trial (fractions allowed), or a table by scale."
    )
    pack: Annotated[int | Literal["auto"], BeforeValidator(_pack)] = Field(
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


def _at(amount: float | Mapping[float, float], scale: float) -> float:
    """Returns the entry of the largest listed scale that does not exceed the given one."""
    if not isinstance(amount, Mapping):
        return amount
    return amount[max(key for key in amount if key <= scale)]
