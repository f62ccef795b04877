"""Findings as pictures in a terminal: `console.print(Picture(finding))`.

Imports rich: import it where something is to be shown. In colour where the terminal has at least
256 of them; in pipes and with NO_COLOR plain text with the numbers.
"""

from .pictures import Picture

__all__ = ["Picture"]
