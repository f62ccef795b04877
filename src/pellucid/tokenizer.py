"""Text ↔ tokens: GPT-2's byte-level byte-pair encoding, with the merges behind each token.

    text ─ split into words ─ bytes ─ merge the best-ranked pair, again and again ─ ids

Every text can be written, because every byte is a token: rare words become several tokens, and
a character may be split between two. Sources: Sennrich et al. (arXiv 1508.07909), GPT-2 paper
§2.2, openai/gpt-2 `src/encoder.py`. Short texts are encoded by the code below, which shows its
work; long ones by tiktoken, with the same ranks and the same ids.
"""

from __future__ import annotations

import codecs
import heapq
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

from .errors import InputError, TokenizerError

__all__ = [
    "END_OF_TEXT",
    "Merge",
    "MergedWord",
    "Piece",
    "StreamDecoder",
    "Tokenizer",
    "byte_symbols",
]

END_OF_TEXT = "<|endoftext|>"

# GPT-2's: contractions, letters, digits, the rest, each with the one space before it; then
# spaces, of which the last goes to the word that follows.
SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# The same words by possessive quantifiers, which tiktoken's matcher does not go back into.
_BULK_SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
_LONG_SPACE = r"(?<!\s)\s{1000,}+(?=\S)"  # such a run, a million long, would overflow its stack

_SHORT = 4096  # characters below which our own code answers before tiktoken has started
_MOST_BYTES = 64 << 20  # of a tokenizer file; GPT-2's have 1 MB
_MOST_SHOWN = 1000  # bytes of a word whose merges are shown: the trace grows with their square


class Piece(NamedTuple):
    """One token of a text. text is None where its bytes are no characters by themselves."""

    id: int
    text: str | None
    bytes: bytes

    @property
    def shown(self) -> str:
        """The text, or the bytes in hexadecimal: ⟨F0 9F⟩."""
        return self.text if self.text is not None else f"⟨{self.bytes.hex(' ').upper()}⟩"


class Merge(NamedTuple):
    """One merge: which pair, how early it was learned (0 is first), and the parts after it."""

    rank: int
    pair: tuple[bytes, bytes]
    parts: tuple[bytes, ...]


class MergedWord(NamedTuple):
    """A word of the split text, its bytes, and the merges that made its tokens."""

    text: str
    start: tuple[bytes, ...]
    merges: tuple[Merge, ...]


