"""What every answer has in common: its pictures, and a form that JSON can hold."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..draw.document import document
from ..draw.document import fragment as draw_fragment
from ..draw.pictures import Bars, Lines, Section
from ..errors import ContextError, InputError
from ..hparams import HParams
from ..sampling import log_softmax, softmax
from ..sequence import Alternative
from ..visible import quoted, text_of, token_text

if TYPE_CHECKING:
    from ..draw.terminal import Drawing
    from ..gpt import GPT

__all__ = [
    "SATURATED",
    "Finding",
    "chosen",
    "compared",
    "effect",
    "fragment",
    "head_names",
    "highest",
    "layer_names",
    "lead",
    "likeliest",
    "page",
    "read",
    "shortened",
    "token_id",
    "token_name",
    "token_names",
    "whole",
]


# Where a word or a special token begins, or what follows one.
_BEGINS = re.compile(r"\s(?=\S)|<\||(?<=\|>)")

# From this probability on, pictures show leads: changes of the probability would all be 0.00.
SATURATED = 0.99


class Finding:
    """Base of the answers: frozen dataclasses of numpy arrays and the labels of their axes.

    A new kind of answer says in `sections` what is to be seen of it: terminal, page and notebook
    draw that.
    """

    def sections(self) -> list[Section]:
        """Its pictures, with a title and how to read them. By default its fields as text."""
        known = self.to_dict()
        kind = known.pop("kind")
        lines = tuple(
            f"{name}: {json.dumps(value, ensure_ascii=False)[:2000]}"
            for name, value in known.items()
        )
        how = "The answer's fields."
        return [Section(kind=kind, title=kind, how=how, pictures=(Lines(lines=lines),))]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, texts, lists and dicts, with the class's name as `kind`. Numbers that
        JSON lacks (infinite, not a number) become None."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {"kind": type(self).__name__, **_plain(known)}

    def each_array(self) -> Iterator[np.ndarray]:
        """All that it holds, those of findings within it too."""
        return _arrays(self)

    def __rich__(self) -> Drawing:
        """In a terminal: `rich.print(finding)`."""
        from ..draw.terminal import Drawing

        return Drawing(self.sections())

    def _repr_html_(self) -> str:
        """In Jupyter and whatever follows its protocol."""
        return draw_fragment(self.sections(), title=type(self).__name__)

    def _mime_(self) -> tuple[str, str]:
        """In marimo."""
        return "text/html", self._repr_html_()


def page(
    findings: Sequence[Finding] | Finding, *, title: str = "Pellucid", subtitle: str = ""
) -> str:
    """One HTML document that shows the findings, one after another, anywhere and offline.

    Of patterns and traces it holds at most draw.document.PAGE_BYTES of numbers; what was left
    out, and how to get it, is said on the page. subtitle: beside the title, such as the model.
    """
    several = [findings] if isinstance(findings, Finding) else findings
    sections = [part for each in several for part in each.sections()]
    return document(sections, title=title, subtitle=subtitle)


def fragment(finding: Finding) -> str:
    """The same for a notebook's output: a frame that holds a whole document, in one line."""
    return finding._repr_html_()


