"""Diagnostics of models: whether activations move alike at every width."""
