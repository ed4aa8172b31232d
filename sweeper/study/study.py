"""A study: one YAML file as frozen models, checked against the card of its workload.

A study that exists is right: every way to make one (:func:`load_study`, ``Study(...)``,
``Study.model_validate``, :meth:`Study.from_document`) raises one StudyError with all the faults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from pydantic import (
    BaseModel,
    ModelWrapValidatorHandler,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails

from sweeper.errors import RequestError, StudyError, UnknownNameError, shown, suggestion
from sweeper.study.axes import Axis, ListAxis
from sweeper.study.checks import problems_at, review
from sweeper.study.program import ProgramKeys
from sweeper.study.sections import Sections
from sweeper.study.settings import SEED, canonical_value, given_settings
from sweeper.study.source import Complaint, Place, Source, StudyTables, condensed, read_source
from sweeper.study.space import Space
from sweeper.study.values import Name
from sweeper.trial import canonical_json
from workloads.workload import Card, Problem, Record

_WITH_DEFAULTS = (
    *("search", "objective", "budget", "stop", "resources"),
    *("record", "check", "decompose"),
)
"""Sections that a study may leave out."""

_ALWAYS_STATED = _WITH_DEFAULTS[1:-3]
"""Of those, the ones that a document states in full; the others say what is set."""

_MAPPING = "is not a mapping; write `key: value` lines below it"
_WORDS = {
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "tuple_type": "is not a list; write `- ` items below it",
    "too_short": "is empty; give at least one entry, or remove it",
}


class Study(Sections):
    """A question, the trials that answer it, and the claims to put to the test.

    The sections hold what was written; :meth:`cells`, :meth:`axes` and :attr:`document` give
    canonical values.
    """

    _card: Card = PrivateAttr()
    _spaces: dict[str, Space] = PrivateAttr()
    _file: Path | None = PrivateAttr(default=None)
    _kept: dict[tuple[str, int], str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _whole(
        cls, data: Any, handler: ModelWrapValidatorHandler[Study], info: ValidationInfo
    ) -> Study:
        source = info.context if isinstance(info.context, Source) else Source("study", data)
        if isinstance(data, Mapping):
            data = {key: value for key, value in data.items() if value is not None}
        try:
            study, faulty = handler(data), False
            complaints, broken = [], frozenset[str]()
        except ValidationError as error:
            complaints, faulty = _form_complaints(error, cls), True
            rest, broken = _readable_rest(data, error)
            try:
                study = handler(rest)
            except ValidationError:
                raise _error(source, complaints) from None
        found = review(study, broken, source.tables)
        complaints += found.complaints
        if faulty or complaints or source.faults:
            raise _error(source, complaints)
        assert found.card is not None
        study._card, study._spaces = found.card, found.spaces
        return study

    @property
    def card(self) -> Card:
        """The card of the workload."""
        return self._card

    @property
    def file(self) -> Path | None:
        """The file that it was read from; None of one that was made otherwise."""
        return self._file

    def keep(self, data: Mapping[tuple[str, int], str]) -> None:
        """Has trials count as trained on other data than is there now, by config (as canonical
        JSON) and seed; it changes what :meth:`kept` answers, and that the document says so."""
        self._kept |= data

    def kept(self, config: Mapping[str, Any], seed: int) -> str | None:
        """Returns the data that a trial counts as trained on, where that was said; else None."""
        return self._kept.get((canonical_json(config), seed)) if self._kept else None

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Swept settings other than the scale and the seed, in the order of the file."""
        names = dict.fromkeys(name for variant in self.variants for name in self.axes(variant))
        return tuple(name for name in names if name not in (self.scale, SEED.name))

    @property
    def recording(self) -> Record | None:
        """What trainers record on the way; None is nothing."""
        each = self.record
        if not each.quantities:
            return None
        return Record(quantities=each.quantities, every=each.every, steps=each.steps)

    @property
    def num_cells(self) -> int:
        """The number of cells: points times seeds, over all variants."""
        return sum(space.num_points * len(space.seeds) for space in self._spaces.values())

    def axes(self, variant: str) -> dict[str, tuple[Any, ...]]:
        """Returns the axes of a variant, the seed among them, with their canonical values; those
        that have no meaning in the variant are left out.

        Raises:
            UnknownNameError: the study has no such variant.
        """
        space = self.space(variant)
        return {name: values for name, values in space.axes.items() if name in space.applied}

    def space(self, variant: str) -> Space:
        """Returns what a variant tries.

        Raises:
            UnknownNameError: the study has no such variant.
        """
        if variant not in self._spaces:
            raise UnknownNameError("variant", variant, tuple(self._spaces))
        return self._spaces[variant]

    def problems(self, point: Mapping[str, Any]) -> list[Problem]:
        """Returns why a point cannot be run: what the workload refuses about it, or about it on
        as many devices as it is given; empty if it can.

        Args:
            point: its settings, the scale among them.
        """
        return problems_at(self._card, self, point)

    def cells(self) -> Iterator[tuple[str, dict[str, Any], int]]:
        """Yields (variant, settings, seed) of every distinct cell, seeds fastest.

        The settings are those that were given and that apply, in canonical values; the card's
        ``resolve`` fills in the defaults.
        """
        for variant, space in self._spaces.items():
            for point in space.points():
                for seed in space.seeds:
                    yield variant, dict(point), seed

    @property
    def document(self) -> dict[str, Any]:
        """The study as plain JSON data in canonical values, as the store keeps it."""
        return {
            **{key: getattr(self, key) for key in ("name", "question", "workload", "scale")},
            **self.program,
            **({"changed": "keep"} if self._kept else {}),
            "fixed": self._constants(self.fixed),
            "variants": {
                name: {
                    **self._constants(variant.settings),
                    **({"sweep": self._axes_document(variant.sweep)} if variant.sweep else {}),
                }
                for name, variant in self.variants.items()
            },
            "sweep": self._axes_document(self.sweep),
            "search": self.search.document,
            **{key: getattr(self, key).model_dump(mode="json") for key in _ALWAYS_STATED},
            **{
                key: said
                for key in ("record", "check", "decompose")
                if (said := self._set_of(key))
            },
            "claims": [claim.model_dump(mode="json") for claim in self.claims],
        }

    @classmethod
    def from_document(
        cls,
        document: Mapping[str, Any],
        *,
        file: str | None = None,
        tables: StudyTables | None = None,
    ) -> Study:
        """Returns a study from plain data, for example from :attr:`document`.

        Args:
            document: the sections of a study.
            file: what faults call it; by default ``study NAME``.
            tables: finds results that it replays, as of :func:`recorded_tables`; None finds none.

        Raises:
            StudyError: the document has faults.
        """
        name = file or f"study {document.get('name', '')}".strip()
        source = Source(name, document, tables=tables)
        return cls.model_validate(source.data, context=source)

    def _set_of(self, key: str) -> dict[str, Any]:
        """What a section sets, as plain data."""
        section: BaseModel = getattr(self, key)
        return section.model_dump(mode="json", exclude_defaults=True)

    def _constants(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        settings = next(iter(self._spaces.values())).settings
        return {
            name: canonical_value(settings[name], value)
            for name, _, value in given_settings(raw, settings)
        }

    def _axes_document(self, axes: Mapping[str, Axis]) -> dict[str, Any]:
        settings = next(iter(self._spaces.values())).settings
        return {
            name: [canonical_value(settings[name], value) for value in axis.items]
            if isinstance(axis, ListAxis)
            else axis.document()
            for name, axis in axes.items()
        }


def load_study(
    path: str | Path,
    *,
    search: str | None = None,
    changed: str | None = None,
    tables: StudyTables | None = None,
) -> Study:
    """Returns the study of a YAML file.

    Args:
        path: the file.
        search: the method that proposes trials in place of the file's; options of the file stay
            where the method is its own. None leaves the file as it is.
        changed: what becomes of results of files that have changed, in place of the file's word.
        tables: finds results that it replays, as of :func:`recorded_tables`; None finds none.

    Raises:
        StudyError: with all faults of the file, each with its line and key.
    """
    source = replace(read_source(path), tables=tables)
    data = _with_method(source.data, search)
    if changed is not None and isinstance(data, Mapping):
        data = {**data, "changed": changed}
    study = Study.model_validate(data, context=source)
    study._file = Path(path)
    return study


def study_name(path: str | Path) -> str:
    """Returns the name of the study in a YAML file; looks at nothing else in it, and so runs no
    workload.

    Raises:
        StudyError: the file cannot be read, or has no name of a study.
    """
    source = read_source(path)
    try:
        return TypeAdapter(Name).validate_python(source.data.get("name", ""))
    except ValidationError as error:
        why = str(error.errors()[0]["ctx"]["error"])
        raise _error(source, [Complaint(("name",), why)]) from None


def require_name(name: str) -> None:
    """Raises RequestError if a study cannot be called so."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise RequestError(str(error.errors()[0]["ctx"]["error"])) from None


def _with_method(data: Any, method: str | None) -> Any:
    """Returns the data of a study with another method of search."""
    if method is None or not isinstance(data, Mapping):
        return data
    given = data.get("search")
    same = isinstance(given, Mapping) and given.get("method", "grid") == method
    return data if same else {**data, "search": {"method": method}}


def _error(source: Source, complaints: list[Complaint]) -> StudyError:
    faults = [source.fault(complaint) for complaint in condensed(complaints)]
    return StudyError(list(dict.fromkeys((*source.faults, *faults))))


def _form_complaints(error: ValidationError, model: type[BaseModel]) -> list[Complaint]:
    """Returns a complaint for every error that pydantic found in a study."""
    return [Complaint(_place(item), _message(item, model)) for item in error.errors()]


def _readable_rest(data: Any, error: ValidationError) -> tuple[Any, frozenset[str]]:
    """Returns a study without what pydantic refused, and the names of settings lost by that, so
    that the rest can be checked all the same."""
    rest, lost = data, set()
    for item in error.errors():
        place = _place(item)
        match place:
            case ():
                return data, frozenset()
            case ("sweep", name, *_) | ("variants", _, "sweep", name, *_):
                lost.add(str(name))
                rest = _edited(rest, place[: place.index(name) + 1])
            case ("claims", _, "exponent" | "tolerance"):
                rest = _edited(rest, place, 1.0)
            case _ if item["type"] == "extra_forbidden" or place[0] in _WITH_DEFAULTS:
                rest = _edited(rest, place)
            case _ if _decides(place):
                rest = _edited(rest, ("workload",))  # nothing can be said about its settings
            case _:
                rest = _edited(rest, place[:1])
    return ({"name": "unnamed", **rest} if isinstance(rest, Mapping) else rest), frozenset(lost)


def _decides(place: Place) -> bool:
    """Whether what stands at a place decides which settings there are."""
    return place[0] in ("fixed", "variants", "sweep") or place[0] in ProgramKeys.model_fields


def _edited(data: Any, place: Place, value: Any = None) -> Any:
    """Returns a copy with another value at a place, or with nothing there for None."""
    if not isinstance(data, Mapping | list):
        return data
    head, *tail = place
    copy: dict[Any, Any] = dict(enumerate(data)) if isinstance(data, list) else dict(data)
    if tail and head in copy:
        copy[head] = _edited(copy[head], tuple(tail), value)
    elif not tail and value is not None:
        copy[head] = value
    elif not tail:
        copy.pop(head, None)
    return list(copy.values()) if isinstance(data, list) else copy


def _place(item: ErrorDetails) -> Place:
    return tuple(step for step in item["loc"] if step != "[key]")


def _message(item: ErrorDetails, model: type[BaseModel]) -> str:
    place, kind = _place(item), item["type"]
    if not place:
        return f"{shown(item['input'])} {_MAPPING}"
    owner = _owner(model, place[:-1])
    if kind == "extra_forbidden":
        return (
            f"unknown key {shown(place[-1])}; "
            f"{suggestion(str(place[-1]), tuple(owner.model_fields))}"
        )
    if kind == "missing":
        field = owner.model_fields[str(place[-1])]
        return f"is missing; add it: {field.description}"
    if kind == "value_error":
        return str(item["ctx"]["error"])
    return f"{shown(item['input'])} {_WORDS[kind]}" if kind in _WORDS else item["msg"]


def _owner(model: type[BaseModel], place: Place) -> type[BaseModel]:
    for step in place:
        if isinstance(step, str) and step in model.model_fields:
            annotation = model.model_fields[step].annotation
            for candidate in (annotation, *get_args(annotation)):
                if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                    model = candidate
    return model
