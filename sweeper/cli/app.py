"""The program: its commands, each declared where its work is done."""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import io
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import sweeper
from sweeper.cli.check import check
from sweeper.cli.compare import compare
from sweeper.cli.decompose import decompose
from sweeper.cli.doctor import doctor
from sweeper.cli.drift import drift
from sweeper.cli.event_log import log_event, speaks_json
from sweeper.cli.explain import explain
from sweeper.cli.fit import fit, predict
from sweeper.cli.import_results import import_results
from sweeper.cli.logs import logs
from sweeper.cli.plan import init, plan, schema
from sweeper.cli.rules import rules
from sweeper.cli.run import run
from sweeper.cli.status import export, report, sql, status
from sweeper.cli.storage import backup, delete, merge, rename
from sweeper.cli.submit import jobs, submit
from sweeper.cli.transfer import advise, transfer
from sweeper.cli.upkeep import move_store, prune, retry, verify
from sweeper.cli.watch import watch
from sweeper.cli.wishes import pause, resume, stop
from sweeper.errors import HANGING, EnvironmentFault, SweeperError
from sweeper.secrets import has_password, redacted
from sweeper.words import visible

GARBAGE = 500_000
"""Objects made before Python looks for cycles; its default of 700 (2,000 since 3.13) looks through
everything again and again while a large study is read, a tenth of the time of its answer. What an
answer loads and makes are some 120,000."""

HIDDEN = "SWEEPER_ARGUMENTS"
"""Variable with the arguments of a program that was started again to hide them."""


class _Discreet(TyperGroup):
    """The commands; what is wrong with a command line is told without the passwords in it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as fault:
            if isinstance(said := getattr(fault, "message", None), str):
                with contextlib.suppress(AttributeError):  # not all let theirs be changed
                    fault.message = redacted(said)  # type: ignore[attr-defined]
            raise


app = typer.Typer(
    name="sweeper",
    cls=_Discreet,
    help="Finds how the best hyperparameters move as a model grows, and says how sure it is.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the boxes of rich take longer to load than all else of the help
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"sweeper {sweeper.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


COMMANDS: tuple[Callable[..., None], ...] = (
    *(run, plan, rules, check, status, drift, report, sql, init, schema, import_results, export),
    *(explain, compare, transfer, decompose, advise, fit, predict, retry, prune, verify),
    *(merge, rename, delete, backup),
    *(move_store, doctor, watch, logs, stop, pause, resume, submit, jobs),
)
"""In the order of the help."""

for _command in COMMANDS:
    _name = {import_results: "import", move_store: "move-store"}.get(_command)
    # Given as such, a summary is printed whole rather than cut at the width of a terminal.
    _short = (_command.__doc__ or "").partition("\n\n")[0]
    # A statement may begin with "--", which begins a comment.
    _settings = {"ignore_unknown_options": True} if _command is sql else {}
    app.command(_name, short_help=_short, context_settings=_settings)(_command)


def main() -> None:
    """Entry point of the ``sweeper`` program."""
    _hide_passwords()
    gc.set_threshold(GARBAGE)
    # At its end Python would look through everything once more, for as long as a small answer.
    atexit.register(gc.freeze)
    before = {*threading.enumerate()}
    try:
        _call()
    except SystemExit as end:
        if any(thread.name == HANGING for thread in {*threading.enumerate()} - before):
            # A library that hangs may end the process in its own way, with its own code.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else 0)
        raise


def _hide_passwords() -> None:
    """Starts the program again, with its command line in the environment, where that holds a URL
    with a password: every user of a machine can read the command lines of all processes, and Ray
    shows that of a run in its dashboard."""
    hidden = os.environ.pop(HIDDEN, None)
    if hidden is not None:
        sys.argv[1:] = json.loads(hidden)
        return
    words = sys.argv[1:]
    ours = words == sys.orig_argv[len(sys.orig_argv) - len(words) :]
    if ours and os.name == "posix" and any(map(has_password, words)):
        line = [redacted(word, {}) for word in sys.orig_argv]
        sys.stdout.flush()
        os.execve(sys.executable, line, {**os.environ, HIDDEN: json.dumps(words)})


def _call() -> None:
    _prepare_streams()
    notes = logging.StreamHandler(sys.stderr)
    notes.addFilter(_redact)
    notes.setFormatter(logging.Formatter("note: %(message)s"))
    log = logging.getLogger("sweeper")
    log.setLevel(logging.INFO)
    log.addHandler(notes)
    try:
        _answer()
    except SweeperError as fault:
        _say_fault(fault)
        raise SystemExit(fault.exit_code) from None
    finally:
        log.removeHandler(notes)


def _say_fault(fault: SweeperError) -> None:
    if speaks_json():
        said = {"text": redacted(str(fault)), "exit_code": fault.exit_code}
        log_event("error", level=logging.ERROR, **said)
    else:
        print(f"sweeper: {visible(redacted(str(fault)))}", file=sys.stderr)


def _redact(record: logging.LogRecord) -> bool:
    record.msg, record.args = redacted(record.getMessage()), ()
    return True


def _answer() -> None:
    """Runs the command and sees its answer off.

    Raises:
        EnvironmentFault: the disk that the answer goes to is full.
        SystemExit: at the end of every command; with 0 if the reader of a pipe (head, less) has
            gone, to whom nothing is left to say.
    """
    try:
        try:
            app(prog_name="sweeper")  # also of `python -m`, for a shell completes that word
        except SystemExit as end:
            # What runs the command makes an exit of 1 out of a pipe without a reader.
            if isinstance(end.__context__, BrokenPipeError):
                raise end.__context__ from None
            raise
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _close_output()
        raise SystemExit(0) from None
    except OSError as fault:
        if fault.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        _close_output()
        raise EnvironmentFault(f"the answer cannot be written: {fault.strerror}") from fault


def _close_output() -> None:
    """Sends what is still to be written nowhere, so that Python does not complain at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _prepare_streams() -> None:
    """Makes sure that an answer can be said: what an ASCII terminal or locale cannot show is
    written out as an escape, and where a stream is closed its words go nowhere."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