@cache
def byte_symbols() -> tuple[str, ...]:
    """The visible character by which GPT-2's files spell each byte, [256].

    Printable bytes stand for themselves, the others for U+0100 and on: a space is Ġ.
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return tuple(chr(byte if byte in printable else next(others)) for byte in range(256))


def _spell(value: bytes) -> str:
    symbols = byte_symbols()
    return "".join(symbols[byte] for byte in value)


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
        made = self._check_merges(merges, ids)
        self._ids: dict[bytes, int] = {}
        self._bytes = [b""] * self.n_vocab
        for text, token in ids.items():
            if text in self.special_tokens:
                self._bytes[token] = text.encode()
                continue
            value = made.get(text)
            if value is None:
                raise TokenizerError(_why_not_made(text))
            self._bytes[token] = value
            self._ids[value] = token

    def _check_merges(
        self, merges: Sequence[tuple[str, str]], ids: Mapping[str, int]
    ) -> dict[str, bytes]:
        """-> the bytes of each token that is a byte or made by a merge; fills the ranks."""
        made = {symbol: bytes([byte]) for byte, symbol in enumerate(byte_symbols())}
        for symbol, value in made.items():
            if symbol not in ids or symbol in self.special_tokens:
                raise TokenizerError(
                    f"byte {value[0]:#04x} is no token: not every text can be written"
                )
        for rank, pair in enumerate(merges):
            try:
                left, right = pair
                parts = made[left], made[right]
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
            made[product] = parts[0] + parts[1]
        return made

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
            return self._encode_ordinary(text)
        import regex

        longest_first = sorted(allowed_special, key=len, reverse=True)
        ids: list[int] = []
        for part in regex.split("(" + "|".join(map(regex.escape, longest_first)) + ")", text):
            if part in allowed_special:
                ids.append(self.special_tokens[part])
            elif part:
                ids += self._encode_ordinary(part)
        return ids

    def _encode_ordinary(self, text: str) -> list[int]:
        if len(text) > _SHORT and self._bulk is not None:
            return self._encode_bulk(text)
        return [
            self._ids[part] for word in split(text) for part in self._parts(word.encode(), None)
        ]

    def _encode_bulk(self, text: str) -> list[int]:
        """By tiktoken, cut where a long run of spaces gives its last one to the next word."""
        ids: list[int] = []
        start = 0
        for run in _pattern(_LONG_SPACE).finditer(text):
            ids += self._bulk.encode_ordinary(text[start : run.end() - 1])
            start = run.end() - 1
        ids += self._bulk.encode_ordinary(text[start:])
        return ids

    def encode_many(self, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Many texts -> the ids of each, as `encode` gives them; special tokens stay text.

        By tiktoken however short they are, on several threads.
        """
        encode = self._encode_ordinary if self._bulk is None else self._encode_bulk
        if threads == 1:
            return [encode(_whole_characters(text)) for text in texts]
        from concurrent.futures import ThreadPoolExecutor

        size = -(-len(texts) // (4 * threads)) or 1
        shares = [texts[at : at + size] for at in range(0, len(texts), size)]
        with ThreadPoolExecutor(threads) as pool:
            return [ids for share in pool.map(self.encode_many, shares) for ids in share]

    def _parts(self, word: bytes, work: list[Merge] | None) -> list[bytes]:
        """Merge the neighbours with the lowest rank, leftmost first, until none is left.

        work, if given, receives each merge. A heap of candidates over a linked list, so that
        long words cost n·log n.
        """
        if word in self._ids and work is None and self._reaches(word):
            return [word]
        parts: list[bytes | None] = [word[i : i + 1] for i in range(len(word))]
        after = list(range(1, len(parts) + 1))
        before = list(range(-1, len(parts) - 1))
        ranks = self._ranks
        heap: list[tuple[int, int, bytes, bytes]] = []

        def consider(at: int) -> None:
            nxt = after[at]
            if nxt < len(parts):
                left, right = parts[at], parts[nxt]
                assert left is not None
                assert right is not None
                rank = ranks.get((left, right))
                if rank is not None:
                    heapq.heappush(heap, (rank, at, left, right))

        for at in range(len(parts) - 1):
            consider(at)
        while heap:
            rank, at, left, right = heapq.heappop(heap)
            nxt = after[at]
            if parts[at] != left or nxt >= len(parts) or parts[nxt] != right:
                continue  # one of the two has been merged since
            parts[at], parts[nxt] = left + right, None
            after[at] = after[nxt]
            if after[at] < len(parts):
                before[after[at]] = at
            if work is not None:
                now = tuple(part for part in parts if part is not None)
                work.append(Merge(rank, (left, right), now))
            if before[at] >= 0:
                consider(before[at])
            consider(at)
        return [part for part in parts if part is not None]

    @cached_property
    def _reachable(self) -> dict[bytes, bool]:
        return {}

    def _reaches(self, token: bytes) -> bool:
        """Whether the bytes of a token do merge into it: all of a trained vocabulary's do, but
        a vocabulary from elsewhere may hold one that an earlier merge always breaks."""
        known = self._reachable.get(token)
        if known is None:
            known = self._reachable[token] = self._parts(token, []) == [token]
        return known

    @cached_property
    def _bulk(self) -> Any:
        """tiktoken with the same ranks, or None where its rule would give other ids."""
        if not self._merges_as_tiktoken():
            return None
        import tiktoken

        return tiktoken.Encoding(
            "pellucid",
            pat_str=_BULK_SPLIT,
            mergeable_ranks=dict(self._ids),
            special_tokens={},
        )

    def _merges_as_tiktoken(self) -> bool:
        """Whether merging any two neighbours that spell a token, lowest id first, is the same.

        tiktoken does that, and takes a word that is a token as it is. It comes to the same where
        the products' ids rise with the ranks and the bytes of each token do merge into it: no
        earlier merge across the border between its two halves takes them apart. All trained
        vocabularies are so; one from elsewhere need not be.
        """
        products = [self._ids[left + right] for left, right in self._ranks]
        if any(a >= b for a, b in pairwise(products)):
            return False
        ranks = self._ranks
        halves = {left + right: (left, right) for left, right in ranks}
        made_at = {left + right: rank for (left, right), rank in ranks.items()}
        for left, right in ranks:
            # Undo both sides' merges, the latest first, and look at who meets at the border.
            while True:
                if made_at.get(left, -1) > made_at.get(right, -1):
                    until = made_at[left]
                    left = halves[left][1]
                elif right in halves:
                    until = made_at[right] + 1  # at equal rank the one to the left comes first
                    right = halves[right][0]
                else:
                    break
                if ranks.get((left, right), until) < until:
                    return False
        return True

    # Ids to text

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Ids -> bytes. Raises TokenizerError for an id outside 0…n_vocab-1."""
        return b"".join([self._bytes_of(token) for token in ids])

    def decode(self, ids: Iterable[int]) -> str:
        """Ids -> text; bytes that are no character become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def stream(self) -> StreamDecoder:
        """A decoder that takes token by token and never gives out half a character."""
        return StreamDecoder(self)

    def _bytes_of(self, token: int) -> bytes:
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

    def pieces(self, text: str | Sequence[int]) -> list[Piece]:
        """Each token of a text (or of ids) with its text and its bytes."""
        ids = self.encode(text) if isinstance(text, str) else text
        return [self.piece(token) for token in ids]

    def piece(self, token: int) -> Piece:
        value = self._bytes_of(token)
        try:
            return Piece(token, value.decode(), value)
        except UnicodeDecodeError:
            return Piece(token, None, value)

    def merges(self, text: str) -> list[MergedWord]:
        """The work behind `encode`: each word of the text with the merges that formed it.

        Raises InputError for a word of more than 1000 bytes."""
        words = []
        for word in split(_whole_characters(text)):
            work: list[Merge] = []
            value = word.encode()
            if len(value) > _MOST_SHOWN:
                raise InputError(
                    f"{word[:20]!r}... is one word of {len(value)} bytes; merges are shown for "
                    f"words of up to {_MOST_SHOWN}: shorten it"
                )
            self._parts(value, work)
            start = tuple(value[i : i + 1] for i in range(len(value)))
            words.append(MergedWord(word, start, tuple(work)))
        return words

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
        <|like this|>, which are taken from the vocabulary.
        """
        table = _read_json(Path(vocab))
        lines = _read(Path(merges)).split("\n")
        if lines and lines[0].startswith("#version"):
            del lines[0]
        pairs = []
        for number, line in enumerate(lines):
            if not line.strip("\r"):
                continue
            left, space, right = line.strip("\r").partition(" ")
            if not space or " " in right:
                raise TokenizerError(f"{merges}: merge {number} is not two tokens: {line[:80]!r}")
            pairs.append((left, right))
        made = {left + right for left, right in pairs}.union(byte_symbols())
        found = {
            text: token
            for text, token in table.items()
            if text.startswith("<|") and text.endswith("|>") and text not in made
        }
        found |= {
            text: token
            for text, token in (special or {}).items()
            if text not in made or table.get(text) != token  # else as ordinary as any
        }
        return cls(table, pairs, found)

    @classmethod
    def from_folder(cls, folder: str | os.PathLike[str]) -> Tokenizer:
        """From a model's folder: vocab.json + merges.txt, encoder.json + vocab.bpe, or
        tokenizer.json. Raises TokenizerError when there is none, or it is not GPT-2's kind.

        Beside the first, the files in which Hugging Face's library lists special tokens are read
        where they exist, and settings that would give other ids are refused.
        """
        folder = Path(folder)
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            vocab, merges = folder / "vocab.json", folder / "merges.txt"
            return cls.from_files(vocab, merges, _listed_special(folder))
        if (folder / "encoder.json").is_file() and (folder / "vocab.bpe").is_file():
            return cls.from_files(folder / "encoder.json", folder / "vocab.bpe")
        if (folder / "tokenizer.json").is_file():
            return cls._from_tokenizer_json(folder / "tokenizer.json")
        raise TokenizerError(
            f"{folder} holds no tokenizer: it needs vocab.json and merges.txt, encoder.json and "
            "vocab.bpe, or tokenizer.json"
        )

    @classmethod
    def _from_tokenizer_json(cls, path: Path) -> Tokenizer:
        table = _read_json(path)
        special = _check_tokenizer_json(path, table)
        vocab, merges = table["model"].get("vocab"), table["model"].get("merges")
        if not isinstance(vocab, dict) or not isinstance(merges, list):
            raise TokenizerError(f"{path} lacks vocab or merges")
        pairs = []
        for rank, merge in enumerate(merges):
            pair = merge.split(" ") if isinstance(merge, str) else merge
            if not isinstance(pair, list) or [type(part) for part in pair] != [str, str]:
                raise TokenizerError(f"{path}: merge {rank} is not two tokens")
            pairs.append((pair[0], pair[1]))
        return cls(vocab, pairs, special)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write vocab.json, merges.txt, special_tokens.json, and tokenizer_config.json for
        `transformers`, each whole or not at all."""
        folder = Path(folder)
        special = {token: text for text, token in self.special_tokens.items()}
        vocab = {
            special[token] if token in special else _spell(value): token
            for token, value in enumerate(self._bytes)
        }
        merges = [f"{_spell(left)} {_spell(right)}\n" for left, right in self._ranks]
        flags = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
        config: dict[str, Any] = {
            "add_prefix_space": False,
            "added_tokens_decoder": {
                str(token): {"content": text, **flags, "special": True}
                for token, text in sorted(special.items())
            },
            "clean_up_tokenization_spaces": False,
            "tokenizer_class": "GPT2Tokenizer",
        }
        end = END_OF_TEXT if END_OF_TEXT in self.special_tokens else None
        config |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), end)
        _write(folder / "vocab.json", json.dumps(vocab, ensure_ascii=False))
        _write(folder / "merges.txt", "#version: 0.2\n" + "".join(merges))
        _write(folder / "special_tokens.json", json.dumps(self.special_tokens, ensure_ascii=False))
        _write(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")

    # Training

    @classmethod
    def train(
        cls, texts: Iterable[str], n_vocab: int, special: Sequence[str] = (END_OF_TEXT,)
    ) -> Tokenizer:
        """Learn merges from texts: the most frequent pair of neighbours becomes a token, again
        and again, until there are n_vocab tokens or no pair occurs twice.

        Ids: 256 bytes, the merges in the order learned, then the special tokens.
        Raises InputError when n_vocab is too small or the library is not installed.
        """
        if n_vocab < 256 + len(special):
            raise InputError(
                f"n_vocab must be at least {256 + len(special)}: 256 bytes and "
                f"{len(special)} special tokens; not {n_vocab}"
            )
        if isinstance(special, str) or len(set(special)) != len(special):
            raise InputError(f"special must be different tokens in a list, not {special!r}")
        try:
            import tokenizers
        except ImportError as error:
            raise InputError(
                'training a vocabulary needs tokenizers: pip install "pellucid[train]"'
            ) from error
        learner = tokenizers.Tokenizer(tokenizers.models.BPE())
        byte_level = tokenizers.pre_tokenizers.ByteLevel
        learner.pre_tokenizer = byte_level(add_prefix_space=False)
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=n_vocab - len(special),
            min_frequency=2,
            initial_alphabet=byte_level.alphabet(),
            show_progress=False,
        )
        learner.train_from_iterator((_whole_characters(text) for text in texts), trainer)
        learned = json.loads(learner.to_str())["model"]["merges"]
        pairs = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in learned]
        vocab = {symbol: token for token, symbol in enumerate(byte_symbols())}
        for left, right in pairs:
            vocab.setdefault(left + right, len(vocab))
        return cls(vocab, pairs, {text: len(vocab) + i for i, text in enumerate(special)})


