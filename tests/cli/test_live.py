"""The live view: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from sweeper.cli.live import LiveView, plain_line, render
from sweeper.engine.progress import Best, View
from sweeper.words import duration, power, quantity

VIEW = View(
    total=40,
    done=9,
    diverged=1,
    running=2,
    failed=1,
    elapsed=75.0,
    worked=60.0,
    rate=0.2,
    flops_rate=2.5e9,
    left=190.0,
    best={
        ("mup", 32.0): Best(objective=2.31, setting={"learning_rate": 2**-4}, trials=6),
        ("sp", 64.0): Best(objective=2.17, setting={"learning_rate": 0.01}, trials=4),
    },
    slots=("a", "b"),
    notes=("checkpoint skipped",),
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_plain_line_counts_everything() -> None:
    assert plain_line(VIEW) == (
        "[75 s] 10/40 trials (1 diverged), 2 running, 1 failed, 2.5 GFLOP/s on 2 slots, "
        "about 3 min left"
    )


def test_the_table_shows_the_best_setting_per_variant_and_scale() -> None:
    out = io.StringIO()
    Console(file=out, width=110).print(render(VIEW, "width"))
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert "mup 32 6 2.3100 learning_rate 2^-4" in lines
    assert "sp 64 4 2.1700 learning_rate 2^-6.64" in lines
    assert "checkpoint skipped" in lines
    assert any("10/40 trials" in line for line in lines)
    assert any("2 running" in line and "1 failed" in line for line in lines)


def test_a_log_file_gets_lines_and_each_warning_once() -> None:
    out = io.StringIO()
    with LiveView(lambda: VIEW, stream=out, scale="width"):
        pass
    lines = out.getvalue().splitlines()
    assert lines == ["warning: checkpoint skipped", plain_line(VIEW)]


def test_a_terminal_gets_the_table_and_keeps_its_last_state() -> None:
    out = Terminal()
    with LiveView(lambda: VIEW, stream=out, scale="width"):
        pass
    assert "10/40 trials" in out.getvalue()
    assert "best so far" in out.getvalue()


def test_numbers_are_told_in_a_readers_words() -> None:
    assert [duration(s) for s in (0.4, 42, 600, 90_000)] == ["0.4 s", "42 s", "10 min", "25.0 h"]
    assert [quantity(n) for n in (12, 1250, 3.2e15)] == ["12", "1.25 k", "3.2 P"]
    assert [power(v) for v in (0.125, 0.1, 0.0)] == ["2^-3", "2^-3.32", "0"]
