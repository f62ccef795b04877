"""How it learned: the moments of a training, looked at one beside the other.

course     what there is of a training: its losses, and the weights at some of its steps
packed     the same of an embedded model, in two files
looks      one text through the weights of one moment
finding    all moments as one answer: `learned`
page       the same as data for a page with a slider, and as one HTML file
live       that page for a run in progress, on this machine alone
"""

from .course import Course, Curve, open_course
from .finding import Learned, learned
from .packed import pack
from .page import data_of, learned_page, page_data

__all__ = [
    "Course",
    "Curve",
    "Learned",
    "data_of",
    "learned",
    "learned_page",
    "open_course",
    "pack",
    "page_data",
]
