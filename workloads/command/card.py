"""Card of the ``command`` workload: a trial is a process, started as the study itself states.

The settings, the metrics and what a trial costs are the study's, too: so the card that a study has
is made from what it states (:meth:`CommandCard.programmed`), and the one that is registered knows
of a trial only what its config holds, which is enough for a worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from workloads.command.files import changes, digests, fingerprint, summary
from workloads.command.formulas import Costs
from workloads.command.placeholders import whole
from workloads.command.program import Program
from workloads.command.settings import TAKEN
from workloads.programs import Objection
from workloads.settings import completed, missing
from workloads.workload import Card, Config, Problem, Resolved, Setting

if TYPE_CHECKING:
    from workloads.workload import TrainerFactory


@dataclass(frozen=True, kw_only=True)
class CommandCard:
    """Card of the ``command`` workload.

    Attributes:
        settings: all settings but ``seed``, as the study has them.
        metrics: what is measured, as far as it is known before.
        program: what is run; None where no study has said.
        costs: what a trial costs.
        content: fingerprint of the files.
        counted: names of all files whose content decides results.
        kept: of each file some digits, by which a change is named later.
        warnings: what the author of the study may not have meant.
    """

    settings: tuple[Setting, ...] = ()
    metrics: Mapping[str, str] = field(default_factory=dict)
    program: Program | None = None
    costs: Costs | None = None
    content: str = "none"
    counted: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    name: str = "command"
    version: str = "1.0.0"
    doc: str = (
        "Runs a command of the study's own as a process a trial, and reads what it measures."
    )

    @property
    def program_files(self) -> tuple[str, ...]:
        """All files whose content decides results, relative to the working folder."""
        return self.counted

    @property
    def taken(self) -> frozenset[str]:
        """Names that settings may not have, since they mean something else."""
        return TAKEN

    def programmed(
        self, stated: Config, *, metric: str, scale: str, values: Mapping[str, Sequence[Any]]
    ) -> Card | list[Objection]:
        """Returns the card of what a study states, or what is wrong with that; runs nothing."""
        from workloads.command.statement import Statement

        said = Statement(stated, metric=metric, scale=scale, values=values)
        if said.objections:
            return said.objections
        assert said.program is not None
        return replace(
            self,
            settings=said.settings,
            metrics=said.metrics,
            program=said.program,
            costs=said.costs,
            content=fingerprint_of(said.program, said.digests),
            counted=tuple(said.digests),
            kept=summary_of(said.program, said.digests),
            warnings=tuple(said.warnings),
        )

    def changes(self, before: Config, now: Config) -> list[str]:
        """Returns how the files of two trials differ, given what was derived of each."""
        return changes(before.get("files", {}), now.get("files", {}))

    def problems(self, config: Config) -> list[Problem]:
        """Returns what is missing, or that a formula of the costs has no value."""
        if absent := missing(self.settings, config):
            return [Problem(keys=(name,), message=f"{name} is required") for name in absent]
        try:
            self._costs(completed(self.settings, config))
        except ValueError as fault:
            return [Problem(keys=("cost",), message=str(fault))]
        return []

    def resolve(self, config: Config) -> Resolved:
        """Returns the completed config with the program, and what follows.

        Raises:
            ValueError: the config has a problem.
        """
        assert self.program is not None, "the card of a study is resolved"
        full = completed(self.settings, config)
        found = self._costs(full)
        assumed = [] if self.costs is None else self.costs.assumed
        rate = 1.0 if "steps" in assumed else found["tokens"] / found["steps"]
        program = replace(self.program, tokens=rate)
        return Resolved(
            config={name: whole(value) for name, value in full.items()}
            | {"program": program.keyed},
            derived={
                **found,
                "assumed": assumed,
                "files": dict(self.kept),
                "warnings": list(self.warnings),
                "beside": {"program": program.text},
            },
        )

    def data_fingerprint(self, config: Config) -> str:
        """Returns the fingerprint of the files as they were when the study was read; on a worker,
        as they are now.

        Raises:
            DataUnavailableError: one of them is missing or cannot be read.
        """
        if self.program is not None:
            return self.content
        program = Program.of(config["program"])
        return fingerprint_of(program, {} if program.version else _digests(program))

    def pack_size(self, config: Config, device: str) -> int:
        """Returns 1: a process is one trial."""
        return 1

    def parallel_problems(self, config: Config, processes: int) -> list[Problem]:
        """Returns nothing: how the command uses its devices is its own affair."""
        return []

    def parallel_trainer(self, processes: int) -> TrainerFactory:
        """Returns the factory of the trainer of a command that has so many devices."""
        from workloads.command.trainer import CommandTrainer

        return partial(CommandTrainer, processes=processes)

    def trainer(self) -> TrainerFactory:
        """Returns the factory of the trainer; torch is not imported."""
        from workloads.command.trainer import CommandTrainer

        return CommandTrainer

    def _costs(self, full: Config) -> dict[str, float]:
        assert self.costs is not None, "the card of a study is asked"
        return self.costs.of(full)


def _digests(program: Program) -> dict[str, str]:
    entries = [*program.files, *([program.template] if program.template else [])]
    return digests(entries, program.root)


def fingerprint_of(program: Program, found: Mapping[str, str]) -> str:
    """Returns what counts for the content of a program's files, given their digests."""
    return f"version:{program.version}" if program.version else fingerprint(found)


def summary_of(program: Program, found: Mapping[str, str]) -> dict[str, str]:
    """Returns what is kept with a trial to name a change by."""
    if program.version:
        return {"version": program.version}
    return summary(found, [*program.files, *([program.template] if program.template else [])])


COMMAND = CommandCard()
"""The registered card."""
