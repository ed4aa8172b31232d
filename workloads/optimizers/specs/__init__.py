"""What each optimizer is, free of torch: every module here adds its ``SPECS``."""
