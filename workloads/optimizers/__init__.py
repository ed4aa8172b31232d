"""Optimizers with a leading ensemble axis; one algorithm a module."""
