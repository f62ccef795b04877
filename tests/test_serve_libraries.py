"""The server as other people's programs use it: simonw/llm and lm_eval's local-completions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from support.skips import needs

needs("fastapi")

from pellucid.chat import Conversation  # noqa: E402
from support.program import python  # noqa: E402
from support.server import WORDS, Served, serving, talker  # noqa: E402

KEY = "a-long-enough-key"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(talker(), key=KEY) as server:
        yield server


# simonw/llm

MODELS = """
- {{model_id: chat, model_name: talker, api_base: "{url}/v1", api_key_name: pellucid}}
- {{model_id: text, model_name: talker, api_base: "{url}/v1", api_key_name: pellucid,
   completion: true}}
- {{model_id: responses, model_name: talker, api_base: "{url}/v1", api_key_name: pellucid,
   responses: true}}
"""


# Its commands one after another, what each printed as a line of JSON: it takes seconds to start.
COMMANDS = """
import contextlib, io, json, sys
from llm.cli import cli
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        cli(words, standalone_mode=False)
    print(json.dumps(printed.getvalue()))
"""
WAYS = [(model, stream) for model in ("chat", "text", "responses") for stream in (True, False)]


@pytest.fixture(scope="module")
def printed(served, tmp_path_factory) -> dict[tuple[str, bool], str]:
    needs("llm")
    folder = tmp_path_factory.mktemp("llm")
    (folder / "extra-openai-models.yaml").write_text(MODELS.format(url=served.url), "utf-8")
    (folder / "keys.json").write_text(f'{{"pellucid": "{KEY}"}}', "utf-8")
    asked = [
        [
            "-m", model, "the cat", "-o", "temperature", "0", "-o", "max_tokens", "9",
            *(() if stream else ("--no-stream",)), "--no-log",
        ]
        for model, stream in WAYS
    ]  # fmt: skip
    environment = os.environ | {"LLM_USER_PATH": str(folder)}
    done = python(COMMANDS, json.dumps(asked), env=environment)
    assert done.returncode == 0, done.stderr
    return dict(zip(WAYS, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize(("model", "stream"), WAYS)
def test_llm_prints_the_reply(served, printed, model, stream) -> None:
    gpt = served.service.gpt
    if model == "text":
        own = gpt.generate("the cat", greedy=True, max_tokens=9).text
    else:
        own = Conversation(gpt, greedy=True, max_tokens=9).say("the cat").text
    assert printed[model, stream] == own + "\n"


# lm_eval

PAIRS = [
    ("the cat sat", " on a mat"), ("the king went home", " to dinner"), ("", "the cat"),
    ("the cat sat ", "on a mat"), (WORDS, " and the king"),
    ("a" * 254, " mat"),  # the longest: with the one token that lm_eval lets follow, the window
]  # fmt: skip


def requests(*arguments: Any) -> list[Any]:
    """As lm_eval's instances, as far as a model reads them."""
    return [SimpleNamespace(args=each, request_type="loglikelihood") for each in arguments]


@pytest.fixture(scope="module", params=[1, 4])
def both(request, served) -> Any:
    """(through the API, offline). params: requests side by side."""
    needs("lm_eval", "lm_eval's API models")
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    from pellucid.evaluate.lm import PellucidLM

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        through = LocalCompletionsAPI(
            base_url=f"{served.url}/v1/completions",
            model="talker",
            auth_token=KEY,
            max_length=served.service.gpt.hparams.n_ctx,
            num_concurrent=request.param,
            batch_size=2,
        )
        assert through.tokenizer_backend == "remote"
        yield through, PellucidLM(served.service.gpt)


def test_lm_evals_likelihoods_are_those_of_offline(both) -> None:
    """A sum of log-probabilities in float64, of the same model in float32."""
    through, offline = (lm.loglikelihood(requests(*PAIRS)) for lm in both)
    for (mine, greedy), (other, other_greedy) in zip(through, offline, strict=True):
        assert mine == pytest.approx(other, abs=2e-5)
        assert greedy == other_greedy


def test_lm_evals_rolling_likelihoods_are_those_of_offline(both) -> None:
    texts = requests(("the cat sat on a mat",), (WORDS,))
    through, offline = (lm.loglikelihood_rolling(texts) for lm in both)
    assert through == pytest.approx(offline, abs=2e-5)


def test_lm_evals_generations_are_those_of_offline(both) -> None:
    asked = [
        ("the cat", {"until": ["at"], "max_gen_toks": 12, "temperature": 0}),
        ("the king went", {"until": ["l"], "max_gen_toks": 12, "temperature": 0}),
        (WORDS, {"until": [], "max_gen_toks": 7, "temperature": 0}),
    ]
    through, offline = (lm.generate_until(requests(*asked)) for lm in both)
    assert through == offline