class StreamDecoder:
    """Token by token to text. What it gives out, joined, is what `decode` gives for all of them;
    at most 3 bytes wait for the rest of their character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The characters that this token completes; often the token's text, sometimes ''."""
        return self._decoder.decode(self._tokenizer._bytes_of(token))

    def flush(self) -> str:
        """What is left when no token follows: U+FFFD for an unfinished character, or ''."""
        return self._decoder.decode(b"", final=True)


def split(text: str) -> Iterator[str]:
    """The words of a text, as GPT-2 splits it before any merge; merges never cross them."""
    return (found[0] for found in _pattern(SPLIT).finditer(text))


@cache
def _pattern(pattern: str) -> Any:
    import regex

    return regex.compile(pattern)


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


def _listed_special(folder: Path) -> dict[str, Any]:
    """The special tokens that the files beside vocab.json list, with their ids.

    Refuses a tokenizer of another kind. Chat templates in these files are not looked at.
    """
    special: dict[str, Any] = {}
    for name in ("special_tokens.json", "added_tokens.json"):
        if (folder / name).is_file():
            special |= _read_json(folder / name)
    path = folder / "tokenizer.json"
    if path.is_file():
        special |= _check_tokenizer_json(path, _read_json(path))
    path = folder / "tokenizer_config.json"
    if path.is_file():
        config = _read_json(path)
        if config.get("add_prefix_space"):
            raise TokenizerError(f"{path}: add_prefix_space gives other ids than GPT-2's")
        kind = config.get("tokenizer_class") or "GPT2Tokenizer"
        if kind not in ("GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast",
                        "TokenizersBackend"):  # fmt: skip
            raise TokenizerError(f"{path}: {kind!r} is not GPT-2's tokenizer")
        added = config.get("added_tokens_decoder") or {}
        if not isinstance(added, dict):
            raise TokenizerError(f"{path}: added_tokens_decoder must be a table")
        for token, entry in added.items():
            if not token.isascii() or not token.isdigit() or len(token) > 9:
                raise TokenizerError(f"{path}: {token[:20]!r} in added_tokens_decoder is no id")
            special[_content(path, entry)] = int(token)
    return special


