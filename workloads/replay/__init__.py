"""The ``replay`` workload: answers from a recorded table."""
