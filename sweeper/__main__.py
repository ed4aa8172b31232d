"""``python -m sweeper``: the same as the ``sweeper`` program."""

from sweeper.cli import main

main()
