"""Reports: figures and pages made from the store, at any time."""
