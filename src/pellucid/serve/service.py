"""What all routes share: the model, the engine, and how a request becomes what the engine runs."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterable
from collections.abc import Sequence as Several
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..chat import choose_template, drawn
from ..errors import InputError
from ..sampling import recommended
from ..sequence import Settings
from ..tokenizer import whole_characters
from .archive import Archive
from .engine import Engine
from .errors import ApiError
from .events import Ask, EngineLimits
from .histories import Histories
from .inspection import Inspection
from .metrics import Metrics
from .prompts import Prompts
from .runs import Piece, Run, Runner
from .schema.completions import FinishReason, Usage

if TYPE_CHECKING:
    from starlette.requests import Request

    from ..gpt import GPT
    from ..sequence import Sequence
    from ..template import Template
    from .schema.fields import Sampled
    from .watched import Watch

__all__ = ["Service", "finish_reason", "new_id", "usage"]

_LENGTH = 256  # tokens of a conversation's reply where nothing is said, as in the terminal
_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)


class Service:
    """model: the name by which clients know it. template: how its conversations are written.
    archive: where they are kept; None keeps none."""

    def __init__(
        self,
        gpt: GPT,
        engine: Engine,
        template: Template,
        metrics: Metrics,
        *,
        model: str,
        archive: Archive | None = None,
    ) -> None:
        self.gpt = gpt
        self.engine = engine
        self.inspection = Inspection(gpt, engine.turns, new_id)
        self.histories = Histories(gpt.name)
        self.model = model
        self.archive = Archive(off=True) if archive is None else archive
        self.kept_as = whole_characters(gpt.name or "")  # the model's name in the store
        self.prompts = Prompts(gpt, template, self.archive)
        self.metrics = metrics
        self.began = int(time.time())

    @classmethod
    def of(
        cls,
        gpt: GPT,
        limits: EngineLimits,
        *,
        name: str | None = None,
        template: str | None = None,
        strict: bool = False,
        speculate: str | None = None,
        archive: Archive | None = None,
    ) -> Service:
        """With an engine of its own. name, template: other ones than the model's own. strict: as
        for `Engine`. speculate: as for `GPT.speculation`.

        Raises InputError for a template that the model cannot write, or limits too small for it,
        or a model that cannot draft for it.
        """
        speculation = None if speculate is None else gpt.speculation(speculate)
        engine = Engine(gpt, limits, strict=strict, speculation=speculation)
        model = name or _called(gpt.name)
        written = choose_template(gpt, template)
        return cls(gpt, engine, written, Metrics(engine), model=model, archive=archive)

    def start(self) -> None:
        self.engine.start()
        self.inspection.start()

    def drain(self) -> None:
        """Take no more; what is under way goes on to its end."""
        self.engine.drain()
        self.inspection.drain()

    def stop(self, timeout: float | None = None) -> bool:
        """Cancel everything; whether all threads ended in so many seconds."""
        both = [self.engine.stop(timeout), self.inspection.stop(timeout)]
        return all(both)

    def close(self) -> None:
        """After `stop`, once the last connection is closed: what is to be kept is on disk."""
        self.archive.close()

    @staticmethod
    def owner(request: Request) -> str:
        """Whose is what a request leaves here: its key's, else its address's."""
        key = request.headers.get("authorization")
        if key is not None:
            return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
        return request.client.host if request.client else ""

    @property
    def state(self) -> Literal["ok", "draining", "failed"]:
        if self.engine.draining:
            return "draining"
        return "ok" if self.engine.alive else "failed"

    def check_model(self, name: str | None) -> None:
        if name is not None and name != self.model:
            raise ApiError(
                404,
                f"there is no model {name!r} here; there is {self.model!r}",
                code="model_not_found",
                param="model",
            )

    def settings(
        self,
        body: Sampled,
        *,
        max_tokens: int | None,
        alternatives: int,
        stop_tokens: frozenset[int],
    ) -> Settings:
        """What is not said is what the model's card recommends."""
        said = {name: getattr(body, name) for name in _SAMPLING}
        chosen = {name: value for name, value in said.items() if value is not None}
        for token in body.stop_token_ids or ():
            self._check_token(token)
        return Settings.of(
            **(recommended(self.gpt.card, chosen) | chosen),
            max_tokens=max_tokens,
            stop=body.stop or (),
            stop_tokens=stop_tokens.union(body.stop_token_ids or ()),
            alternatives=alternatives,
            seed=None if body.seed is None else body.seed % 2**64,
        )

    def conversing(self, said: dict[str, Any]) -> dict[str, Any]:
        """A conversation's settings: what is not said is what the model's card recommends."""
        return {
            "max_tokens": _LENGTH,
            **drawn(self.gpt, recommended(self.gpt.card, said) | said),
        }

    def _check_token(self, token: int) -> None:
        if token >= self.gpt.hparams.n_vocab:
            raise ApiError(
                400,
                f"token {token} is not in the vocabulary 0…{self.gpt.hparams.n_vocab - 1}",
                code="invalid_value",
                param="stop_token_ids",
            )

    def run(
        self,
        request: Request,
        prompts: Several[Several[int]],
        settings: Settings,
        *,
        n: int = 1,
        score_prompt: bool = False,
        watch: Watch | None = None,
    ) -> Run:
        """n texts for each prompt, side by side. Each of the n has a seed of its own. watch: what
        is to be seen and changed of them; then they run beside the others."""
        limits = self.engine.limits
        most = limits.max_running + limits.max_waiting
        if len(prompts) * n > most:
            raise InputError(f"{len(prompts) * n} texts at once; this server takes at most {most}")
        client = request.client.host if request.client else ""
        asks = [
            Ask(
                prompt=tuple(prompt),
                settings=_another(settings, choice),
                client=client,
                score_prompt=score_prompt,
            )
            for prompt in prompts
            for choice in range(n)
        ]
        return self._run(asks, watch)

    def go_on(self, request: Request, sequence: Sequence, watch: Watch | None = None) -> Run:
        """One text, some of which may be there already."""
        client = request.client.host if request.client else ""
        ask = Ask(prompt=sequence.prompt, settings=sequence.settings, client=client, begun=sequence)
        return self._run([ask], watch)

    def _run(self, asks: Several[Ask], watch: Watch | None) -> Run:
        engine: Runner = self.engine if watch is None else self.inspection.watched(watch)
        return Run(engine, asks, on_first=self.metrics.first_token, watch=watch)


def _called(name: str) -> str:
    """Of a path the folder's name; a run's own models, RUN/model and RUN/best, are called RUN."""
    path = Path(name)
    run = path.parent.name if path.name in ("model", "best") else ""
    return run or path.name or "model"


def _another(settings: Settings, choice: int) -> Settings:
    if settings.seed is None or not choice:
        return settings
    return settings.changed(seed=settings.seed + choice)


def new_id(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex}"


def finish_reason(piece: Piece) -> FinishReason:
    return "stop" if piece.reason in ("stop token", "stop text") else "length"


def usage(pieces: Iterable[Piece], n: int = 1) -> Usage:
    """pieces: n for each prompt, which is counted once."""
    listed = list(pieces)
    prompt = sum(len(piece.prompt) for piece in listed[::n])
    generated = sum(len(piece.steps) for piece in listed)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": {"cached_tokens": sum(p.cached_tokens for p in listed[::n])},
    }
