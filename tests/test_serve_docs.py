"""docs/serve.md: every client's lines are run, against a server with the model they name."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.skips import needs

needs("fastapi")

from support.docs_commands import blocks  # noqa: E402
from support.program import captured  # noqa: E402
from support.server import Served, in_turn_by_curl, serving  # noqa: E402

PAGE = "docs/serve.md"
URL = "http://127.0.0.1:8000"
LAMBADA = """
task: lambada_openai
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: loglikelihood
doc_to_text: "{{{{text.split(' ')[:-1]|join(' ')}}}}"
doc_to_target: "{{{{' '+text.split(' ')[-1]}}}}"
metric_list:
  - {{metric: perplexity, aggregation: perplexity, higher_is_better: false}}
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
"""


@pytest.fixture(scope="module")
def served(chat, tmp_path_factory) -> Iterator[Served]:
    with serving(chat, store=tmp_path_factory.mktemp("kept") / "a.db") as server:
        yield server


def lines(program: str, url: str, page: str = PAGE) -> list[str]:
    """A page's commands of one program, to this server."""
    text = "".join(block for language, block in blocks(page) if language == "bash")
    found = [line for line in text.splitlines() if line.startswith(f"{program} ")]
    assert found
    return [line.replace(URL, url) for line in found]


def code(module: str, url: str) -> str:
    (block,) = [b for kind, b in blocks(PAGE) if kind == "python" and f"from {module} " in b]
    return block.replace(URL, url)


def test_the_page_holds_no_other_client() -> None:
    text = "".join(block for language, block in blocks(PAGE) if language == "bash")
    assert {line.split()[0] for line in text.splitlines()} == {"curl", "llm", "lm_eval"}
    modules = [re.search(r"from (\w+) ", b)[1] for kind, b in blocks(PAGE) if kind == "python"]
    assert modules == ["openai", "langchain_openai"]


def test_curl(served) -> None:
    answers = in_turn_by_curl(lines("curl", served.url))
    assert [answer.status_code for answer in answers] == [200] * 4 + [201, 200, 200]
    chat, stream, scored, tokens, begun, said, listed = answers
    assert said.json()["kept"]["kept"]
    assert [each["id"] for each in listed.json()["data"]] == [begun.json()["id"]]
    assert chat.json()["choices"][0]["message"]["content"]
    assert stream.text.endswith("data: [DONE]\n\n")
    assert len(scored.json()["choices"][0]["logprobs"]["tokens"]) == tokens.json()["count"]
    assert "".join(tokens.json()["token_strs"]) == "Once upon a time"


def test_curl_and_a_conversation(served) -> None:
    answers = in_turn_by_curl(lines("curl", served.url, "docs/conversations.md"))
    statuses = [answer.status_code for answer in answers]
    assert statuses == [201, *[200] * 10, 202, 200], [answer.text[:200] for answer in answers]
    begun, first, stream, edited, again, other = answers[:6]
    tree, reply, changed, found, read, job, gone = answers[6:]
    assert stream.text.endswith("data: [DONE]\n\n")
    assert [len(tree.json()["messages"]), tree.json()["leaf"]] == [
        8, other.json()["conversation"]["reply"],
    ]  # fmt: skip
    assert reply.json()["generated"]["tokens"] == other.json()["tokens"]
    assert edited.json()["conversation"]["message"] != first.json()["conversation"]["message"]
    assert again.json()["conversation"]["source"] == edited.json()["conversation"]["reply"]
    assert changed.json()["title"] == "A story"
    assert begun.json()["id"] in {each["id"] for each in found.json()["data"]}
    assert read.text.startswith("# A story")
    assert job.json()["kind"] == "why"
    assert gone.json()["deleted"]


def test_openai(served) -> None:
    needs("openai")
    assert run(code("openai", served.url)).count("\n") >= 2


def test_langchain(served) -> None:
    needs("langchain_openai")
    assert run(code("langchain_openai", served.url)).count("\n") >= 2


def run(text: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, PAGE, "exec"), {})
    return printed.getvalue()


def test_llm(served, tmp_path) -> None:
    needs("llm")
    (models,) = [block for language, block in blocks(PAGE) if language == "yaml"]
    (tmp_path / "extra-openai-models.yaml").write_text(models.replace(URL, served.url), "utf-8")
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path)}
    for line in lines("llm", served.url):
        words = [sys.executable, "-m", *shlex.split(line)]
        done = captured(words, env=environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


def test_lm_evals_scores_are_those_without_the_server(served, tmp_path) -> None:
    """On a task of its own, whose name the page's stands for."""
    needs("lm_eval", "lm_eval's API models")
    from pellucid.evaluate import lambada

    texts = ["Once upon a time there was a little girl", "The dog ran after the ball", "I am happy"]
    file = tmp_path / "lines.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "lambada.yaml").write_text(LAMBADA.format(file=file), "utf-8")
    (line,) = lines("lm_eval", served.url)
    done = captured(
        [sys.executable, "-m", *shlex.split(line), "--include_path", tmp_path / "tasks",
         "--output_path", tmp_path / "out"],
        env={**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_DATASETS_OFFLINE": "1"},
        cwd=tmp_path,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (results,) = Path(tmp_path / "out").rglob("results_*.json")
    through = json.loads(results.read_text("utf-8"))["results"]["lambada_openai"]
    offline = lambada(served.service.gpt, texts).metrics
    assert through["acc,none"] == offline["accuracy"]
    assert through["perplexity,none"] == pytest.approx(offline["perplexity"], rel=1e-5)
