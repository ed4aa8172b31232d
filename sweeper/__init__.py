"""sweeper: how the best hyperparameters move as a model grows, with error bars."""

__version__ = "0.1.0"
