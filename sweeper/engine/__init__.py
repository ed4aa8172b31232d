"""Engine: executes trials, in process or through Ray Tune."""
