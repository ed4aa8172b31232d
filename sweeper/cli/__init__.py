"""The command line: parses, calls, prints. Every command is a thin skin over the library.

Exit codes: 0 all that was asked is done; 1 done, with failed trials, or a broken claim under
``--strict``; 2 the request was wrong; 3 interrupted, resumable; 4 the environment failed.
"""

from sweeper.cli.app import main as main
