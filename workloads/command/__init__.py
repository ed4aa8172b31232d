"""The workload ``command``: trials that are processes, of a program that nobody rewrites."""
