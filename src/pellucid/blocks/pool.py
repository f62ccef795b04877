"""Which block of tokens is whose: counted, shared between texts that begin alike, and forgotten,
the longest unused first, when room is needed. Numbers only; the arrays are `BlockStore`'s.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Hashable, Sequence

__all__ = ["BlockPool"]

# What precedes a block: another block's serial number, or for a text's first block its salt.
_Key = tuple[Hashable, tuple[int, ...]]


class BlockPool:
    """n_blocks blocks of block_size tokens each.

    A block is free (holds nothing), in use (by one text or several), or remembered: no text uses
    it, and it still holds the keys and values of known tokens after known tokens.
    """

    def __init__(self, n_blocks: int, block_size: int) -> None:
        self.n_blocks = n_blocks
        self.block_size = block_size
        self._users = [0] * n_blocks
        self._taken = bytearray(n_blocks)  # 0 where a block is free
        self._by_key: dict[_Key, int] = {}
        self._key_of: dict[int, _Key] = {}
        # A block's number is used again, its serial number never is: so a key means one content.
        self._serial_of: dict[int, int] = {}
        self._next_serial = 0
        self._remembered: OrderedDict[int, None] = OrderedDict()  # longest unused first

    @property
    def n_free(self) -> int:
        """Blocks that hold nothing."""
        return self._taken.count(0)

    @property
    def n_remembered(self) -> int:
        return len(self._remembered)

    @property
    def n_used(self) -> int:
        return self.n_blocks - self.n_free - self.n_remembered

    @property
    def n_available(self) -> int:
        """Blocks that `take` can give."""
        return self.n_free + self.n_remembered

    def match(self, tokens: Sequence[int], salt: Hashable = None) -> list[int]:
        """The blocks that hold how this text begins, whole blocks only, the last token left out:
        its logits are to be computed. They are in use from now on.

        salt: what a text's blocks may be shared with: the same salt only.
        """
        blocks: list[int] = []
        before: Hashable = (salt,)
        size = self.block_size
        for begin in range(0, len(tokens) - size, size):
            block = self._by_key.get((before, tuple(tokens[begin : begin + size])))
            if block is None:
                break
            blocks.append(block)
            before = self._serial_of[block]
        for block in blocks:
            self._users[block] += 1
            self._remembered.pop(block, None)
        return blocks

    def take(self, after: int | None = None) -> int | None:
        """A block to write in, the one behind `after` where that can be; None where all are in
        use. What lies side by side in memory is read fastest."""
        if not self.n_free and not self._forget_one():
            return None
        follows = None if after is None else after + 1
        if follows is None or follows >= self.n_blocks or self._taken[follows]:
            follows = self._in_largest_gap()
        self._taken[follows] = 1
        self._users[follows] = 1
        return follows

    def remember(self, blocks: Sequence[int], tokens: Sequence[int], salt: Hashable = None) -> None:
        """These blocks hold these tokens: the last of them is full now, those before it are
        remembered already. What others hold already is not remembered twice."""
        block, size = blocks[-1], self.block_size
        if block in self._key_of:
            return
        before: Hashable = (salt,)
        if len(blocks) > 1:
            if blocks[-2] not in self._serial_of:
                return  # it could not be found
            before = self._serial_of[blocks[-2]]
        begin = (len(blocks) - 1) * size
        key = (before, tuple(tokens[begin : begin + size]))
        if key in self._by_key:
            return
        self._by_key[key] = block
        self._key_of[block] = key
        self._serial_of[block] = self._next_serial
        self._next_serial += 1

    def release(self, blocks: Sequence[int]) -> None:
        """One text less uses them."""
        for block in reversed(blocks):  # a beginning is of use to more texts than an end
            self._users[block] -= 1
            if self._users[block]:
                continue
            if block in self._key_of:
                self._remembered[block] = None
            else:
                self._taken[block] = 0

    def forget(self) -> None:
        """Forget every block that no text uses."""
        while self._forget_one():
            pass

    def _forget_one(self) -> bool:
        if not self._remembered:
            return False
        block, _ = self._remembered.popitem(last=False)
        del self._by_key[self._key_of.pop(block)], self._serial_of[block]
        self._taken[block] = 0
        return True

    def _in_largest_gap(self) -> int:
        """The first block of the longest run of free ones; half-way into it where a used block
        stands before it, so that this one can grow too."""
        begin, end = max(
            (run.span() for run in re.finditer(rb"\0+", self._taken)),
            key=lambda span: span[1] - span[0],
        )
        return begin if begin == 0 else (begin + end) // 2
