"""Keys and values of many texts in blocks, shared where texts begin alike."""

from .packed import BlockStore, Packed
from .pool import BlockPool

__all__ = ["BlockPool", "BlockStore", "Packed"]
