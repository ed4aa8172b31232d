"""The figures of a report: the only importers of matplotlib."""

from .pictures import ANSWER as ANSWER
from .pictures import DETAILS as DETAILS
from .pictures import Picture as Picture
from .pictures import draw_pictures as draw_pictures
