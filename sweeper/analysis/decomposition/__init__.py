"""Why optima transfer: the change of the loss along the leading directions and along the rest, and
what single examples make of it."""
