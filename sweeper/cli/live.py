"""Shows a run while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeper.cli.text import safe_console
from sweeper.engine import View
from sweeper.words import duration, plural, power, quantity, visible

REFRESH_SECONDS = 0.5
PLAIN_SECONDS = 10.0
"""Seconds between plain lines; a log file of a night's run stays readable."""


class LiveView:
    """Context that shows a run until it is left.

    Args:
        view: returns a snapshot of the run.
        stream: where to; standard error keeps standard output free for answers.
        scale: name of the scale, a column heading.
    """

    def __init__(self, view: Callable[[], View], *, stream: TextIO, scale: str) -> None:
        self._view = view
        self._stream = stream
        self._scale = scale
        self._end = threading.Event()
        target = self._draw if stream.isatty() else self._print
        self._thread = threading.Thread(target=target, name="live-view", daemon=True)

    def __enter__(self) -> LiveView:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self._thread.join()

    def _draw(self) -> None:
        console = safe_console(file=self._stream)
        with Live(console=console, auto_refresh=False, transient=False) as live:
            while not self._end.wait(REFRESH_SECONDS):
                live.update(render(self._view(), self._scale), refresh=True)
            live.update(render(self._view(), self._scale), refresh=True)

    def _print(self) -> None:
        last, told = "", 0
        spoke = 0.0
        while True:
            ended = self._end.wait(REFRESH_SECONDS)
            view = self._view()
            for note in view.notes[told:]:
                print(f"warning: {visible(note)}", file=self._stream, flush=True)
            told = len(view.notes)
            if ended or time.monotonic() - spoke >= PLAIN_SECONDS:
                line = plain_line(view)
                if line != last:
                    print(line, file=self._stream, flush=True)
                last, spoke = line, time.monotonic()
            if ended:
                return


def plain_line(view: View) -> str:
    """Returns a run as one line."""
    finished = view.done + view.diverged + view.dominated
    stopped = f", {view.dominated} dominated" if view.dominated else ""
    left = "" if view.left is None else f", about {duration(view.left)} left"
    return (
        f"[{duration(view.elapsed)}] {finished}/{view.total} trials"
        f" ({view.diverged} diverged{stopped}), {view.running} running, {view.failed} failed,"
        f" {quantity(view.flops_rate, 'FLOP/s')} on {plural(len(view.slots), 'slot')}{left}"
    )


def render(view: View, scale: str) -> Group:
    """Returns a run as a bar and a table of the best trial per variant and scale."""
    finished = view.done + view.diverged + view.dominated
    left = "starting" if view.left is None else f"about {duration(view.left)} left"
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        ProgressBar(total=max(1, view.total), completed=finished, width=30),
        Text(f"{finished}/{view.total} trials", style="bold"),
        Text(left, style="bold"),
    )
    counts = Text("  ").join(
        [
            Text(f"{view.running} running", style="cyan"),
            Text(f"{view.diverged} diverged", style="yellow" if view.diverged else "dim"),
            *([Text(f"{view.dominated} dominated")] if view.dominated else []),
            Text(f"{view.failed} failed", style="red" if view.failed else "dim"),
            Text(f"{view.rate * 60:.3g} trials/min"),
            Text(f"{quantity(view.flops_rate, 'FLOP/s')}"),
        ]
    )
    notes = Text(visible("\n".join(view.notes[-3:])), style="yellow")
    return Group(bar, counts, _best_table(view, scale), notes)


def _best_table(view: View, scale: str) -> Table:
    table = Table(title="best so far", title_justify="left", box=None, padding=(0, 2))
    for heading in ("variant", scale, "trials", "best", "at"):
        table.add_column(heading, justify="left" if heading in ("variant", "at") else "right")
    for (variant, size), best in view.best.items():
        at = ", ".join(f"{name} {power(value)}" for name, value in best.setting.items())
        table.add_row(variant, f"{size:g}", str(best.trials), f"{best.objective:.4f}", at)
    return table
