"""Kinds of settings that several optimizers have."""

from __future__ import annotations

from workloads.workload import Condition, Setting

When = Condition | tuple[Condition, ...]


def share(name: str, default: float, when: When, doc: str) -> Setting:
    """Returns a setting from 0 to below 1, such as the decay of a mean."""
    return Setting(name=name, kind="float", default=default, low=0.0, when=when, doc=doc)


def epsilon(name: str, default: float, when: When, doc: str) -> Setting:
    """Returns a positive setting in which members of a pack may differ."""
    return Setting(
        name=name,
        kind="float",
        default=default,
        low=0.0,
        low_open=True,
        when=when,
        packable=True,
        doc=doc,
    )
