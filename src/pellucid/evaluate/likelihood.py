"""Perplexity and bits per byte of a text, by windows with a stated stride."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ..chat import choose_template
from ..errors import InputError
from ..template import Message
from .scoring import Row, loglikelihoods, opening, opening_words

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = [
    "ConversationPerplexity",
    "Perplexity",
    "Turn",
    "Words",
    "check_windows",
    "conversation_perplexity",
    "perplexity",
    "windows",
]

Words = Literal["spaces", "spaces and line ends"]


@dataclass(frozen=True, slots=True)
class Perplexity:
    """nats: the sum over all scored tokens. n_bytes: of the scored tokens' text in UTF-8; special
    tokens have none. n_words: None unless asked for. complete: False when broken off."""

    model: str
    protocol: str
    window: int
    stride: int
    n_documents: int
    nats: float
    n_tokens: int
    n_bytes: int
    n_words: int | None = None
    complete: bool = True

    @property
    def nats_per_token(self) -> float:
        return self.nats / self.n_tokens if self.n_tokens else math.nan

    @property
    def perplexity(self) -> float:
        """Per token."""
        return _exp(self.nats_per_token)

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.n_bytes if self.n_bytes else math.nan

    @property
    def word_perplexity(self) -> float | None:
        if self.n_words is None:
            return None
        return _exp(self.nats / self.n_words) if self.n_words else math.nan

    def to_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "nats_per_token": self.nats_per_token,
            "perplexity": self.perplexity,
            "bits_per_byte": self.bits_per_byte,
            "word_perplexity": self.word_perplexity,
        }


@dataclass(frozen=True, slots=True)
class ConversationPerplexity:
    """replies: the assistant's words alone. everything: the words of all turns."""

    replies: Perplexity
    everything: Perplexity

    def to_dict(self) -> dict[str, Any]:
        return {"replies": self.replies.to_dict(), "everything": self.everything.to_dict()}


class Turn(NamedTuple):
    """weight: 0 where a reply of the assistant is given, and not measured as one of its own."""

    role: str
    text: str
    weight: int = 1


class _Document(NamedTuple):
    """kinds [len(ids)]: 0 given, never scored; 1 scored; 2 scored, a reply's."""

    ids: list[int]
    kinds: np.ndarray
    n_words: int


def perplexity(
    gpt: GPT,
    text: str | Iterable[str | Sequence[int]],
    *,
    stride: int | None = None,
    window: int | None = None,
    words: Words | None = None,
    batch: int | None = None,
    on_progress: Callable[[Perplexity, int], None] | None = None,
) -> Perplexity:
    """How well a model predicts a text, or separate documents (texts or ids).

    Each window reads at most `window` tokens (default: n_ctx) and scores the last `stride`
    (default: window, disjoint) that follow; the first window of a document scores all of its
    own, the last is filled to the front. stride=1 gives every token all the context there is.
    words: count words for `word_perplexity`, separated by spaces; "spaces and line ends" adds
    one per line, as WikiText's papers count. on_progress: called with the score so far and the
    number of documents begun. Raises InputError when a setting is out of range or nothing can
    be scored.
    """
    documents = [text] if isinstance(text, str) else text
    window, stride = check_windows(gpt.hparams.n_ctx, window, stride)

    def prepared() -> Iterator[_Document]:
        for document in documents:
            if isinstance(document, str):
                ids = gpt.tokenizer.encode(document)
            else:
                ids = [int(token) for token in document]
            kinds = np.ones(len(ids), np.int8)
            n_words = 0
            if words is not None:
                if not isinstance(document, str):
                    raise InputError("words are counted in texts, not in ids")
                n_words = len(document.split())
                if words == "spaces and line ends":
                    n_words += document.count("\n")
            yield _opened(gpt, ids, kinds, n_words)

    protocol = _protocol(gpt, window, stride, "every token", words)
    _, everything = _measure(
        gpt, prepared(), window, stride, protocol, protocol, batch, words is not None,
        None if on_progress is None else lambda _, all_, begun: on_progress(all_, begun),
    )  # fmt: skip
    return everything


def conversation_perplexity(
    gpt: GPT,
    conversations: Iterable[Sequence[Turn | Message | tuple[str, str] | Mapping[str, Any]]],
    *,
    template: str | None = None,
    stride: int | None = None,
    window: int | None = None,
    batch: int | None = None,
    on_progress: Callable[[ConversationPerplexity, int], None] | None = None,
) -> ConversationPerplexity:
    """How well a model predicts conversations in its chat template, each on its own.

    Scored are a turn's words and the tokens that close it; what opens a turn is given. Once for
    the assistant's turns, once for all. Turns are messages, (role, text), or {"role", "text"};
    the third of a turn, or "weight", is 0 where a reply is given and not the assistant's own.
    """
    window, stride = check_windows(gpt.hparams.n_ctx, window, stride)
    chosen = choose_template(gpt, template)

    def prepared() -> Iterator[_Document]:
        for number, turns in enumerate(conversations, 1):
            ids: list[int] = []
            kinds: list[int] = []
            said: list[tuple[Message, Any]] = []
            for turn in turns:
                role, text, weight = _turn(turn)
                if role not in chosen.frames or not isinstance(text, str):
                    raise InputError(
                        f"conversation {number}: a turn needs a text and a role among "
                        f"{', '.join(chosen.frames)}, not {role!r}"
                    )
                said.append((Message(role, text), weight))
            written = chosen.written(message for message, _ in said)
            weights = [0] * (len(written) - len(said)) + [weight for _, weight in said]
            for each, weight in zip(written, weights, strict=True):
                opened, closed = each.sides(gpt.tokenizer)
                whole = [*gpt.tokenizer.encode(each.text), *closed]
                ids += [*opened, *whole]
                kind = 2 if each.role == "assistant" and weight != 0 else 1
                kinds += [0] * len(opened) + [kind] * len(whole)
            yield _opened(gpt, ids, np.asarray(kinds, np.int8), 0)

    scored = f"in the chat template {chosen.name!r}, the words and closing tokens of "
    replies, everything = _measure(
        gpt, prepared(), window, stride,
        _protocol(gpt, window, stride, scored + "the assistant's turns"),
        _protocol(gpt, window, stride, scored + "all turns"),
        batch, False,
        None if on_progress is None
        else lambda own, all_, begun: on_progress(ConversationPerplexity(own, all_), begun),
    )  # fmt: skip
    return ConversationPerplexity(replies, everything)


