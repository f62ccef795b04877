"""How fast, beside others: engines in turns, in fresh processes, and how fast the memory was"""

from .contenders import Contender, find
from .report import markdown, write
from .rounds import Results, measure

__all__ = ["Contender", "Results", "find", "markdown", "measure", "write"]
