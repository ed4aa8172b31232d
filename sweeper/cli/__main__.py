"""``python -m sweeper.cli``: the same as the ``sweeper`` program."""

from sweeper.cli import main

main()