def _turn(turn: Any) -> tuple[Any, Any, Any]:
    if isinstance(turn, Mapping):
        return turn.get("role"), turn.get("text"), turn.get("weight", 1)
    return (*turn, 1)[:3]


def windows(n_ids: int, window: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """n_ids, the first of which is given -> (first, end, n_scored): ids[first:end] are read and
    predicted in one pass, the last n_scored of them scored. Every id but the first is once."""
    done = 1
    while done < n_ids:
        end = min(done + (window if done == 1 else stride), n_ids)
        yield max(0, end - window - 1), end, end - done
        done = end


def _opened(gpt: GPT, ids: list[int], kinds: np.ndarray, n_words: int) -> _Document:
    """With what stands before it; the first token is given in any case."""
    begin = opening(gpt)
    if gpt.tokenizer.rules.begin and ids[: len(begin)] == begin:  # ids that have it already
        begin, n_given = [], len(begin)
    else:
        n_given = 0 if begin else 1
    kinds = kinds.copy()
    kinds[:n_given] = 0
    zeros = np.zeros(len(begin), np.int8)
    return _Document([*begin, *ids], np.concatenate([zeros, kinds]), n_words)


def _measure(
    gpt: GPT,
    documents: Iterable[_Document],
    window: int,
    stride: int,
    replies_protocol: str,
    protocol: str,
    batch: int | None,
    count_words: bool,
    watch: Callable[[Perplexity, Perplexity, int], None] | None,
) -> tuple[Perplexity, Perplexity]:
    """-> (of the tokens of kind 2, of all scored tokens)"""
    waiting: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # row -> kinds, bytes of its scored
    begun = n_words = rows_made = 0
    nats, tokens, n_bytes = [0.0, 0.0], [0, 0], [0, 0]
    special = {*gpt.tokenizer.special_tokens.values(), *gpt.tokenizer.unused}

    def rows() -> Iterator[Row]:
        nonlocal begun, n_words, rows_made
        for document in documents:
            begun += 1
            n_words += document.n_words
            for first, end, n in windows(len(document.ids), window, stride):
                scored = document.ids[end - n : end]
                kinds = document.kinds[end - n : end]
                if not kinds.any():
                    continue
                sizes = [
                    0 if i in special else len(gpt.tokenizer.decode_bytes([i])) for i in scored
                ]
                waiting[rows_made] = kinds, np.asarray(sizes, np.int64)
                rows_made += 1
                yield Row(document.ids[first:end], n)

    def so_far(complete: bool) -> tuple[Perplexity, Perplexity]:
        own, every = (
            Perplexity(
                model=gpt.name,
                protocol=how,
                window=window,
                stride=stride,
                n_documents=begun,
                nats=nats[at],
                n_tokens=tokens[at],
                n_bytes=n_bytes[at],
                n_words=n_words if count_words and complete and at else None,
                complete=complete,
            )
            for at, how in enumerate((replies_protocol, protocol))
        )
        return own, every

    for index, logprobs, _ in loglikelihoods(gpt, rows(), batch=batch):
        kinds, sizes = waiting.pop(index)
        for at, chosen in enumerate((kinds == 2, kinds > 0)):
            nats[at] -= float(logprobs[chosen].sum())
            tokens[at] += int(chosen.sum())
            n_bytes[at] += int(sizes[chosen].sum())
        if watch is not None:
            watch(*so_far(False), begun)
    if not tokens[1]:
        raise InputError("there is no token to score: the text is empty")
    return so_far(True)


def check_windows(n_ctx: int, window: int | None, stride: int | None) -> tuple[int, int]:
    """-> (window, stride), where they are None as `perplexity` says. Raises InputError."""
    window = n_ctx if window is None else window
    if not 1 <= window <= n_ctx:
        raise InputError(f"window must be between 1 and the model's {n_ctx}, not {window}")
    stride = window if stride is None else stride
    if not 1 <= stride <= window:
        raise InputError(f"stride must be between 1 and the window of {window}, not {stride}")
    return window, stride


def _protocol(gpt: GPT, window: int, stride: int, scored: str, words: str | None = None) -> str:
    last = "" if words is None else f"; words are counted by {words}"
    return (
        f"windows of {window} tokens, each scoring its last {stride} (the first all); "
        f"scored: {scored} of each document, {opening_words(gpt)}{last}"
    )


def _exp(nats: float) -> float:
    return math.exp(nats) if nats < 700 else math.inf
