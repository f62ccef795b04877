"""Any Pellucid checkpoint under EleutherAI's lm_eval. Needs the extra `[eval]`.

Importing this module registers the model as "pellucid":

    from pellucid.evaluate.lm import PellucidLM
    lm_eval.simple_evaluate(PellucidLM(gpt), tasks=["lambada_openai"])
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InputError

try:
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
except ImportError as error:
    raise InputError('this needs lm_eval: pip install "pellucid[eval]"') from error

from ..gpt import GPT, load
from ..sampling import Sampling
from .likelihood import perplexity
from .lm_chat import Chat
from .scoring import loglikelihoods, pair

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PellucidLM"]

# Names of one setting, the first that is there counts, as in lm_eval's `normalize_gen_kwargs`.
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_LONGEST = 256  # where none is set; lm_eval's own


@register_model("pellucid")  # type: ignore[untyped-decorator, unused-ignore]
class PellucidLM(LM):  # type: ignore[misc, unused-ignore]
    """gpt: a GPT; or model: what `pellucid.load` takes, with its backend, device and dtype.

    An empty context is the end-of-text token; a context too long loses its beginning.
    template: how a chat is written (lm_eval's `apply_chat_template`); None: the model's own.
    """

    def __init__(
        self,
        gpt: GPT | None = None,
        model: str | None = None,
        backend: str = "auto",
        device: str | None = None,
        dtype: str | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        template: str | None = None,
    ) -> None:
        super().__init__()
        self.gpt = gpt or load(model, backend=backend, device=device, dtype=dtype)
        # lm_eval's command line says 1 when nobody says anything; None packs by length.
        size = str(batch_size)
        self.batch = int(size) if size.isdigit() and int(size) > 1 else None
        self._chat = Chat(self.gpt, template)

    # Chats, as `--apply_chat_template` and `--fewshot_as_multiturn` ask for them

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True
    ) -> str:
        """Messages of role and content -> a text that the requests then begin with. Without the
        generation prompt the last message is the beginning of the reply."""
        return self._chat.write(chat_history, goes_on=not add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template's name, which may be given. Raises InputError for one that is unknown."""
        if not chat_template:
            return None
        if isinstance(chat_template, str):
            self._chat = Chat(self.gpt, chat_template)
        return self._chat.template.name

    @property
    def tokenizer_name(self) -> str:
        """What tells lm_eval's caches apart."""
        own = self.gpt.tokenizer.fingerprint()[:16]
        return f"pellucid-{own}-{self._chat.template.name}"

    # Requests

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        special = self._chat.special
        pairs = (self._chat.checked(*request.args) for request in requests)
        rows = (pair(self.gpt, before, after, special) for before, after in pairs)
        answers: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        for scored in loglikelihoods(self.gpt, rows, batch=self.batch):
            answers[scored.row] = float(scored.logprobs.sum()), bool(scored.greedy.all())
        return answers

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Disjoint windows, the last filled to the front: `perplexity` with its defaults."""
        return [
            -perplexity(self.gpt, request.args[0], batch=self.batch).nats
            if request.args[0]
            else 0.0
            for request in requests
        ]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        return [self._generate(*request.args) for request in requests]

    def _generate(self, context: str, settings: Mapping[str, Any]) -> str:
        """As lm_eval's own models: a context that leaves no room for what is to be generated
        loses its beginning, and no more than that."""
        window = self.gpt.hparams.n_ctx
        self._chat.checked(context)
        tokenizer = self.gpt.tokenizer
        ids = tokenizer.framed(tokenizer.encode(context, self._chat.special), ends=False)
        asked = _Asked.of(settings, len(ids))
        longest = asked.max_tokens
        if longest >= window:
            longest = max(1, window - max(1, len(ids)))
            _warn(
                f"{asked.max_tokens} tokens cannot be generated in a window of {window} tokens, "
                "the context's included: as many are as fit after it"
            )
        room = max(1, window - longest)
        if len(ids) > room:
            _warn(f"contexts lose their beginning: {longest} tokens are to follow in {window}")
        ids = ids[-room:]
        return self.gpt.generate(
            ids,
            max_tokens=longest,
            stop=asked.until,
            stop_tokens=self.gpt.stop_tokens | self._chat.stops,
            seed=asked.seed,
            **asked.sampling,
        ).text


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What a request's settings mean. seed: drawn from Python's own generator, which lm_eval
    seeds, where the settings say none."""

    max_tokens: int
    until: tuple[str, ...]
    sampling: Mapping[str, Any]
    seed: int

    @classmethod
    def of(cls, settings: Mapping[str, Any], n_context: int) -> _Asked:
        """Named as lm_eval, transformers or OpenAI name them; what none of them is gets a
        warning. Raises InputError for a value out of range."""
        rest = {name: value for name, value in settings.items() if value is not None}
        most = [rest.pop(name) for name in _LENGTHS if name in rest]
        whole = rest.pop("max_length", None)  # with the context
        if not most and whole is not None:
            most = [max(0, int(whole) - n_context)]
        until = rest.pop("until", ())
        sample = rest.pop("do_sample", None)
        if not isinstance(sample, bool | None):
            raise InputError(f"do_sample must be true or false, not {sample!r}")
        temperature = float(rest.pop("temperature", 1.0 if sample else 0.0))
        drawn = random.getrandbits(32) if "seed" not in rest else int(rest.pop("seed"))
        known = set(Sampling.__dataclass_fields__) - {"greedy", "temperature"}
        chosen = {name: rest.pop(name) for name in sorted(known & set(rest))}
        if chosen.get("top_k") == 0:  # transformers' way to say: all
            del chosen["top_k"]
        greedy = sample is False or not temperature
        if sample and not temperature:
            _warn("do_sample with a temperature of 0: the likeliest token is taken each time")
        if rest:
            _warn(f"not known here and without effect: {', '.join(sorted(rest))}")
        return cls(
            max_tokens=int(most[0]) if most else _LONGEST,
            until=(until,) if isinstance(until, str) else tuple(until),
            sampling={"greedy": greedy, "temperature": 1.0 if greedy else temperature, **chosen},
            seed=drawn,
        )


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=5)
