"""Data: text as tokens, batches common to all trials of a seed."""
