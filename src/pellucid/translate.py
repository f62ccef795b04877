"""A text written as another: the original Transformer, ready to use.

>>> import pellucid
>>> digits = pellucid.load_translator("digits")
>>> digits.translate("two hundred and six").text
'206'
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Ids
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checkpoint
from .backend import get_backend
from .beam import ALPHA, BEAMS, Beam, BeamSearch, beam_search
from .errors import CheckpointError, ContextError, InputError
from .families import family_of
from .model import EncoderDecoder
from .model.ids import check_tokenizer
from .sampling import log_softmax

if TYPE_CHECKING:
    from .hparams import HParams
    from .taps import Tap
    from .tokenizer import Tokenizer

__all__ = ["Translation", "Translator", "load_translator"]

_LONGER = 50  # tokens that a text may be longer than its source (§6.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """source: what was read, as ids with the token that ends it. texts: what was written, best
    first. ids: of the best, with that token too where it `ended` and was not cut off. search: all
    that was looked at."""

    source: str
    source_ids: tuple[int, ...]
    texts: tuple[str, ...]
    ids: tuple[int, ...]
    ended: bool
    search: BeamSearch

    @property
    def text(self) -> str:
        return self.texts[0]

    @property
    def logprob(self) -> float:
        """Of all tokens, in nats."""
        return self.search.best[0].logprob

    @property
    def score(self) -> float:
        """The same by its length: what was searched for."""
        return self.search.best[0].score

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the best text, and under `beams` all of them."""
        found = zip(self.texts, self.search.best, strict=True)
        return {
            "source": self.source,
            "text": self.text,
            "ids": list(self.ids),
            "logprob": self.logprob,
            "score": self.score,
            "ended": self.ended,
            "beams": [
                {"text": text, "logprob": each.logprob, "score": each.score} for text, each in found
            ],
        }


class Translator:
    """What `pellucid.load_translator` returns.

    model: encoder and decoder with their weights. tokenizer: text ↔ ids, of both sides. begin, end:
    the tokens that begin what is written and end either text. card: where the model comes from.
    name: what it was loaded as.
    """

    def __init__(
        self,
        model: EncoderDecoder,
        tokenizer: Tokenizer,
        *,
        begin: int,
        end: int,
        card: Mapping[str, Any] | None = None,
        name: str = "",
    ) -> None:
        check_tokenizer(tokenizer.n_vocab, model.hparams.n_vocab)
        self.model = model
        self.tokenizer = tokenizer
        self.begin, self.end = begin, end
        self.card = dict(card or {})
        self.name = name

    @property
    def hparams(self) -> HParams:
        return self.model.hparams

    def __repr__(self) -> str:
        return f"Translator({self.name!r}, {self.hparams}, backend={self.model.backend.name!r})"

    def encode(self, text: str) -> tuple[int, ...]:
        """A source as ids, with the token that ends it. Raises InputError for an empty text,
        ContextError for one beyond n_ctx."""
        ids = (*self.tokenizer.encode(text), self.end)
        if len(ids) == 1:
            raise InputError("the text is empty: give one to be written as another")
        if len(ids) > self.hparams.n_ctx:
            raise ContextError(
                f"the text has {len(ids)} tokens, its end among them; this model reads at most "
                f"n_ctx = {self.hparams.n_ctx}: give it a shorter one"
            )
        return ids

    def translate(
        self,
        text: str,
        *,
        beams: int = BEAMS,
        alpha: float = ALPHA,
        max_tokens: int | None = None,
        tap: Tap | None = None,
    ) -> Translation:
        """Write a text as the model has learned to, by beam search (see `beam.Beam`).

        max_tokens: of what is written, its end among them (default: 50 more than the source, as in
        the paper, or what the window holds). tap: sees, and may replace, every value; what is being
        written has a row for each beam.
        """
        ids = self.encode(text)
        most = min(self.hparams.n_ctx, max_tokens or len(ids) + _LONGER)
        beam = Beam(beams=beams, alpha=alpha, max_tokens=most)
        memory, cache = self.model.encode(ids, tap), self.model.new_cache()

        def following(rows: np.ndarray, tokens: np.ndarray) -> np.ndarray:
            cache.follow(rows)
            logits = self.model.decode(tokens[:, None], memory, cache, tap)
            last = self.model.backend.to_numpy(logits)[:, -1]
            return log_softmax(np.asarray(last, np.float64))

        search = beam_search(following, start=self.begin, end=self.end, beam=beam)
        best = search.best[0]
        return Translation(
            source=text,
            source_ids=ids,
            texts=tuple(
                self.tokenizer.decode(each.tokens[:-1] if each.ended else each.tokens)
                for each in search.best
            ),
            ids=best.tokens,
            ended=best.ended,
            search=search,
        )

    def logits(self, source: Ids[int], written: Ids[int], tap: Tap | None = None) -> np.ndarray:
        """Ids of a source, and of what is written after `begin` -> [position, n_vocab]: what
        follows `begin` and each of them; one pass, in which a tap sees every value."""
        logits = self.model.forward(source, [self.begin, *written], tap)
        return np.asarray(self.model.backend.to_numpy(logits)[0])


def load_translator(
    source: str | Path,
    *,
    backend: str = "auto",
    device: str | None = None,
    dtype: str | None = None,
    threads: int | None = None,
    keys: str | None = None,
) -> Translator:
    """An encoder-decoder from the package ("digits") or a folder.

    backend, device, dtype, threads, keys: see `pellucid.backend.get_backend`. Raises InputError for
    a model that goes on from a text (`pellucid.load` takes it), CheckpointError as `load` does.
    """
    machine = get_backend(backend, device=device, dtype=dtype, threads=threads, keys=keys)
    loaded = checkpoint.load(source)
    family = family_of(loaded.hparams)
    if not family.encodes:
        raise InputError(f"{source} is a {family.title}, which goes on from a text: pellucid.load")
    roles, tokenizer = loaded.roles, loaded.tokenizer
    if tokenizer is None or roles.bos is None or not roles.eos:
        raise CheckpointError(
            f"{source} lacks a tokenizer, or does not name the tokens that begin and end a text "
            "(roles: bos, eos): what it reads and writes cannot be told"
        )
    return Translator(
        EncoderDecoder.of(loaded.hparams, loaded.tensors, machine),
        tokenizer,
        begin=roles.bos,
        end=roles.eos[0],
        card=loaded.card,
        name=str(source),
    )
