"""Reports: figures, tables and the page that holds them."""

from .figures.check import check_figure as check_figure
from .page import write_report as write_report
