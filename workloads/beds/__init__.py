"""Beds: workloads of which theory says how fast their optimum moves as they grow."""
