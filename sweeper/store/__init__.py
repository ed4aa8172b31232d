"""The store: one database of trials and results, and the files beside it."""
