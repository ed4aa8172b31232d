"""Plain values that go into the store and come out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from shlex import quote
from typing import Any, Literal

from sweeper.outcome import OutcomeKind
from sweeper.trial import Trial

IMPORTED = "imported"
"""The workload of a study whose results were made elsewhere."""

DERIVED_COLUMNS = ("params", "tokens", "flops")
"""Columns of the table of trials that are planned amounts, or settings of these names."""

FIRST_COLUMNS = ("study", "variant", "key", "seed", "outcome", "loss")
LAST_COLUMNS = (
    *DERIVED_COLUMNS,
    *("device", "commit", "torch", "sweeper", "workload_version"),
    *("device_seconds", "wall_seconds", "attempts", "hidden"),
)
"""Columns of the table of trials before and after those of the settings."""

LOSS_ERROR = "loss_error"
"""The metric, and the column of the table of trials, that holds a loss's standard error."""

OPTIMUM_LOW, OPTIMUM_HIGH = "optimum_low", "optimum_high"
"""Those that hold the interval of an optimum that was imported as such."""

RUN_LENGTH = "run_length"
"""The column of the table of trials that says how far imported runs got: in tokens, or else in
steps, where their table has such a column."""

PROGRAM_FILES = "program_files"
"""The column of the table of trials that says which files a command's results are of, where they
are a command's."""

KNOWN_METRICS = (LOSS_ERROR, OPTIMUM_LOW, OPTIMUM_HIGH)
"""Metrics that are columns of the table of trials where any result has them."""

RESERVED_COLUMNS = frozenset(
    (*FIRST_COLUMNS, *LAST_COLUMNS, *KNOWN_METRICS, RUN_LENGTH, PROGRAM_FILES)
) - {*DERIVED_COLUMNS}
"""Columns of the table of trials that no setting can be named like."""


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """A study as the store keeps it.

    Attributes:
        name: the study's name, its identity in the store.
        question: what it asks.
        workload: name of the workload.
        scale: the axis along which optima are tracked.
        metric: the metric that is compared.
        goal: which end of the metric is better.
        document: the study file as a JSON document, enough to rebuild the study.
        created_at, updated_at: set by the store; ignored on the way in.
    """

    name: str
    question: str
    workload: str
    scale: str
    metric: str
    goal: Literal["min", "max"]
    document: Mapping[str, Any]
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Membership:
    """A trial's place in a study.

    Attributes:
        trial: the trial.
        variant: the variant that it belongs to.
        reason: why it is there: declared, or the word of the search that added it.
    """

    trial: Trial
    variant: str
    reason: str = "declared"


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What saving a study did to its members.

    Attributes:
        added: members that are new to the study.
        kept: members that were there and still are.
        hidden: members that are no longer declared; kept, and left out of answers.
        restored: members that had been hidden and are declared again.
    """

    added: int
    kept: int
    hidden: int
    restored: int


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to run one attempt.

    Attributes:
        key: key of the trial.
        attempt: number of the attempt, from 1 for each trial.
        fence: a number that grows with every claim in the store.
    """

    key: str
    attempt: int
    fence: int


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who runs a trial now.

    Attributes:
        host: name of the machine.
        pid: process of the controller there; None if it does not say.
        expires_at: when its lease lapses unless it is renewed; None if it does not.
    """

    host: str
    pid: int | None
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The attempt that tells how a trial ended: that of its result, or else the last one.

    Attributes:
        number: number of the attempt.
        state: how it ended.
        host: where.
        started_at, ended_at: when.
        step: optimizer steps done, where that is known.
        metrics: what was measured at the end, of a result.
        error: what it said, of a failure.
    """

    number: int
    state: str
    host: str
    started_at: datetime
    ended_at: datetime | None
    step: int | None
    metrics: Mapping[str, float]
    error: str | None


WishKind = Literal["stop", "pause"]
"""What is wanted of trials: ``stop`` has them not run, and nobody wait for them; ``pause`` has
whoever runs the study wait until they may go on."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody wants of a study at work, until it is lifted.

    Attributes:
        kind: ``stop`` or ``pause``.
        study: name of the study.
        variant: of this variant's trials alone; None for all of them.
        key: of this trial alone; None for all of them.
        made_at: when, by the clock of the database.
        made_by: user and machine.
    """

    kind: WishKind
    study: str
    variant: str | None
    key: str | None
    made_at: datetime
    made_by: str

    @property
    def whole(self) -> bool:
        """Whether it is about the study as a whole."""
        return self.variant is None and self.key is None

    @property
    def of(self) -> str:
        """What is held back, in words."""
        if self.key is not None:
            return f"trial {self.key[:12]} of study {self.study}"
        if self.variant is not None:
            return f"variant {self.variant} of study {self.study}"
        return f"study {self.study}"

    @property
    def said(self) -> str:
        """The wish as a sentence without its end: what is held back, how, by whom, since when."""
        done = {"stop": "stopped", "pause": "paused"}[self.kind]
        return f"{self.of} was {done} by {self.made_by} at {self.made_at:%Y-%m-%d %H:%M:%S} UTC"

    @property
    def lifted_by(self) -> str:
        """The command that lifts it."""
        key = "" if self.key is None else f" --key {self.key[:12]}"
        variant = "" if self.variant is None else f" --variant {quote(self.variant)}"
        return f"sweeper resume {quote(self.study)}{variant}{key}"


