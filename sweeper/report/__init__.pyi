"""Reports: figures, tables and the page that holds them."""

from .figures.check import check_figure as check_figure
from .figures.directions import directions_figure as directions_figure
from .figures.directions import directions_table as directions_table
from .folder import Folder as Folder
from .folder import slug as slug
from .page import write_report as write_report
