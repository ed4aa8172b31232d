"""`sweeper stop`, `pause` and `resume`: one handle on a study, from any machine that sees the
store."""

from __future__ import annotations

import getpass
import os
import socket
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeper.cli.options import JsonOption, StoreOption, StudyName, name_of
from sweeper.cli.text import console, print_json
from sweeper.words import duration, listed, plural

if TYPE_CHECKING:
    from sweeper.store import Activity, Controller, Wish, WishKind

VariantsOption = Annotated[
    list[str] | None,
    typer.Option("--variant", metavar="VARIANT", help="Its trials alone; repeatable."),
]
KeysOption = Annotated[
    list[str] | None,
    typer.Option(
        "--key", metavar="KEY", help="One trial, by 6 or more digits of its key; repeatable."
    ),
]


def stop(
    study: StudyName,
    variant: VariantsOption = None,
    key: KeysOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a study, a variant or a trial, with checkpoints, until it is resumed.

    What runs writes a checkpoint and ends, what waits is not started. Controllers of a study that
    is stopped as a whole end with exit code 3.
    """
    _want("stop", study, variant or [], key or [], store, as_json=as_json)


def pause(
    study: StudyName,
    variant: VariantsOption = None,
    key: KeysOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pause a study, a variant or a trial: what runs it waits until it is resumed.

    What runs writes a checkpoint and is put back, what waits is not started; slots of Ray are
    given back meanwhile.
    """
    _want("pause", study, variant or [], key or [], store, as_json=as_json)


def resume(
    study: StudyName,
    variant: VariantsOption = None,
    key: KeysOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lift what was stopped or paused: all of a study, or a variant or trial of it."""
    from sweeper.store import Store

    name = name_of(study, store)
    with Store.open(store, create=False) as opened:
        lifted = opened.lift_wishes(name, variants=variant or [], keys=key or [])
        now = opened.activity(name)
    if as_json:
        print_json(_document(now) | {"lifted": [wish_document(wish) for wish in lifted]})
        return
    out = console()
    for wish in lifted:
        out.print(f"lifted: {wish.said}")
    if not lifted:
        what = "nothing of it that was named" if variant or key else "nothing"
        out.print(f"{name}: {what} was stopped or paused")
    for wish in now.wishes:
        out.print(f"still: {wish.said}; {wish.lifted_by} lifts it")
    waiting = now.account.pending - now.stopped - now.paused
    if waiting > 0 and not _at_work(now):
        pending = plural(waiting, "trial waits", "trials wait")
        out.print(f"{pending}, and nobody runs the study: sweeper run with its file goes on")


def _want(
    kind: WishKind,
    study: str,
    variants: list[str],
    keys: list[str],
    store: str | None,
    *,
    as_json: bool,
) -> None:
    from sweeper.store import Store

    name = name_of(study, store)
    with Store.open(store, create=False) as opened:
        before = opened.wishes_of(name)
        wishes = opened.make_wish(name, kind, variants=variants, keys=keys, by=_user())
        now, held = opened.activity(name), opened.held_places(name)
    made = [wish for wish in wishes if wish not in before]
    if as_json:
        print_json(_document(now) | {"made": [wish_document(wish) for wish in made]})
        return
    _say(kind, made, now, {key for (_, key), wish in held.items() if wish in made})


def _say(kind: WishKind, made: list[Wish], now: Activity, held: set[str]) -> None:
    """Says what was made, given the keys of the trials that it holds back."""
    from sweeper.engine import LOOK_SECONDS

    out, done = console(), {"stop": "stopped", "pause": "paused"}[kind]
    running = [each for each in now.running if each.key in held]
    ours = [each for each in running if each.study in (None, now.study.name)]
    for wish in made:
        out.print(f"{wish.of} is {done}; {wish.lifted_by} lifts it")
    if ours:
        out.print(f"{plural(len(ours), 'trial')} in hand will write checkpoints and end")
    for other in sorted({each.study for each in running if each.study} - {now.study.name}):
        shared = [each for each in running if each.study == other]
        which = plural(len(shared), "trial")
        out.print(f"{which} of it that study {other} has too and runs now: goes on there")
    if waiting := len(held) - len(running):
        out.print(f"{plural(waiting, 'trial waits', 'trials wait')} and will not be started")
    for wish in now.wishes:
        if wish not in made:
            out.print(f"besides: {wish.said}")
    at_work = _at_work(now)
    if not at_work:
        out.print("nobody runs the study now; who tries to is told")
        return
    whole = any(wish.whole for wish in made)
    follows = {"stop": "ends with exit code 3", "pause": "waits"}[kind] if whole else "heeds it"
    who = listed([f"process {each.pid} on {each.host}" for each in at_work])
    out.print(f"{who} {follows} within {duration(LOOK_SECONDS, 0)}")


def _at_work(now: Activity) -> list[Controller]:
    return [each for each in now.controllers if each.alive]


def _user() -> str:
    """Who asks, as user and machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in many containers
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _document(now: Activity) -> dict[str, Any]:
    return {
        "study": now.study.name,
        "wishes": [wish_document(wish) for wish in now.wishes],
        "stopped": now.stopped,
        "paused": now.paused,
        "running": len(now.running),
        "controllers": [controller_document(each) for each in now.controllers],
    }


def wish_document(wish: Wish) -> dict[str, Any]:
    """Returns a wish as JSON."""
    return {
        "wish": wish.kind,
        "variant": wish.variant,
        "key": wish.key,
        "made_at": wish.made_at.isoformat(),
        "made_by": wish.made_by,
    }


def controller_document(each: Controller) -> dict[str, Any]:
    """Returns a controller as JSON, without its trials."""
    return {
        "host": each.host,
        "pid": each.pid,
        "executor": each.executor,
        "doing": each.doing,
        "slots": each.slots,
        "started_at": each.started_at.isoformat(),
        "seen_at": each.seen_at.isoformat(),
        "alive": each.alive,
    }
