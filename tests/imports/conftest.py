"""Results made elsewhere are imported into stores of every back end."""

from store_places import location, store

__all__ = ["location", "store"]
