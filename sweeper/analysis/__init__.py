"""Analysis: pure functions of data frames; knows nothing of studies, stores or Ray."""
