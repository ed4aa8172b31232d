"""`sweeper watch`: a study at work, seen from the store alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeper.cli.options import JsonOption, StoreOption, StudyName, name_of, open_store
from sweeper.cli.text import grid, print_json, safe_console
from sweeper.cli.wishes import controller_document, wish_document
from sweeper.words import duration, plural, power, quantity, setting, visible

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from sweeper.store import Activity, RunningTrial, Store

SHOWN = 12
"""Running trials that the table shows; the others are counted."""

SETTINGS = 3
"""Swept settings of a running trial that the table shows, beside the scale."""

IDLE_SHARE = 10
"""A refresh may take one in so many seconds: a large store is asked less often."""


def watch(
    study: StudyName,
    every: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks; longer on a large store.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once.")] = False,
    forever: Annotated[
        bool, typer.Option("--forever", help="Go on when nothing is left to wait for.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch a study at work, from any machine that sees the store; Ctrl-C ends it."""
    with suppress(KeyboardInterrupt):
        name = name_of(study, store)
        with open_store(store) as opened:
            looks = _looks(opened, name, every, once=once, forever=forever)
            if as_json:
                _print_documents(looks, once=once)
            elif sys.stdout.isatty() and not once:
                _draw(looks)
            elif once:
                for now in looks:
                    safe_console(highlight=False).print(render(now))
            else:
                _print_lines(looks)


def _looks(
    store: Store, name: str, every: float, *, once: bool, forever: bool
) -> Iterator[Activity]:
    """Yields what the study does, until nothing is left to wait for."""
    from sweeper.errors import StoreAway

    away = False
    while True:
        began = time.monotonic()
        try:
            now = store.activity(name)
        except StoreAway as fault:
            if once:
                raise
            if not away:
                print(f"waiting for the store: {visible(str(fault))}", file=sys.stderr)
            away = True
        else:
            away = False
            yield now
            if once or (now.over and not forever):
                return
        time.sleep(max(every, IDLE_SHARE * (time.monotonic() - began)))


def _print_documents(looks: Iterator[Activity], *, once: bool) -> None:
    import json

    for now in looks:
        if once:
            print_json(document(now))
        else:
            print(json.dumps(document(now), allow_nan=False), flush=True)


def _print_lines(looks: Iterator[Activity]) -> None:
    """Prints a line whenever something has changed, and who is at work and what is wanted
    whenever that does."""
    last: dict[str, None] = {}
    line = ""
    for now in looks:
        said = dict.fromkeys(_sentences(now))
        for each in said.keys() - last.keys():
            print(visible(each), flush=True)
        told = plain_line(now)
        if told != line:
            print(f"[{now.at:%H:%M:%S}] {visible(told)}", flush=True)
        last, line = said, told


def _draw(looks: Iterator[Activity]) -> None:
    from rich.live import Live

    console = safe_console(highlight=False)
    with Live(console=console, auto_refresh=False) as live:
        for now in looks:
            live.update(render(now), refresh=True)


def document(now: Activity) -> dict[str, Any]:
    """Returns what a study does as JSON."""
    account = asdict(now.account)
    return {
        "study": now.study.name,
        "at": now.at.isoformat(),
        **{name: account[name] for name in _COUNTS},
        "stopped": now.stopped,
        "paused": now.paused,
        "causes": account["causes"],
        "ceiling": account["ceiling"],
        "rate": None if now.rate is None else asdict(now.rate),
        "left_seconds": now.left_seconds,
        "over": now.over,
        "trials": [_trial_document(now, each) for each in now.running],
        "controllers": [controller_document(each) for each in now.controllers],
        "wishes": [wish_document(wish) for wish in now.wishes],
    }


_COUNTS = ("declared", "done", "diverged", "dominated", "running", "pending", "failed", "hidden")


def _trial_document(now: Activity, each: RunningTrial) -> dict[str, Any]:
    return {
        "key": each.key,
        "variants": list(each.variants),
        "scale": each.config.get(now.study.scale),
        "settings": {name: each.config.get(name) for name in _swept(now)},
        "seed": each.seed,
        "attempt": each.attempt,
        "step": None if each.stand is None else each.stand.step,
        "steps": each.steps,
        "loss": None if each.stand is None else each.stand.loss,
        "host": each.host,
        "pid": each.pid,
        "study": each.study,
        "started_at": each.started_at.isoformat(),
    }


