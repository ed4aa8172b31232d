"""A store of finished studies, made once, and fresh ones."""

from finished_studies import finished, store

__all__ = ["finished", "store"]