Doing = Literal["running", "waiting", "paused"]
"""What a controller does: it has trials in hand or to hand out; it waits for those of other
controllers; it waits for a pause to be lifted."""


@dataclass(frozen=True, kw_only=True)
class Stand:
    """How far a trial is that a controller runs, as the controller was told last.

    Attributes:
        step: optimizer steps done.
        loss: the study's metric where it was measured last; None before.
    """

    step: int
    loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class Controller:
    """A process that runs a study.

    Attributes:
        owner: unique to this run of the process; its attempts have the same.
        study: name of the study.
        host, pid: its process.
        executor: ``ray`` or ``inline``.
        doing: what it does.
        slots: workers that have worked for it.
        trials: how far the trials are that it runs, by key.
        left_seconds: how long the rest of the study will take it, in seconds; None if it does not
            know.
        started_at, seen_at: when it began, and when it last spoke.
        alive: whether it may still be at work.
    """

    owner: str
    study: str
    host: str
    pid: int | None
    executor: str
    doing: Doing
    slots: int
    trials: Mapping[str, Stand]
    left_seconds: float | None
    started_at: datetime
    seen_at: datetime
    alive: bool = True


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The failures of a trial whose last attempt failed.

    Attributes:
        kind: how the last attempt failed: ``bug`` or ``out_of_memory``.
        count: how many of its attempts failed like that, either way.
        error: what the last one said.
    """

    kind: OutcomeKind
    count: int
    error: str

    @property
    def final(self) -> bool:
        """Whether a plain run leaves the trial alone: a shortage of memory is met twice."""
        return self.kind != "out_of_memory" or self.count > 1


@dataclass(frozen=True, kw_only=True)
class AttemptRecord:
    """An attempt at a trial.

    Attributes:
        key: key of the trial.
        number: of the attempt.
        state: ``running``, or how it ended.
        host: name of the machine that had claimed it.
        step: steps done; None while it runs.
        error: why it failed.
    """

    key: str
    number: int
    state: str
    host: str
    step: int | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Failed trials of a study that failed the same way.

    Attributes:
        cause: the kind of failure and the last line of the error.
        count: number of trials.
        example: key of one of them.
    """

    cause: str
    count: int
    example: str


@dataclass(frozen=True, kw_only=True)
class Account:
    """The trials of a study, each counted once, by where they stand.

    Attributes:
        declared: always done + diverged + dominated + running + pending + failed.
        done: trials with a completed result.
        diverged: trials with the result that they diverged.
        dominated: trials that were stopped before their end, because others dominated them.
        running: trials without a result that a live process works on.
        pending: trials that are still to be run, or run again.
        failed: trials whose last attempt failed in the model or the code.
        hidden: trials that the study file no longer declares; not part of ``declared``.
        causes: the failed ones by cause, the commonest first.
        ceiling: the limit of FLOPs or trials in the study's budget that leaves no room for any of
            the pending ones, in words; None if none does. Hours are those of a run.
    """

    declared: int
    done: int
    diverged: int
    running: int
    pending: int
    failed: int
    hidden: int
    causes: Sequence[Cause] = ()
    dominated: int = 0
    ceiling: str | None = None


@dataclass(frozen=True, kw_only=True)
class Retried:
    """What was made pending again, as keys in the order of the study.

    Attributes:
        failed: trials that had failed.
        withdrawn: trials whose result was withdrawn.
        pending: trials asked for by key that were pending already.
    """

    failed: tuple[str, ...]
    withdrawn: tuple[str, ...]
    pending: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How long training of one shape takes on one device.

    Attributes:
        workload, workload_version: what was trained.
        shape: the settings that decide its speed.
        device: name of the processor or accelerator.
        threads: processor threads.
        pack: trials side by side.
        startup_seconds: from the start of an attempt to its first step.
        step_seconds: one optimizer step of the whole pack.
        steps: number of steps that were timed.
        measured_at: set by the store; ignored on the way in.
    """

    workload: str
    workload_version: str
    shape: Mapping[str, Any]
    device: str
    threads: int
    pack: int
    startup_seconds: float
    step_seconds: float
    steps: int
    measured_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One number that an analysis found, with its interval.

    Attributes:
        kind: ``optimum``, ``drift``, ``claim`` or ``regret``.
        variant: the variant.
        settings: other swept settings at which it holds.
        scale: value of the scale; None where it is about all of them.
        value, low, high: the estimate and its interval, in the hyperparameter's unit (optimum),
            octaves per doubling (drift, claim) or the metric's unit (regret); None: unknown.
        text: the statement in words.
    """

    kind: Literal["optimum", "drift", "claim", "regret"]
    variant: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    scale: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    text: str = ""


@dataclass(frozen=True)
class Table:
    """The answer to a query: names of the columns, and rows of plain values."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