def _swept(now: Activity) -> list[str]:
    """Names of the swept settings, without the scale and the seed."""
    sweep = now.study.document.get("sweep") or {}
    return [name for name in sweep if name not in (now.study.scale, "seed")]


def plain_line(now: Activity) -> str:
    """Returns what a study does as one line."""
    account = now.account
    finished = account.done + account.diverged + account.dominated
    parts = [
        f"{finished}/{account.declared} trials ({account.diverged} diverged)",
        *_counted(now),
        *_speed(now),
    ]
    return f"{now.study.name}: {', '.join(parts)}"


def _counted(now: Activity) -> list[str]:
    account = now.account
    some = {"dominated": account.dominated, "stopped": now.stopped, "paused": now.paused}
    return [
        f"{account.running} running",
        f"{account.pending} pending",
        f"{account.failed} failed",
        *(f"{count} {word}" for word, count in some.items() if count),
    ]


def _speed(now: Activity) -> list[str]:
    if now.rate is None or now.over:
        return []
    left = now.left_seconds
    speeds = [f"{now.rate.trials * 60:.3g} trials/min"]
    if now.rate.tokens:
        speeds.append(quantity(now.rate.tokens, "tokens/s"))
    speeds.append(quantity(now.rate.flops, "FLOP/s"))
    return [*speeds, *([] if left is None else [f"about {duration(left)} left"])]


def _sentences(now: Activity) -> list[str]:
    """Who is at work, and what is wanted of it."""
    said = []
    for each in now.controllers:
        who = f"process {each.pid} on {each.host}"
        if not each.alive:
            said.append(f"{who} runs it no more, and did not say that it ended")
            continue
        doing = {
            "running": "runs it",
            "waiting": "waits for what others run",
            "paused": "waits for what is paused",
        }[each.doing]
        at_slots = each.slots and each.doing == "running"
        slots = f" on {plural(each.slots, 'slot')}" if at_slots else ""
        said.append(f"{who} {doing}{slots} ({each.executor})")
    if not any(each.alive for each in now.controllers) and now.account.pending:
        said.append("nobody runs it now")
    said += [f"{wish.said}; {wish.lifted_by} lifts it" for wish in now.wishes]
    if now.account.ceiling:
        said.append(f"the budget of {now.account.ceiling} is spent")
    return said


def render(now: Activity) -> Group:
    """Returns what a study does as a bar, counts, the running trials and who is at work."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    account = now.account
    finished = account.done + account.diverged + account.dominated
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        Text(visible(now.study.name), style="bold"),
        ProgressBar(total=max(1, account.declared), completed=finished, width=30),
        Text(f"{finished}/{account.declared} trials", style="bold"),
        Text("nothing is left to wait for" if now.over else f"{now.at:%H:%M:%S} UTC"),
    )
    counts = Text("  ".join([f"{account.diverged} diverged", *_counted(now)]))
    parts: list[Any] = [bar, counts]
    if speed := _speed(now):
        parts.append(Text("  ".join(speed)))
    if now.running:
        parts.append(_trials(now))
    if len(now.running) > SHOWN:
        parts.append(Text(f"and {len(now.running) - SHOWN} more trials"))
    parts += [Text(visible(sentence), style="yellow") for sentence in _sentences(now)]
    return Group(*parts)


def _trials(now: Activity) -> Table:
    scale, names = now.study.scale, _swept(now)[:SETTINGS]
    rows = []
    for each in now.running[:SHOWN]:
        stand, steps = each.stand, "?" if each.steps is None else str(each.steps)
        settings = [(name, _setting(each.config.get(name))) for name in names]
        rows.append(
            [
                ("trial", each.key[:12]),
                ("variant", visible(", ".join(each.variants))),
                (visible(scale), setting(each.config.get(scale))),
                *settings,
                ("seed", str(each.seed)),
                ("step", f"{'–' if stand is None else stand.step}/{steps}"),
                ("loss", "–" if stand is None or stand.loss is None else f"{stand.loss:.4g}"),
                ("since", duration((now.at - each.started_at).total_seconds(), 0)),
                ("on", visible(f"{each.host} ({each.pid})")),
            ]
        )
    return grid(rows, words=("trial", "variant", "on"))


def _setting(value: object) -> str:
    return power(float(value)) if isinstance(value, float) else visible(setting(value))
