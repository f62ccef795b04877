"""Pictures: what they are, as data, and their drawing in a terminal and as one HTML document.

Knows no finding: whoever has something to show makes `Section`s of the primitives in `pictures`.
`terminal` (which imports rich) and `document` draw whatever they are handed.
"""

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

__all__ = [
    "Bars",
    "Distribution",
    "Heads",
    "Heat",
    "Lens",
    "Lines",
    "Picture",
    "Section",
    "Tabs",
    "Tokens",
    "Value",
    "Values",
]
