"""The figures of a report: the only importers of matplotlib."""

from .album import Album as Album
from .album import Picture as Picture
from .training import best_trials as best_trials
from .training import training_table as training_table
