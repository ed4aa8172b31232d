"""A study: one YAML file as frozen models, checked against the card of its workload.

A study that exists is right: every way to make one (:func:`load_study`, ``Study(...)``,
``Study.model_validate``, :meth:`Study.from_document`) raises one StudyError with all the faults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from sweeper.errors import StudyError, UnknownNameError
from sweeper.study.axes import Axis, ListAxis
from sweeper.study.checks import review
from sweeper.study.nested import given_settings
from sweeper.study.sections import Sections
from sweeper.study.settings import SEED, canonical_value
from sweeper.study.shape import readable_rest, shape_complaints
from sweeper.study.source import Complaint, Source, condensed, read_source
from sweeper.study.space import Space
from workloads.workload import Card


class Study(Sections):
    """A question, the trials that answer it, and the claims to put to the test.

    The sections hold what was written; :meth:`cells`, :meth:`axes` and :attr:`document` give
    canonical values.
    """

    _card: Card = PrivateAttr()
    _spaces: dict[str, Space] = PrivateAttr()

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
            complaints, faulty = shape_complaints(error, cls), True
            rest, broken = readable_rest(data, error)
            try:
                study = handler(rest)
            except ValidationError:
                raise _error(source, complaints) from None
        found = review(study, broken)
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
    def hyperparameters(self) -> tuple[str, ...]:
        """Swept settings other than the scale and the seed, in the order of the file."""
        names = dict.fromkeys(name for variant in self.variants for name in self.axes(variant))
        return tuple(name for name in names if name not in (self.scale, SEED.name))

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
        if variant not in self._spaces:
            raise UnknownNameError("variant", variant, tuple(self._spaces))
        space = self._spaces[variant]
        return {name: values for name, values in space.axes.items() if name in space.applied}

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
        sections = ("search", "objective", "budget", "resources")
        return {
            **{key: getattr(self, key) for key in ("name", "question", "workload", "scale")},
            "fixed": self._constants(self.fixed),
            "variants": {
                name: {
                    **self._constants(variant.settings),
                    **({"sweep": self._axes_document(variant.sweep)} if variant.sweep else {}),
                }
                for name, variant in self.variants.items()
            },
            "sweep": self._axes_document(self.sweep),
            **{key: getattr(self, key).model_dump(mode="json") for key in sections},
            "claims": [claim.model_dump(mode="json") for claim in self.claims],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any], *, file: str | None = None) -> Study:
        """Returns a study from plain data, for example from :attr:`document`.

        Args:
            document: the sections of a study.
            file: what faults call it; by default ``study NAME``.

        Raises:
            StudyError: the document has faults.
        """
        source = Source(file or f"study {document.get('name', '')}".strip(), document)
        return cls.model_validate(source.data, context=source)

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


def load_study(path: str | Path) -> Study:
    """Returns the study of a YAML file.

    Raises:
        StudyError: with all faults of the file, each with its line and key.
    """
    source = read_source(path)
    return Study.model_validate(source.data, context=source)


def _error(source: Source, complaints: list[Complaint]) -> StudyError:
    faults = [source.fault(complaint) for complaint in condensed(complaints)]
    return StudyError(list(dict.fromkeys((*source.faults, *faults))))
