"""The store's tests run on every back end."""

from store_places import location, store

__all__ = ["location", "store"]
