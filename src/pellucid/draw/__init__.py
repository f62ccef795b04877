"""Pictures: what they are, as data, and their drawing in a terminal and as one HTML document.

Knows no finding: whoever has something to show makes `Section`s of the primitives in `pictures`.
`terminal` (which imports rich) and `document` draw whatever they are handed.
"""

from .compare import Compare
from .pictures import (
    Bars,
    Distribution,
    Heads,
    Heat,
    Lens,
    Lines,
    Picture,
    Section,
    Tabs,
    Tokens,
    Value,
    Values,
)
from .slides import Formula, Matrix, Table

__all__ = [
    "Bars",
    "Compare",
    "Distribution",
    "Formula",
    "Heads",
    "Heat",
    "Lens",
    "Lines",
    "Matrix",
    "Picture",
    "Section",
    "Table",
    "Tabs",
    "Tokens",
    "Value",
    "Values",
]
