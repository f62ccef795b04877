"""Any Pellucid checkpoint under EleutherAI's lm_eval. Needs the extra `[eval]`.

Importing this module registers the model as "pellucid":

    from pellucid.evaluate.lm import PellucidLM
    lm_eval.simple_evaluate(PellucidLM(gpt), tasks=["lambada_openai"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InputError

try:
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
except ImportError as error:
    raise InputError('this needs lm_eval: pip install "pellucid[eval]"') from error

from ..gpt import GPT, load
from ..sampling import Sampling
from .perplexity import perplexity
from .scoring import loglikelihoods, pair

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PellucidLM"]


@register_model("pellucid")  # type: ignore[untyped-decorator, unused-ignore]
class PellucidLM(LM):  # type: ignore[misc, unused-ignore]
    """gpt: a GPT; or model: what `pellucid.load` takes, with its backend, device and dtype.

    An empty context is the end-of-text token; a context too long loses its beginning.
    """

    def __init__(
        self,
        gpt: GPT | None = None,
        model: str | None = None,
        backend: str = "numpy",
        device: str | None = None,
        dtype: str | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.gpt = gpt or load(model, backend=backend, device=device, dtype=dtype)
        # lm_eval's command line says 1 when nobody says anything; None packs by length.
        size = str(batch_size)
        self.batch = int(size) if size.isdigit() and int(size) > 1 else None

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        rows = (pair(self.gpt, *request.args) for request in requests)
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

    def _generate(self, context: str, settings: dict[str, Any]) -> str:
        until = settings.get("until") or ()
        longest = int(settings.get("max_gen_toks", 256))
        n_ctx = self.gpt.hparams.n_ctx
        ids = self.gpt.encode(context)[-max(1, n_ctx - longest) :]
        sampling: dict[str, Any] = {"greedy": True}
        if settings.get("do_sample"):
            known = Sampling.__dataclass_fields__
            sampling = {k: v for k, v in settings.items() if k in known}
        return self.gpt.generate(ids, max_tokens=longest, stop=until, **sampling).text
