"""What a search asks of its study: the checks of the section ``search``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sweeper.errors import shown
from sweeper.study.sections import Sections
from sweeper.study.settings import NUMERIC, SEED
from sweeper.study.source import Complaint, Place
from sweeper.study.space import Space

MOST_TUNED = 2
"""Hyperparameters that a ladder or a telescope tunes at a time."""


def search_complaints(
    study: Sections, spaces: Mapping[str, Space], *, right: bool
) -> Iterator[Complaint]:
    """Yields what is wrong with the search of a study.

    Args:
        study: the study.
        spaces: what each variant tries.
        right: whether its axes and claims are without a fault; if not, they are not held against
            the search.
    """
    search = study.search
    options = search.OPTIONS.get(search.method, ())
    for name in sorted(search.model_fields_set - {"method", *options}):
        users = [method for method, names in search.OPTIONS.items() if name in names]
        yield Complaint(
            ("search", name),
            f"{name} has no effect on method {search.method}: it is an option of "
            f"{', '.join(users)}; remove it",
        )
    if right and (check := _CHECKS.get(search.method)) is not None:
        yield from check(study, spaces)


def tuned_by(study: Sections, space: Space) -> tuple[str, ...]:
    """Returns the hyperparameters that a search tunes in a variant, the claimed ones first: those
    swept over several positive numbers, of more than two the claimed ones alone."""
    numbers = [
        name
        for name, values in space.axes.items()
        if name not in (study.scale, SEED.name)
        and len(values) > 1
        and space.settings[name].kind in NUMERIC
        and all(value is not None and value > 0 for value in values)
    ]
    claimed = {claim.hyperparameter for claim in study.claims}
    if len(numbers) > MOST_TUNED:
        numbers = [name for name in numbers if name in claimed]
    return tuple(sorted(numbers, key=lambda name: name not in claimed))


def _grid(study: Sections, spaces: Mapping[str, Space]) -> Iterator[Complaint]:
    search = study.search
    if search.seeds == "auto":
        if not study.claims:
            yield Complaint(
                ("search", "seeds"),
                "seeds: auto adds seeds where the verdict on a claim needs them, and the study "
                "claims nothing; add claims, or remove it",
            )
        if all(len(space.seeds) < 2 for space in spaces.values()):
            yield Complaint(
                ("search", "seeds"),
                "seeds: auto has no seeds to add; sweep several, as in seed: [0, 1, 2]",
            )
    for name in ("expand_edges", "refine"):
        if getattr(search, name) is not None:
            yield from _needs_tuned(study, spaces, name, at_most=None)


def _ladder(study: Sections, spaces: Mapping[str, Space]) -> Iterator[Complaint]:
    yield from _needs_scales(study, spaces)
    yield from _needs_tuned(study, spaces, "method", at_most=MOST_TUNED)
    if study.search.until == "verdict" and not study.claims:
        yield Complaint(
            ("search", "until"),
            "until: verdict needs a claim to decide, and the study has none; add claims, or "
            "write until: optimum",
        )


def _telescope(study: Sections, spaces: Mapping[str, Space]) -> Iterator[Complaint]:
    yield from _needs_scales(study, spaces)
    yield from _needs_tuned(study, spaces, "method", at_most=MOST_TUNED)


def _needs_scales(study: Sections, spaces: Mapping[str, Space]) -> Iterator[Complaint]:
    for variant, space in spaces.items():
        if len(space.axes.get(study.scale, ())) == 1:
            place: Place = ("sweep", study.scale)
            if study.scale in study.variants[variant].sweep:
                place = ("variants", variant, "sweep", study.scale)
            yield Complaint(
                place,
                f"method {study.search.method} goes from small to large scales, and {study.scale} "
                "has one value; add larger ones, or use method grid",
            )
            return


def _needs_tuned(
    study: Sections, spaces: Mapping[str, Space], option: str, at_most: int | None
) -> Iterator[Complaint]:
    what = study.search.method if option == "method" else option
    for variant, space in spaces.items():
        where = "" if len(spaces) == 1 else f" in variant {variant}"
        tuned = tuned_by(study, space)
        if not tuned:
            many = "sweep one or two over several positive numbers"
            yield Complaint(
                ("search", option),
                f"{what} has nothing to tune{where}; {many}"
                + (", or claim which" if len(space.axes) > MOST_TUNED + 1 else ""),
            )
        elif at_most is not None and len(tuned) > at_most:
            yield Complaint(
                ("search", option),
                f"{what} tunes {at_most} hyperparameters at most{where}, and here there are "
                f"{', '.join(map(shown, tuned))}; make variants of one, or claim which are meant",
            )


def _optuna(study: Sections, spaces: Mapping[str, Space]) -> Iterator[Complaint]:
    sampler = study.search.sampler
    for option, samplers in study.search.SAMPLERS.items():
        if option in study.search.model_fields_set and sampler not in samplers:
            yield Complaint(
                ("search", option),
                f"{option} has no effect on sampler {sampler}: it is an option of "
                f"{', '.join(samplers)}; remove it",
            )
    for variant, space in spaces.items():
        where = "" if len(spaces) == 1 else f" in variant {variant}"
        swept = [name for name in space.axes if name not in (study.scale, SEED.name)]
        swept = [name for name in swept if len(space.axes[name]) > 1 and name in space.applied]
        words = [
            name
            for name in swept
            if space.settings[name].kind not in NUMERIC or None in space.axes[name]
        ]
        if not swept:
            yield Complaint(
                ("search", "method"),
                f"optuna has nothing to tune{where}; sweep a setting over several values",
            )
        elif sampler == "cmaes" and words:
            yield Complaint(
                ("search", "sampler"),
                f"sampler cmaes tunes numbers alone, and {', '.join(words)}{where} has other "
                "values; make variants of these, or use tpe or gp",
            )


_CHECKS = {"grid": _grid, "ladder": _ladder, "optuna": _optuna, "telescope": _telescope}
"""What each method asks of a study."""
