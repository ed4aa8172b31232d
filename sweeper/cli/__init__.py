"""The command line: parses, calls, prints. Every command is a thin skin over the library.

Exit codes: 0 all that was asked is done; 1 done, with failed trials, or a broken claim under
``--strict``; 2 the request was wrong; 3 interrupted, resumable; 4 the environment failed.
"""

from __future__ import annotations

import gc
import sys

from sweeper.cli.app import app
from sweeper.errors import SweeperError

GARBAGE = 100_000
"""Objects made before Python looks for cycles; its default of 700 (2,000 since 3.13) looks through
everything again and again while a large study is read, a tenth of the time of its answer."""


def main() -> None:
    """Entry point of the ``sweeper`` program."""
    gc.set_threshold(GARBAGE)
    try:
        app()
    except SweeperError as fault:
        print(f"sweeper: {fault}", file=sys.stderr)
        raise SystemExit(fault.exit_code) from None
    except BrokenPipeError:
        # The reader of a pipe (head, less) has gone: nothing is left to say.
        sys.stderr.close()
        raise SystemExit(0) from None
