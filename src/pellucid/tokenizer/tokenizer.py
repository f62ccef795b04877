"""Text ↔ tokens: the class that everyone uses, over the merge loop of `bpe.py`."""

from __future__ import annotations

import gc
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple
from unicodedata import normalize

from ..errors import InputError, TokenizerError
from ..visible import visible_bytes
from .bpe import (
    MergedWord,
    Ranks,
    byte_symbols,
    is_spelled,
    merge_word,
    spell,
    unspell,
    unspell_all,
)
from .check import check_vocabulary
from .files import Tables, read_folder, read_vocabulary, write_folder
from .rules import GPT2, Added, Rules, cut, extract, padding, whole_characters
from .splits import FAST
from .stream import StreamDecoder

if TYPE_CHECKING:
    from .bulk import Bulk

__all__ = ["END_OF_TEXT", "Piece", "Tokenizer"]

END_OF_TEXT = "<|endoftext|>"

_MOST_SHOWN = 1000  # bytes of a word whose merges are shown: the trace grows with their square


class Piece(NamedTuple):
    """One token of a text. text is None where its bytes are no characters by themselves."""

    id: int
    text: str | None
    bytes: bytes

    @property
    def shown(self) -> str:
        """Every character of it to be seen: "␣went"; bytes that are no text: ⟨F0 9F⟩."""
        return visible_bytes(self.bytes)


