"""The original Transformer learns pairs: a source, and what is to be written for it
(arXiv 1706.03762, §5; `TranslationConfig` holds its rates and smoothing)."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint import Checkpoint, Roles
from ..data.translations import Translation, read_translations
from ..errors import InputError, PellucidError
from ..families.transformer import TransformerHParams
from ..tokenizer import END_OF_TEXT, Tokenizer
from ..weights import initialise
from .batches import IGNORE
from .config import TranslationConfig
from .module import TransformerModule
from .state import Saved
from .task import Measure, Rows, Task

__all__ = ["BEGIN", "Translations"]

Tensor = Any

BEGIN = "<|begin|>"  # what is written begins after it
_PAIRS = "pairs"  # the name of what a checkpoint keeps
_DIGIT = re.compile(r"\d")


class Translations(Task):
    """Rows are pairs. A step's report has, beside the loss per target token (with its smoothing;
    held out without), the measure accuracy: the share of target tokens that were likeliest.

    Beginning raises InputError for rows of the file that are no pairs, or other pairs than those
    that the run in config.out began with.
    """

    made_by = "pellucid train --pairs"

    def __init__(self, config: TranslationConfig) -> None:
        self.config: TranslationConfig = config
        self.held_out: Rows | None = None
        self.notes: list[str] = []

    def begin(self, saved: Saved | None) -> Checkpoint:
        config = self.config
        pairs, self.n_bad = read_translations(Path(config.corpus), skip_bad=config.skip_bad)
        self.digest = _digest(pairs)
        if saved is not None and not np.array_equal(saved.kept.get(_PAIRS, ()), self.digest):
            raise InputError(
                f"{config.corpus} has other pairs than the run in {config.out} began with: give "
                "the same, or another --out"
            )
        train, validation = _divided(pairs, config)
        if saved is not None and saved.model.tokenizer is not None:
            tokenizer = saved.model.tokenizer
        else:
            tokenizer = Tokenizer.train(_texts(train), config.n_vocab, (BEGIN, END_OF_TEXT))
        special = tokenizer.special_tokens
        self.start, self.end = special[BEGIN], special[END_OF_TEXT]
        self.train, too_long = self._ids(train, tokenizer)
        self.validation, too_long_too = self._ids(validation, tokenizer)
        self.n_too_long = too_long + too_long_too
        if not self.train:
            raise InputError(
                f"{config.corpus}: none of {len(pairs)} pairs is left to learn from "
                f"({self.n_too_long} are longer than n_ctx = {config.n_ctx} tokens)"
            )
        self._note()
        self.prompt = config.sample_prompt or (validation or train)[0].source
        hparams = TransformerHParams(
            n_vocab=tokenizer.n_vocab,
            n_ctx=config.n_ctx,
            n_embd=config.n_embd,
            n_head=config.n_head,
            n_layer=config.n_layer,
        )
        tensors = saved.model.tensors if saved is not None else initialise(hparams, config.seed)
        roles = Roles(bos=self.start, eos=(self.end,))
        return Checkpoint(hparams=hparams, tensors=tensors, tokenizer=tokenizer, roles=roles)

    def module(self, model: Checkpoint, backend: Any) -> TransformerModule:
        smoothing = self.config.label_smoothing
        return TransformerModule(model.hparams, model.tensors, backend, smoothing)

    def ready(self, saved: Saved | None, measure: Measure) -> None:
        every = max(1, -(-len(self.validation) // self.config.eval_rows))
        some = self.validation[::every]
        if some and self.config.eval_every:
            self.held_out = self.rows(some)

    def take(self, first: int, count: int) -> Rows:
        """In an order drawn anew for each epoch, from the seed alone."""
        n = len(self.train)
        orders = {
            epoch: np.random.default_rng([self.config.seed, epoch]).permutation(n)
            for epoch in range(first // n, (first + count - 1) // n + 1)
        }
        return self.rows([self.train[orders[i // n][i % n]] for i in range(first, first + count)])

    def rows(self, pairs: Sequence[tuple[list[int], list[int]]]) -> Rows:
        """-> source [pair, n], lengths [pair], inputs [pair, position], targets [pair, position]:
        what is written so far, and what is to follow each of its tokens."""
        n, m = (max(len(pair[side]) for pair in pairs) for side in (0, 1))
        source = np.full((len(pairs), n), self.end)
        inputs = np.full((len(pairs), m), self.end)
        targets = np.full((len(pairs), m), IGNORE)
        for row, (read, written) in enumerate(pairs):
            source[row, : len(read)] = read
            inputs[row, : len(written)] = [self.start, *written[:-1]]
            targets[row, : len(written)] = written
        return source, np.array([len(read) for read, _ in pairs]), inputs, targets

    def count(self, rows: Rows) -> int:
        """Tokens to be written."""
        return int((rows[3] != IGNORE).sum())

    def loss(self, model: Any, rows: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, float]]:
        loss, right = model(*rows)
        return loss, {"accuracy": float(right)}

    def kept(self) -> dict[str, np.ndarray]:
        return {_PAIRS: self.digest}

    def source(self) -> Mapping[str, Any]:
        return {
            "pairs": len(self.train),
            "validation_pairs": len(self.validation),
            "too_long": self.n_too_long,
            "bad": self.n_bad,
            "sha256": self.digest.tobytes().hex(),
        }

    def sample(self, model: Checkpoint, step: int) -> str:
        from ..backend import get_backend
        from ..model import EncoderDecoder
        from ..translate import Translator

        assert model.tokenizer is not None
        machine = get_backend("numpy", threads=1)
        translator = Translator(
            EncoderDecoder.of(model.hparams, model.tensors, machine),
            model.tokenizer,
            begin=self.start,
            end=self.end,
        )
        try:
            return f"{self.prompt} → {translator.translate(self.prompt).text}"
        except PellucidError as error:  # a text that does not fit must not end a run
            return f"(no sample: {error})"

    def facts(self) -> list[tuple[str, str]]:
        learned = f"{len(self.train):,} to learn from, {len(self.validation):,} held out"
        return [("pairs", ", ".join([learned, *self._left_out()]))]

    def commands(self, model: Path) -> tuple[str, ...]:
        text = shlex.quote(self.prompt)
        return tuple(f"pellucid {verb} {text} --model {model}" for verb in ("generate", "walk"))

    def _ids(
        self, pairs: Sequence[Translation], tokenizer: Tokenizer
    ) -> tuple[list[tuple[list[int], list[int]]], int]:
        """-> (the pairs as ids, each text with its end; how many are too long for the window)"""
        made = [
            tokenizer.encode_many([pair[side] for pair in pairs], self.config.threads or 1)
            for side in (0, 1)
        ]
        all_ids = [([*a, self.end], [*b, self.end]) for a, b in zip(*made, strict=True)]
        fitting = [pair for pair in all_ids if max(map(len, pair)) <= self.config.n_ctx]
        return fitting, len(all_ids) - len(fitting)

    def _left_out(self) -> list[str]:
        counts = ((self.n_too_long, "too long for the window"), (self.n_bad, "rows no pairs"))
        return [f"{n:,} {why}" for n, why in counts if n]

    def _note(self) -> None:
        if left_out := self._left_out():
            self.notes.append(f"left out: {', '.join(left_out)}")
        if self.config.eval_every and not self.validation:
            self.notes.append(
                f"no held-out loss: held_out = {self.config.held_out:g} of the sources is none"
            )


def _divided(
    pairs: Sequence[Translation], config: TranslationConfig
) -> tuple[list[Translation], list[Translation]]:
    """-> (to learn from, held out); no source is in both."""
    if not pairs:
        raise InputError(f"{config.corpus} has no pairs to learn from")
    sources = list(dict.fromkeys(pair.source for pair in pairs))
    drawn = np.random.default_rng(config.seed).permutation(len(sources))
    chosen = {sources[i] for i in drawn[: int(config.held_out * len(sources))]}
    return (
        [pair for pair in pairs if pair.source not in chosen],
        [pair for pair in pairs if pair.source in chosen],
    )


def _texts(pairs: Sequence[Translation]) -> Iterator[str]:
    """What the vocabulary is learned from: both sides, without digits, so that each digit stays a
    token by itself and a number is spelled the same way everywhere."""
    for pair in pairs:
        yield from _DIGIT.split(pair.source)
        yield from _DIGIT.split(pair.target)


def _digest(pairs: Sequence[Translation]) -> np.ndarray:
    """sha256 of the pairs."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(repr(tuple(pair)).encode())
    return np.frombuffer(digest.digest(), np.uint8)
