"""What a ladder is made of: a model of the losses at all scales, which runs it wants next, and
the search that proposes them.

It stands in a package, which no study can name: a method is a module beside ``base``. What is to
come before there is one is in docs/benchmarks.md, under Search.
"""