class Tokenizer:
    """A vocabulary with its merges.

    vocab: token → id, spelled as GPT-2's files spell it (`byte_symbols`). merges: pairs, the
    first learned first. special: token → id, written as plain text; they may stand in vocab too.
    rules: what is done to a text beside the merges. A token that no merge makes is one that no
    text becomes: it can only be decoded.
    Raises TokenizerError unless the ids are 0…n_vocab-1, each once, every byte that texts are made
    of is a token, and the merges are of tokens and make tokens.

    What it knows is to be read and not written: `ids`, the bytes of each token that text becomes
    by merging → its id; `ranks`, each merge → how early it was learned; `bulk`, the fast paths
    over both; `unused`, the ids that stand for no token (`rules.padding`), never to be generated.
    """

    def __init__(
        self,
        vocab: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        special: Mapping[str, int] | None = None,
        rules: Rules | None = None,
    ) -> None:
        self.special_tokens = dict(special or {})
        self.rules = rules or Rules()
        self._added = {text: Added(id=token) for text, token in self.special_tokens.items()}
        self._added |= self.rules.added
        for text, added in self.rules.added.items():
            if added.special:
                self.special_tokens[text] = added.id
        self._found_anyway = any(not token.special for token in self._added.values())
        ids = dict(vocab)
        for text, added in self._added.items():
            if not text:
                raise TokenizerError("a special token is empty")
            if text != whole_characters(text):
                raise TokenizerError(f"special token {text!r} is not Unicode text")
            if ids.setdefault(text, added.id) != added.id:
                raise TokenizerError(f"special token {text!r} has two ids: {ids[text]}, {added.id}")
        self.n_vocab = len(ids)
        for token in (*self.rules.begin, *self.rules.end):
            if type(token) is not int or not 0 <= token < self.n_vocab:
                raise TokenizerError(f"texts would begin or end with {token!r}, which is no token")
        self._unmade, self._by_id = check_vocabulary(
            ids, merges, self.special_tokens, any_order=self.rules.ignore_merges
        )
        self._vocab, self._merges = ids, list(merges)
        names = [text for text in self._unmade if text == padding(ids[text])]
        self.unused = frozenset(ids[text] for text in names if text not in self._added)
        self._bytes: list[bytes | None] = [None] * self.n_vocab

    # The tables, made of the files' when a text is first read

    @cached_property
    def ids(self) -> Mapping[bytes, int]:
        """The bytes of each token that text becomes by merging (or that a word is, where merges
        are ignored for it) -> its id."""
        others = self._unmade.union(self.special_tokens)
        if self.rules.ignore_merges:
            others -= {text for text in self._unmade if is_spelled(text)} - self._added.keys()
        texts = [text for text in self._vocab if text not in others]
        return dict(zip(unspell_all(texts), map(self._vocab.__getitem__, texts), strict=True))

    @cached_property
    def ranks(self) -> Ranks:
        """The merges in the order in which they were learned."""
        value = {token: value for value, token in self.ids.items()}.__getitem__
        pairs = zip(map(value, self._by_id.lefts), map(value, self._by_id.rights), strict=True)
        return {pair: rank for rank, pair in enumerate(pairs)}

    @cached_property
    def bulk(self) -> Bulk:
        from .bulk import Bulk

        split = FAST.get(self.rules.steps, FAST[(GPT2,)])
        return Bulk(self.ids, self._by_id, split, ignore_merges=self.rules.ignore_merges)

    @cached_property
    def _texts(self) -> list[str]:
        """The text of each id, as the files have it."""
        texts = [""] * self.n_vocab
        for text, token in self._vocab.items():
            texts[token] = text
        return texts

    # Text to ids

    def encode(
        self,
        text: str,
        allowed_special: Collection[str] = (),
        *,
        on_special: Literal["text", "raise"] = "text",
    ) -> list[int]:
        """Text -> ids.

        A special token that stands in the text is text like any other, unless the caller allows
        it: allowed_special={"<|endoftext|>"} makes it its id. on_special="raise" refuses one
        that is not allowed. Half a surrogate pair becomes U+FFFD.
        Raises TokenizerError for a special token that is refused or unknown.
        """
        if not isinstance(text, str):
            raise InputError(f"text must be a str, not {type(text).__name__}")
        if on_special not in ("text", "raise"):
            raise InputError(f"on_special must be 'text' or 'raise', not {on_special!r}")
        if isinstance(allowed_special, str):  # not its letters
            allowed_special = (allowed_special,)
        if unknown := sorted(set(allowed_special) - set(self.special_tokens)):
            raise TokenizerError(f"no such special token: {', '.join(unknown)}")
        text = whole_characters(text)
        if on_special == "raise":
            for token in self.special_tokens:
                if token not in allowed_special and token in text:
                    raise TokenizerError(
                        f"the text holds the special token {token}; pass it in allowed_special, "
                        "or encode it as text"
                    )
        if not allowed_special and not self._found_anyway:
            return self._encode_part(self._normal(text))
        ids: list[int] = []
        for part in extract(text, self._added, allowed_special, nfc=self.rules.nfc):
            ids += [part] if isinstance(part, int) else self._encode_part(part)
        return ids

    def _encode_part(self, text: str) -> list[int]:
        """A text without added tokens in it, in its normal form -> ids"""
        steps = self.rules.steps
        if steps in FAST:
            return self.bulk.encode(text)
        if steps[-1:] == (GPT2,):
            return [token for part in cut(text, steps[:-1]) for token in self.bulk.encode(part)]
        tokens = self.bulk.tokens
        return [token for word in cut(text, steps) for token in tokens(word.encode())]

    def _normal(self, text: str) -> str:
        return normalize("NFC", text) if self.rules.nfc else text

    def framed(self, ids: Sequence[int], *, ends: bool = True) -> list[int]:
        """The ids of a whole text with those that this tokenizer puts before and after one, such
        as <s>; one that it begins with already is not doubled. ends: False where it goes on."""
        begin, end = self.rules.begin, self.rules.end if ends else ()
        begins = bool(begin) and tuple(ids[: len(begin)]) == begin
        return [*(() if begins else begin), *ids, *end]

    def encode_many(self, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Many texts -> the ids of each, as `encode` gives them; special tokens stay text.

        By tiktoken however short they are, on several threads.
        """
        if threads == 1 and (self._found_anyway or self.rules.steps not in FAST):
            return [self.encode(text) for text in texts]
        if threads == 1:
            return [self.bulk.encode_all(self._normal(whole_characters(text))) for text in texts]
        from concurrent.futures import ThreadPoolExecutor

        size = -(-len(texts) // (4 * threads)) or 1
        shares = [texts[at : at + size] for at in range(0, len(texts), size)]
        with ThreadPoolExecutor(threads) as pool:
            return [ids for share in pool.map(self.encode_many, shares) for ids in share]

    # Ids to text

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Ids -> bytes. Raises TokenizerError for an id outside 0…n_vocab-1."""
        return b"".join([self.bytes_of(token) for token in ids])

    def decode(self, ids: Iterable[int]) -> str:
        """Ids -> text; bytes that are no character become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def stream(self) -> StreamDecoder:
        """A decoder that takes token by token and never gives out half a character."""
        return StreamDecoder(self.bytes_of)

    def bytes_of(self, token: int) -> bytes:
        """The bytes of one token. Raises TokenizerError for an id outside 0…n_vocab-1."""
        try:
            if token >= 0:
                value = self._bytes[token]
                if value is None:
                    value = self._bytes[token] = self._bytes_of_text(self._texts[token])
                return value
        except (IndexError, TypeError):
            pass
        raise TokenizerError(f"token {token!r} is not in the vocabulary 0…{self.n_vocab - 1}")

    def _bytes_of_text(self, text: str) -> bytes:
        """A token that no merge makes is decoded as `tokenizers` does: by the byte symbols where
        it is spelled in them, else as it stands."""
        if text in self.special_tokens or (text in self._added and text in self._unmade):
            return text.encode()
        try:
            return unspell(text)
        except UnicodeEncodeError:
            return whole_characters(text).encode()

    # What there is to see

    @property
    def end_of_text(self) -> int | None:
        """The id of <|endoftext|>, if the vocabulary has it."""
        return self.special_tokens.get(END_OF_TEXT)

    def fingerprint(self) -> str:
        """sha256 of what it does, however its files are written: the bytes of each id and how text
        becomes it, the merges in their order, and the rules where they are not GPT-2's. Equal for
        two that give the same ids to the same texts."""
        from .identity import fingerprint

        return fingerprint(
            [self.bytes_of(token) for token in range(self.n_vocab)],
            self.ranks,
            special=set(self.special_tokens.values()),
            unmade={self._vocab[text] for text in self._unmade},
            added=self._added,
            rules=self.rules,
        )

    def pieces(self, text: str | Sequence[int]) -> list[Piece]:
        """Each token of a text (or of ids) with its text and its bytes."""
        ids = self.encode(text) if isinstance(text, str) else text
        return [self.piece(token) for token in ids]

    def piece(self, token: int) -> Piece:
        value = self.bytes_of(token)
        try:
            return Piece(token, value.decode(), value)
        except UnicodeDecodeError:
            return Piece(token, None, value)

    def merges(self, text: str) -> list[MergedWord]:
        """The work behind `encode`: each word of the text with the merges that formed it.

        Raises InputError for a word of more than 1000 bytes."""
        words = list(self._words(whole_characters(text)))
        for word in words:
            if (n := len(word.encode())) > _MOST_SHOWN:
                raise InputError(
                    f"{word[:20]!r}... is one word of {n} bytes; merges are shown for words of up "
                    f"to {_MOST_SHOWN}: shorten it"
                )
        return [self._merged(word) for word in words]

    def _merged(self, word: str) -> MergedWord:
        merged = merge_word(word, self.ranks, self.bulk.known(word.encode()))
        if self.rules.ignore_merges and (whole := word.encode()) in self.ids:
            # Where the merges lead elsewhere the word is what it was from the start.
            return merged if merged.parts == (whole,) else MergedWord(word, (whole,), ())
        return merged

    def _words(self, text: str) -> Iterator[str]:
        for part in extract(text, self._added, (), nfc=self.rules.nfc):
            if isinstance(part, str):
                yield from cut(part, self.rules.steps)

    def __repr__(self) -> str:
        return f"Tokenizer(n_vocab={self.n_vocab}, special={list(self.special_tokens)})"

    # Files

    @classmethod
    def from_files(
        cls,
        vocab: str | os.PathLike[str],
        merges: str | os.PathLike[str],
        special: Mapping[str, int] | None = None,
    ) -> Tokenizer:
        """From encoder.json and vocab.bpe (OpenAI) or vocab.json and merges.txt (Hugging Face).

        special: more special tokens than those that no merge makes and that are written
        <|like this|>, <this> or [THIS]; these are taken from the vocabulary.
        """
        with _uncollected():
            return cls._of(read_vocabulary(Path(vocab), Path(merges), special))

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str]) -> Tokenizer:
        """From a model's folder: vocab.json + merges.txt, encoder.json + vocab.bpe, or
        tokenizer.json. Raises TokenizerError when there is none, or it is not GPT-2's kind.

        Beside the first, the files in which Hugging Face's library lists special tokens are read
        where they exist, and settings that would give other ids are refused.
        """
        with _uncollected():
            return cls._of(read_folder(Path(folder)))

    @classmethod
    def _of(cls, tables: Tables) -> Tokenizer:
        return cls(tables.vocab, tables.merges, tables.special, tables.rules)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write vocab.json, merges.txt, special_tokens.json, and tokenizer_config.json for
        `transformers`, each whole or not at all; with rules of its own also tokenizer.json."""
        end = END_OF_TEXT if END_OF_TEXT in self.special_tokens else None
        write_folder(Path(folder), self.tables, end)

    @property
    def tables(self) -> Tables:
        """All of it as files hold it; the vocabulary in the order of its ids."""
        vocab = {text: token for token, text in enumerate(self._texts)}
        return Tables(
            vocab=vocab, merges=self._merges, special=self.special_tokens, rules=self.rules
        )

    # Training

    @classmethod
    def train(
        cls, texts: Iterable[str], n_vocab: int, special: Sequence[str] = (END_OF_TEXT,)
    ) -> Tokenizer:
        """Learn merges from texts: the most frequent pair of neighbours becomes a token, again
        and again, until there are n_vocab tokens or no pair occurs twice.

        Ids: 256 bytes, the merges in the order learned, then the special tokens.
        Raises InputError when n_vocab is too small.
        """
        if n_vocab < 256 + len(special):
            raise InputError(
                f"n_vocab must be at least {256 + len(special)}: 256 bytes and "
                f"{len(special)} special tokens; not {n_vocab}"
            )
        if isinstance(special, str) or len(set(special)) != len(special):
            raise InputError(f"special must be different tokens in a list, not {special!r}")
        from .learn import learn_merges

        learned = learn_merges(map(whole_characters, texts), n_vocab - 256 - len(special))
        merges = [(spell(left), spell(right)) for left, right in learned]
        vocab = {symbol: token for token, symbol in enumerate(byte_symbols())}
        for left, right in merges:
            vocab.setdefault(left + right, len(vocab))
        return cls(vocab, merges, {text: len(vocab) + i for i, text in enumerate(special)})


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage meanwhile: it would go through everything, again and again, because
    of a hundred thousand texts and pairs that all stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
