"""E5: the server held to its own OpenAPI document, by Schemathesis."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from support.skips import needs

needs("fastapi", "schemathesis")

from pellucid.serve.events import EngineLimits  # noqa: E402
from support.program import captured  # noqa: E402
from support.server import serving, talker  # noqa: E402

# What is too long for its field may be too long for a body (413) or for a request's line (431).
CONFIGURATION = """
request-timeout = 60

[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 413, 415, 429, 431]
"""
HERE = Path(__file__).parent


@pytest.mark.parametrize("examples", [3, pytest.param(1000, marks=pytest.mark.slow)])
def test_it_does_what_its_document_says(examples, tmp_path) -> None:
    """All checks: no server error, answers as declared, what is valid accepted and all else
    refused. Nothing runs afterwards, and the engine is what it was."""
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION, "utf-8")
    phases = "examples,fuzzing" if examples < 1000 else "examples,coverage,fuzzing"  # minutes
    limits = EngineLimits(max_running=16, max_waiting=1024)  # of 128 prompts, eight times each
    with serving(talker(1 << 14), engine_limits=limits, store=tmp_path / "a.db") as server:
        done = captured(
            [
                sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json",
                "--checks", "all", "--phases", phases,
                "--max-examples", examples, "--generation-deterministic", "--no-color",
            ],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)]),
                "SCHEMATHESIS_HOOKS": "support.schema_hooks",
            },
            timeout=3600,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"\b(\d+) generated, \1 passed\b", done.stdout), done.stdout
        assert server.service.engine.alive
        assert server.idle
        assert server.client.get("/health").status_code == 200


def test_the_document_names_this_model_and_its_tokens() -> None:
    with serving(talker()) as server:
        document = server.client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    model = schemas["ChatRequest"]["properties"]["model"]["anyOf"][0]
    assert model == {"type": "string", "enum": ["talker"]}
    tokens = schemas["DetokenizeRequest"]["properties"]["tokens"]["items"]
    assert tokens == {"type": "integer", "minimum": 0, "maximum": 294}
    text = str(document)
    assert "422" not in text
    assert "x-token" not in text
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["description"]