def _content(path: Path, entry: Any) -> str:
    """The text of an added token, which must be found as it stands."""
    if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
        raise TokenizerError(f"{path}: malformed entry among the added tokens")
    content: str = entry["content"]
    for flag in ("lstrip", "rstrip", "single_word"):
        if entry.get(flag):
            raise TokenizerError(f"{path}: added token {content!r} has {flag}, unlike GPT-2's")
    return content


# As openai/gpt-2 writes SPLIT, and as we do.
_SAME_SPLIT = (
    {"Regex": SPLIT},
    {"Regex": "'s|'t|'re|'ve|'m|'ll|'d" + SPLIT[SPLIT.index("| ?") :]},
)


def _check_tokenizer_json(path: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """Refuses what would split or spell text otherwise than GPT-2. -> its special tokens"""
    model = table.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        raise TokenizerError(f"{path} is not byte-pair encoding")
    foreign = {"normalizer": table.get("normalizer")}
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback",
                 "ignore_merges"):  # fmt: skip
        foreign[name] = model.get(name)
    if wrong := [name for name, value in foreign.items() if value]:
        raise TokenizerError(f"{path} has a {wrong[0]}, which GPT-2's tokenizer has not")
    before, pattern = table.get("pre_tokenizer"), None
    if isinstance(before, dict) and before.get("type") == "Sequence":
        steps = before.get("pretokenizers")
        if isinstance(steps, list) and len(steps) == 2 and isinstance(steps[0], dict):
            first, before = steps
            if first.get("type") == "Split" and first.get("behavior") == "Isolated":
                pattern = first.get("pattern") if not first.get("invert") else None
    if (
        not isinstance(before, dict)
        or before.get("type") != "ByteLevel"
        or before.get("add_prefix_space", True) is not False
        or before.get("use_regex", True) is not (pattern is None)
        or (pattern is not None and pattern not in _SAME_SPLIT)
    ):
        raise TokenizerError(
            f"{path} splits text differently from GPT-2 (its pre_tokenizer must be ByteLevel "
            "with add_prefix_space false and GPT-2's own pattern)"
        )
    after = table.get("decoder")
    if after is not None and (not isinstance(after, dict) or after.get("type") != "ByteLevel"):
        raise TokenizerError(f"{path} does not decode as GPT-2 does: its decoder is not ByteLevel")
    added = table.get("added_tokens") or []
    if not isinstance(added, list):
        raise TokenizerError(f"{path}: added_tokens must be a list")
    return {_content(path, entry): entry.get("id") for entry in added}


def _read(path: Path) -> str:
    if not path.is_file():  # opening a pipe would wait for ever
        raise TokenizerError(f"there is no file {path}")
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise TokenizerError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise TokenizerError(f"{path} is larger than any tokenizer: over {_MOST_BYTES >> 20} MiB")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path} is not UTF-8 text: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(items)
        if len(table) != len(items):
            raise TokenizerError(f"{path}: a key occurs twice")
        return table

    def constant(name: str) -> NoReturn:
        raise TokenizerError(f"{path}: {name} is not a JSON number")

    try:
        table = json.loads(_read(path), object_pairs_hook=pairs, parse_constant=constant)
    except TokenizerError:
        raise
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        raise TokenizerError(f"{path} is not JSON: {error}") from error
    if not isinstance(table, dict):
        raise TokenizerError(f"{path} must hold a JSON object")
    return table


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
