"""Pictures in a terminal: `console.print(Drawing(sections))`.

Imports rich: import it where something is to be shown. In colour where the terminal has at least
256 of them; in pipes and with NO_COLOR plain text with the numbers.
"""

from .sections import Drawing

__all__ = ["Drawing"]
