"""What keeps a store in order: trials again, space back, faults found and mended."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.store.files import Renaming, curve_files
from sweeper.store.opened import OpenStore
from sweeper.store.records import Retried
from sweeper.store.studies import member_keys
from sweeper.store.upkeep import (
    Verification,
    Waste,
    excuse,
    find_waste,
    orphans,
    remove,
    retry_trials,
    verify_store,
)


class Upkeep(OpenStore):
    """The part of a store that people turn to when something went wrong."""

    def retry(
        self,
        study: str,
        *,
        failed: bool = False,
        diverged: bool = False,
        keys: Sequence[str] = (),
    ) -> Retried:
        """Makes trials of a study pending again, all that are asked for or none.

        The failures of a trial are excused. A result is withdrawn: its row and marks go, its
        attempt keeps the metrics and is not accepted any more, and its curve file is renamed,
        so that no worker takes the result over.

        Args:
            study: name of the study.
            failed: all its failed trials.
            diverged: all its diverged trials.
            keys: single trials, by at least six digits of their keys, whatever became of them.

        Raises:
            RequestError: a key names no trial or several, or a trial that is hidden or running,
                or the study was imported.
            UnknownNameError: there is no such study.
        """
        with Renaming() as renaming, self._database.write() as connection:
            return retry_trials(
                connection,
                self._database.now(connection),
                self.paths,
                renaming,
                study,
                failed=failed,
                diverged=diverged,
                keys=keys,
            )

    def excuse(self, keys: Sequence[str]) -> None:
        """Makes the ended attempts of trials without a result count no more, so that the trials
        wait to be run again."""
        with self._database.write() as connection:
            excuse(connection, keys)

    def prune(
        self,
        study: str | None = None,
        *,
        hidden: bool = False,
        withdrawn: bool = False,
        dry_run: bool = False,
    ) -> list[Waste]:
        """Removes files that nothing needs, and returns what they were.

        These are checkpoints of trials that have their result, all but the newest of the
        others, and files that dead writers left unfinished; never those of running trials.

        Args:
            study: only files of this study's trials; None looks through the whole store.
            hidden: remove the checkpoints of trials that no study declares any more, too.
            withdrawn: remove the curves of withdrawn results, too.
            dry_run: remove nothing.

        Raises:
            UnknownNameError: there is no such study.
        """
        with self._database.read() as connection:
            scope = None if study is None else member_keys(connection, study)
            found = find_waste(
                connection, self._database, scope, hidden=hidden, withdrawn=withdrawn
            )
        return found if dry_run else remove(self._database, found)

    def verify(self, study: str | None = None, *, repair: bool = False) -> Verification:
        """Checks database, curves and checkpoints against each other.

        Args:
            study: only this study's trials and their files; None checks everything.
            repair: mend what can be rebuilt: columns that are copies, marks of acceptance,
                results from their curve files, attempts that nobody runs; and remove damaged
                checkpoints and unfinished files.

        Raises:
            StoreError: the database is damaged, or something cannot be mended because of the
                disk.
            UnknownNameError: there is no such study.
        """
        return verify_store(self._database, study, repair=repair)

    def orphans(self) -> int:
        """Returns how many trials have a curve file on disk and no result in the database, be
        it that the database was lost. Running them takes those results over."""
        files = list(curve_files(self.paths))
        with self._database.read() as connection:
            return orphans(connection, files)
