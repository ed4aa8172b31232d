"""Runs that experiment trackers keep, as tables; one module a tracker."""

from .places import runs_at as runs_at
from .places import runs_in_table as runs_in_table
from .runs import sheet_of_runs as sheet_of_runs
