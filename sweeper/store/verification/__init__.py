"""Whether database, curves and checkpoints agree, and what of it can be mended."""
