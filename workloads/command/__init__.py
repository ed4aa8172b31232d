"""The ``command`` workload: trials that are processes, started as a study says."""
