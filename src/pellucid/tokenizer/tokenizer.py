"""Text ↔ tokens: the class that everyone uses, over the merge loop of `bpe.py`."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from ..errors import InputError, TokenizerError
from ..visible import visible_bytes
from .bpe import MergedWord, byte_symbols, merge_word, split
from .bulk import Bulk
from .files import Tables, read_folder, read_vocabulary, write_folder
from .learn import learn_merges
from .stream import StreamDecoder

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
    Raises TokenizerError unless the ids are 0…n_vocab-1, each once, every byte is a token, and
    each other token is the product of a merge of tokens.
    """

    def __init__(
        self,
        vocab: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        special: Mapping[str, int] | None = None,
    ) -> None:
        self.special_tokens = dict(special or {})
        ids = dict(vocab)
        for text, token in self.special_tokens.items():
            if not text:
                raise TokenizerError("a special token is empty")
            if text != _whole_characters(text):
                raise TokenizerError(f"special token {text!r} is not Unicode text")
            if ids.setdefault(text, token) != token:
                raise TokenizerError(f"special token {text!r} has two ids: {ids[text]}, {token}")
        self.n_vocab = len(ids)
        _check_bijection(ids)
        self._ranks: dict[tuple[bytes, bytes], int] = {}
        spelled = self._check_merges(merges, ids)
        self._ids: dict[bytes, int] = {}
        self._bytes = [b""] * self.n_vocab
        for text, token in ids.items():
            if text in self.special_tokens:
                self._bytes[token] = text.encode()
                continue
            value = spelled.get(text)
            if value is None:
                raise TokenizerError(_why_not_made(text))
            self._bytes[token] = value
            self._ids[value] = token
        self._bulk = Bulk(self._ids, self._ranks)

    def _check_merges(
        self, merges: Sequence[tuple[str, str]], ids: Mapping[str, int]
    ) -> dict[str, bytes]:
        """-> the bytes of each token that is a byte or made by a merge; fills the ranks."""
        spelled = {symbol: bytes([byte]) for byte, symbol in enumerate(byte_symbols())}
        for symbol, value in spelled.items():
            if symbol not in ids or symbol in self.special_tokens:
                raise TokenizerError(
                    f"byte {value[0]:#04x} is no token: not every text can be written"
                )
        for rank, pair in enumerate(merges):
            try:
                left, right = pair
                parts = spelled[left], spelled[right]
            except KeyError as error:
                raise TokenizerError(
                    f"merge {rank}, {pair[0]!r} + {pair[1]!r}: {error.args[0]!r} is no token that "
                    "an earlier merge makes"
                ) from error
            except (ValueError, TypeError) as error:
                raise TokenizerError(f"merge {rank} is malformed: {pair!r}") from error
            product = left + right
            if product not in ids or product in self.special_tokens:
                raise TokenizerError(
                    f"merge {rank}, {left!r} + {right!r}: {product!r} is no token, or a special one"
                )
            if self._ranks.setdefault(parts, rank) != rank:
                raise TokenizerError(f"merge {rank}, {left!r} + {right!r}, occurs twice")
            spelled[product] = parts[0] + parts[1]
        return spelled

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
        text = _whole_characters(text)
        if on_special == "raise":
            for token in self.special_tokens:
                if token not in allowed_special and token in text:
                    raise TokenizerError(
                        f"the text holds the special token {token}; pass it in allowed_special, "
                        "or encode it as text"
                    )
        if not allowed_special:
            return self._bulk.encode(text)
        longest_first = sorted(allowed_special, key=len, reverse=True)
        ids: list[int] = []
        for part in re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text):
            if part in allowed_special:
                ids.append(self.special_tokens[part])
            elif part:
                ids += self._bulk.encode(part)
        return ids

    def encode_many(self, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Many texts -> the ids of each, as `encode` gives them; special tokens stay text.

        By tiktoken however short they are, on several threads.
        """
        if threads == 1:
            return [self._bulk.encode_all(_whole_characters(text)) for text in texts]
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
                return self._bytes[token]
        except (IndexError, TypeError):
            pass
        raise TokenizerError(f"token {token!r} is not in the vocabulary 0…{self.n_vocab - 1}")

    # What there is to see

    @property
    def end_of_text(self) -> int | None:
        """The id of <|endoftext|>, if the vocabulary has it."""
        return self.special_tokens.get(END_OF_TEXT)

    @property
    def fingerprint(self) -> str:
        """sha256 of all that makes ids of a text and a text of ids: two tokenizers with the same
        one are the same."""
        digest = hashlib.sha256()
        for value in self._bytes:
            digest.update(len(value).to_bytes(4) + value)
        ranked = sorted(self._ranks, key=self._ranks.__getitem__)
        for part in (part for pair in ranked for part in pair):
            digest.update(len(part).to_bytes(4) + part)
        for text, token in sorted(self.special_tokens.items()):
            digest.update(f"{token} {text}\n".encode())
        return digest.hexdigest()

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
        words = list(split(_whole_characters(text)))
        for word in words:
            if (n := len(word.encode())) > _MOST_SHOWN:
                raise InputError(
                    f"{word[:20]!r}... is one word of {n} bytes; merges are shown for words of up "
                    f"to {_MOST_SHOWN}: shorten it"
                )
        return [merge_word(word, self._ranks) for word in words]

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
        return cls._of(read_vocabulary(Path(vocab), Path(merges), special))

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str]) -> Tokenizer:
        """From a model's folder: vocab.json + merges.txt, encoder.json + vocab.bpe, or
        tokenizer.json. Raises TokenizerError when there is none, or it is not GPT-2's kind.

        Beside the first, the files in which Hugging Face's library lists special tokens are read
        where they exist, and settings that would give other ids are refused.
        """
        return cls._of(read_folder(Path(folder)))

    @classmethod
    def _of(cls, tables: Tables) -> Tokenizer:
        return cls(tables.vocab, tables.merges, tables.special)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write vocab.json, merges.txt, special_tokens.json, and tokenizer_config.json for
        `transformers`, each whole or not at all."""
        special = {token: text for text, token in self.special_tokens.items()}
        vocab = {
            special[token] if token in special else _spell(value): token
            for token, value in enumerate(self._bytes)
        }
        merges = [(_spell(left), _spell(right)) for left, right in self._ranks]
        tables = Tables(vocab=vocab, merges=merges, special=self.special_tokens)
        end = END_OF_TEXT if END_OF_TEXT in self.special_tokens else None
        write_folder(Path(folder), tables, end)

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
        learned = learn_merges(map(_whole_characters, texts), n_vocab - 256 - len(special))
        merges = [(_spell(left), _spell(right)) for left, right in learned]
        vocab = {symbol: token for token, symbol in enumerate(byte_symbols())}
        for left, right in merges:
            vocab.setdefault(left + right, len(vocab))
        return cls(vocab, merges, {text: len(vocab) + i for i, text in enumerate(special)})


def _check_bijection(ids: Mapping[str, int]) -> None:
    taken = bytearray(len(ids))
    for text, token in ids.items():
        if type(token) is not int:
            raise TokenizerError(f"token {text!r} has an id that is no number: {token!r}")
        if not 0 <= token < len(ids) or taken[token]:
            raise TokenizerError(
                f"ids must be 0…{len(ids) - 1}, each once; token {text!r} has {token}"
            )
        taken[token] = 1


def _why_not_made(text: str) -> str:
    symbols = set(byte_symbols())
    for symbol in text:
        if symbol not in symbols:
            return f"token {text!r} is not spelled in GPT-2's byte symbols: {symbol!r}"
    return f"token {text!r} is made by no merge and is not listed as special"


def _whole_characters(text: str) -> str:
    """Surrogate pairs to the character they mean, single halves to U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _spell(value: bytes) -> str:
    symbols = byte_symbols()
    return "".join(symbols[byte] for byte in value)
