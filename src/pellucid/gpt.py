"""A GPT, ready to use: a tokenizer and a model that belong together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Ids
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checkpoint
from .backend import get_backend
from .embedded import DEFAULT
from .errors import InputError
from .generate import Generation, Record
from .model import Model
from .model.ids import check_tokenizer
from .sampling import Stage
from .sequence import Settings
from .speculate import DraftModel, Lookup, Speculation
from .tokenizer import IdsOnly

if TYPE_CHECKING:
    from .backend import Array
    from .cache import Cache
    from .hparams import HParams
    from .taps import Tap
    from .tokenizer import Tokenizer

__all__ = ["DEFAULT", "GPT", "load"]


class GPT:
    """What `pellucid.load` returns.

    hparams: n_vocab, n_ctx, n_embd, n_head, n_layer. model: the forward pass with its weights.
    tokenizer: text ↔ ids. card: where the model comes from, its data, its loss, its limits.
    template: the name of its chat template, or None. name: what it was loaded as.
    roles: which tokens begin and end a text, as its files say.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        *,
        card: Mapping[str, Any] | None = None,
        template: str | None = None,
        name: str = "",
        roles: checkpoint.Roles | None = None,
    ) -> None:
        check_tokenizer(tokenizer.n_vocab, model.hparams.n_vocab)
        self.model = model
        self.tokenizer = tokenizer
        self.card = dict(card or {})
        self.template = template
        self.name = name
        self.roles = roles or checkpoint.Roles()

    @property
    def hparams(self) -> HParams:
        return self.model.hparams

    def __repr__(self) -> str:
        return f"GPT({self.name!r}, {self.hparams}, backend={self.model.backend.name!r})"

    @property
    def stop_tokens(self) -> frozenset[int]:
        """The ids that end a text: what its files say, else every special token."""
        return frozenset(self.roles.stops(self.tokenizer))

    def encode(self, text: str | Ids[int]) -> list[int]:
        """A text that goes on to ids, with those that this model's texts begin with, such as <s>,
        and without those that end one; ids stay what they are."""
        if isinstance(text, str):
            return self.tokenizer.framed(self.tokenizer.encode(text), ends=False)
        return [int(token) for token in text]

    def forward(
        self,
        tokens: Any,
        cache: Cache | None = None,
        tap: Tap | None = None,
        *,
        lengths: Any = None,
        last_only: bool = False,
    ) -> Array:
        """tokens [position] or [batch, position] -> logits [(batch,) position, n_vocab]"""
        return self.model.forward(tokens, cache, tap, lengths=lengths, last_only=last_only)

    def logits(self, text: str | Ids[int]) -> np.ndarray:
        """Text or ids -> [position, n_vocab]: what follows each position, before softmax."""
        ids = self.encode(text)
        if not ids:
            raise InputError("the text is empty: there is no position to predict from")
        return self.model.backend.to_numpy(self.forward(ids))

    def stages(self, text: str | Ids[int], **sampling: Any) -> list[Stage]:
        """Every distribution between the model's logits for the next token and the choice.

        sampling: the fields of `Sampling`, such as temperature=0.8, top_k=40.
        """
        ids = self.encode(text)
        chosen = Settings.of(**sampling).sampling
        return chosen.stages(self.logits(ids)[-1], ids, unused=self.tokenizer.unused)

    def generate(
        self,
        prompt: str | Ids[int],
        settings: Settings | None = None,
        *,
        tap: Tap | None = None,
        record: Record | None = None,
        follows: Generation | None = None,
        speculate: str | GPT | Speculation | None = None,
        **changes: Any,
    ) -> Generation:
        """Go on from a text (or ids), token by token; nothing runs until you iterate or look.

        settings, and changes to them by name: the fields of `Settings` (max_tokens=40,
        stop="\n", seed=1, n_ctx=8, …) and of `Sampling` (greedy=True, temperature=0.8, …).
        tap: sees, and may replace, every value of every step.
        record: keeps values of every step, such as `inspect.Recorder(gpt, "attn.pattern")`; its
        `trace(generation)` puts them together.
        follows: an earlier generation whose cached work is taken over.
        speculate: "lookup", or a smaller GPT of the same tokens (or its name) that drafts: the same
        text from fewer passes (`speculation`). Not with a tap or a record.
        Raises InputError and ContextError at once, before anything is computed.
        """
        settings = (settings or Settings()).changed(**changes)
        if settings.stop_tokens is None:
            settings = settings.changed(stop_tokens=self.stop_tokens)
        ids = self.encode(prompt)
        if not ids and self.roles.bos is not None:
            ids = [self.roles.bos]
        return Generation(
            self.model,
            self.tokenizer,
            ids,
            settings,
            tap=tap,
            record=record,
            follows=follows,
            speculation=None if speculate is None else self.speculation(speculate),
        )

    def speculation(self, source: str | GPT | Speculation) -> Speculation:
        """Who drafts for this model: "lookup" (what followed when the text last ended so), or a
        smaller GPT of the same tokens, itself or what `load` finds by that name. To be kept where
        several generations learn how far it pays.

        Raises InputError for a GPT of other tokens, and what `load` raises.
        """
        if isinstance(source, Speculation):
            return source
        if isinstance(source, str) and source != "lookup":
            source = load(source, backend=self.model.backend.name)
        if isinstance(source, GPT):
            if source.tokenizer.fingerprint() != self.tokenizer.fingerprint():
                raise InputError(f"{source.name} has other tokens: it cannot draft for {self.name}")
            return Speculation(DraftModel(source.model), self._most_drafted)
        if source == "lookup":
            return Speculation(Lookup(), self._most_drafted)
        raise InputError(f'speculate is "lookup" or a GPT, not {source!r}')

    @property
    def _most_drafted(self) -> int:
        """Tokens of a draft: few enough for one pass to give what passes over each would give."""
        return int(getattr(self.model.backend, "alike", 9)) - 1


def load(
    source: str | Path | None = None,
    *,
    backend: str = "auto",
    device: str | None = None,
    dtype: str | None = None,
    threads: int | None = None,
    keys: str | None = None,
    on_kept: Callable[[Path], None] | None = None,
) -> GPT:
    """A GPT from the package, a folder, a file, or the Hugging Face hub.

    source: None for the embedded default, the name of an embedded model ("chat", "talk",
    "induction"), a folder or file in any format that `pellucid.checkpoint` reads, or a hub name
    such as "gpt2".
    "chat" always means the embedded model; "./chat" and Path("chat") mean the folder.
    Weights without a tokenizer load too: then ids go in and come out (`IdsOnly`).
    backend, device, dtype, threads, keys: see `pellucid.backend.get_backend`. on_kept: told of the
    file in which the compiled backend's weights are kept, where one is written.
    Raises CheckpointError when the files cannot be trusted or found, InputError otherwise.
    """
    name = str(source or DEFAULT)
    machine = get_backend(backend, device=device, dtype=dtype, threads=threads, keys=keys)
    if machine.name == "native":
        from .keeping import load_packed

        loaded, model = load_packed(source or DEFAULT, machine, on_kept)
    else:
        loaded = checkpoint.load(source or DEFAULT)
        model = Model.of(loaded.hparams, loaded.tensors, machine)
    tokenizer = loaded.tokenizer or IdsOnly(
        loaded.hparams.n_vocab, name, why=loaded.card.get("no_tokenizer")
    )
    return GPT(
        model,
        tokenizer,
        card=loaded.card,
        template=loaded.template,
        name=name,
        roles=loaded.roles,
    )
