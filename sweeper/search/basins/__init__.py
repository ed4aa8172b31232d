"""What a ladder is made of: a model of the losses at all scales, which runs it wants next, and
the search that proposes them.

It stands in a package, which no study can name, until the analysis reads scales with two runs: so
far ``sweeper drift`` refuses an optimum of fewer than three, and what a ladder saves would be lost
again. A module ``sweeper/search/ladder.py`` with ``make`` is then all that it takes.
"""
