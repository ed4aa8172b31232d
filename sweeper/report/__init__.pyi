"""Reports: figures, tables and the page that holds them."""

from .page import write_report as write_report