def shortened(text: str, most: int = 160) -> str:
    """Of a long text the end, from a word or a special token on: what a section is about."""
    if len(text) <= most:
        return text
    end = text[len(text) - most + 1 :]
    begin = _BEGINS.search(end, 0, most // 2)
    return f"…{end[begin.start() if begin else 0 :].lstrip()}"


def whole(gpt: GPT, ids: Iterable[int]) -> str:
    """Ids -> their text, decoded at once. The texts of single tokens, one behind another, are
    not that: a character may be divided among several."""
    return text_of(gpt.tokenizer.decode_bytes(ids))


def token_name(gpt: GPT, token: int) -> str:
    """The text of one token; a piece of a character as bytes: ⟨F0 9F⟩."""
    return token_text(gpt.tokenizer.bytes_of(token))


def token_names(gpt: GPT, ids: Iterable[int]) -> tuple[str, ...]:
    """The text of each token by itself."""
    return tuple(token_name(gpt, int(token)) for token in ids)


def layer_names(n: int) -> tuple[str, ...]:
    return tuple(f"L{i}" for i in range(n))


def head_names(n: int) -> tuple[str, ...]:
    return tuple(f"H{i}" for i in range(n))


def read(gpt: GPT, text: str | Sequence[int]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Text or ids -> (ids, each token's name).

    Raises InputError for an empty text or an unknown id, ContextError beyond n_ctx.
    """
    ids = tuple(gpt.encode(text))
    n_ctx, n_vocab = gpt.hparams.n_ctx, gpt.hparams.n_vocab
    if not ids:
        raise InputError("the text is empty: give at least one token to look at")
    if len(ids) > n_ctx:
        raise ContextError(f"{len(ids)} tokens exceed the context window of n_ctx = {n_ctx}")
    if wrong := [token for token in ids if not 0 <= token < n_vocab]:
        raise InputError(f"token {wrong[0]} is not in the vocabulary 0…{n_vocab - 1}")
    return ids, token_names(gpt, ids)


def token_id(gpt: GPT, token: str | int) -> int:
    """A token's id, from its id or its text. Raises InputError when it is not one token."""
    if isinstance(token, str):
        ids = gpt.tokenizer.encode(token)
        if len(ids) != 1:
            pieces = ", ".join(map(quoted, token_names(gpt, ids)))
            hint = (
                f" (mind the space: {' ' + token!r} is another)"
                if token[:1] not in ("", " ")
                else ""
            )
            raise InputError(
                f"{quoted(token)} is {len(ids)} tokens, {pieces or 'none'}: name one token{hint}"
            )
        return ids[0]
    if not 0 <= token < gpt.hparams.n_vocab:
        raise InputError(f"token {token} is not in the vocabulary 0…{gpt.hparams.n_vocab - 1}")
    return int(token)


def chosen(indices: int | Iterable[int] | None, n: int, what: str) -> tuple[int, ...]:
    """Indices as given (negative ones count from the end) -> 0…n-1; None means all of them."""
    if indices is None:
        return tuple(range(n))
    wanted = [indices] if isinstance(indices, int | np.integer) else list(indices)
    if wrong := [i for i in wanted if not -n <= i < n]:
        raise InputError(f"there is no {what} {wrong[0]}: this has {n} (0…{n - 1})")
    return tuple(int(i) % n for i in wanted)


def likeliest(gpt: GPT, logits: np.ndarray, k: int = 5) -> tuple[Alternative, ...]:
    """logits [n_vocab] -> the k likeliest tokens, likeliest first."""
    logprobs = log_softmax(np.asarray(logits, np.float64))
    return tuple(
        Alternative(int(i), token_name(gpt, int(i)), float(logprobs[i]))
        for i in highest(logprobs, k)
    )


def highest(x: np.ndarray, k: int) -> np.ndarray:
    """x [..., n] -> indices of the k highest along the last axis, highest first [..., k]"""
    k = min(k, x.shape[-1])
    some = np.sort(np.argpartition(-x, k - 1, axis=-1)[..., :k], axis=-1)  # ties by index
    order = np.argsort(-np.take_along_axis(x, some, -1), axis=-1, kind="stable")
    return np.take_along_axis(some, order, -1)


def compared(
    texts: dict[int, str],
    before: np.ndarray,
    after: np.ndarray,
    *,
    names: tuple[str, str] = ("before", "after"),
    n: int = 8,
) -> Bars:
    """The probabilities of some tokens, id -> text, in two distributions; at most the n likeliest.

    Where one token takes all in both, their logits instead, above the mean of all logits.
    before, after: logits [n_vocab].
    """
    exact = [np.asarray(logits, np.float64) for logits in (before, after)]
    shares = [softmax(logits) for logits in exact]
    ids = sorted(texts, key=lambda i: -max(float(share[i]) for share in shares))[:n]
    saturated = min(share[ids[0]] for share in shares) >= SATURATED
    shown = [logits - logits.mean() for logits in exact] if saturated else shares
    return Bars(
        labels=tuple(texts[i] for i in ids),
        values=shown[0][ids],
        after=shown[1][ids],
        names=names,
        form="number" if saturated else "percent",
        tokens=True,
        high=None if saturated else 1.0,
        caption="Logits, above the mean of all tokens." if saturated else "",
    )


def lead(logits: np.ndarray, token: int) -> np.ndarray:
    """[..., n_vocab] -> how far the token's logit is above all the others' together [...]: its
    log-odds, log(p / (1 - p)), which do not saturate as p does."""
    exact = np.asarray(logits, np.float64)
    others = np.delete(exact, token, -1)
    highest = others.max(-1, keepdims=True)
    together = np.log(np.exp(others - highest).sum(-1)) + highest[..., 0]
    return np.asarray(exact[..., token] - together)


def effect(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """logits [n_vocab] and [..., n_vocab] -> (KL(before ‖ after) in nats [...], the change of
    every logit [..., n_vocab], the change of every log-probability [..., n_vocab])"""
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    p, q = log_softmax(before), log_softmax(after)
    divergence = (np.exp(p) * (p - q)).sum(-1)
    return np.maximum(divergence, 0.0), after - before, q - p


def _arrays(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, np.ndarray):
        yield value
        return
    inside: Iterable[Any] = ()
    if is_dataclass(value):
        inside = (getattr(value, each.name) for each in fields(value))
    elif isinstance(value, Mapping):
        inside = value.values()
    elif isinstance(value, tuple | list):
        inside = value
    for each in inside:
        yield from _arrays(each)


def _plain(value: Any) -> Any:
    if isinstance(value, Finding):
        return value.to_dict()
    if isinstance(value, HParams):
        return value.to_dict()
    if isinstance(value, np.ndarray):
        if value.dtype.kind != "f" or np.isfinite(value).all():
            return value.tolist()
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value
