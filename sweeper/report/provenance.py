"""The evidence behind a study's answers: how many trials, of what code, on what machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sweeper.answers import StudyView
from sweeper.outcome import ACCEPTED
from sweeper.store import IMPORTED, Account, Store
from sweeper.words import duration, plural

CODE_DIGITS = 12
"""Digits of a commit or fingerprint that are shown."""

_SOURCES = f"""
with here as (
    select study_trials.study, results.host, trials.workload_version as version,
        case when trials.workload = '{IMPORTED}' then '' else trials.data end as data
    from study_trials
    join trials on trials.key = study_trials.trial_key
    join results on results.trial_key = trials.key
    where study_trials.hidden = false
)
select study, host, version, data, count(*) from here group by study, host, version, data
"""
"""The data of an imported trial tell its results apart, not what it was trained on."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line of evidence.

    Attributes:
        name: what it is about.
        text: what there is to say.
        warning: what the reader should be wary of; empty if nothing.
    """

    name: str
    text: str
    warning: str = ""


def evidence_of(store: Store, view: StudyView) -> list[Fact]:
    """Returns the evidence of a study.

    Raises:
        StoreError: the store cannot be read.
    """
    account = store.account(view.study.name)
    trials = view.trials.drop_duplicates("key")
    results = trials[trials["outcome"].isin(ACCEPTED)]
    rows = store.query(_SOURCES).rows
    mine = [row[1:] for row in rows if row[0] == view.study.name]
    hosts, versions, data = (_counted((row[i], row[3]) for row in mine) for i in range(3))
    workload = view.study.workload
    return [
        Fact(name="trials", text=_account_words(account), warning=_causes(account)),
        Fact(name="seeds", text=_seeds(view)),
        _sources("devices", _column(results, "device"), "losses of different devices differ"),
        Fact(name="hosts", text=_listing(hosts)),
        _sources("commits", _column(results, "commit"), "trials of different code are compared"),
        _sources("torch", _column(results, "torch"), "trials of different code are compared"),
        _sources(f"version of {workload}", versions, "trials of different code are compared"),
        _sources("data", data, "trials on different data are compared"),
        Fact(name="device time", text=_device_time(results)),
        *_origin(view),
    ]


def _origin(view: StudyView) -> list[Fact]:
    """The file that the last import read, if the study is an imported one."""
    origin = view.study.document.get("imported")
    if origin is None:
        return []
    where = f", rows with {' and '.join(origin['where'])}" if origin["where"] else ""
    digest = origin["sha256"][:CODE_DIGITS]
    return [Fact(name="imported from", text=f"{origin['source']} (SHA-256 {digest}){where}")]


def _account_words(account: Account) -> str:
    kinds = ("done", "diverged", "dominated", "running", "pending", "failed")
    counts = [f"{getattr(account, kind)} {kind}" for kind in kinds if getattr(account, kind)]
    hidden = f"; {account.hidden} no longer declared and left out" if account.hidden else ""
    return f"{plural(account.declared, 'trial')} declared: {', '.join(counts)}{hidden}"


def _causes(account: Account) -> str:
    return "; ".join(f"{cause.count} failed: {cause.cause}" for cause in account.causes)


def _seeds(view: StudyView) -> str:
    trials = view.trials
    place = ["variant", view.study.scale, *view.swept]
    answered = trials["outcome"].isin(ACCEPTED).groupby([trials[p] for p in place], dropna=False)
    counts = answered.sum()
    counts = counts[counts > 0]
    if counts.empty:
        return "no point has a result"
    low, high = int(counts.min()), int(counts.max())
    many = plural(high, "seed") if low == high else f"{low} to {high} seeds"
    return f"{many} at each of the {plural(len(counts), 'point')} that have a result"


def _column(results: pd.DataFrame, name: str) -> Counter[str]:
    return _counted((value, 1) for value in results[name].dropna())


def _counted(pairs: Iterable[tuple[Any, int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for value, count in pairs:
        if value != "":  # nobody recorded it
            counts[str(value)] += int(count)
    return counts


def _sources(name: str, counts: Counter[str], fear: str) -> Fact:
    warning = f"{len(counts)} are mixed: {fear}" if len(counts) > 1 else ""
    return Fact(name=name, text=_listing(counts), warning=warning)


def _listing(counts: Counter[str]) -> str:
    if not counts:
        return "not recorded"
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({plural(count, 'trial')})" for value, count in counts.items())


def _device_time(results: pd.DataFrame) -> str:
    seconds = results["device_seconds"].sum()
    if results["device_seconds"].isna().all():
        return "not recorded"
    return f"{duration(float(seconds), digits=0)} for {plural(len(results), 'trial')}"
