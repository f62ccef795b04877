"""`pellucid serve` as a program: how it begins, what it prints, how it ends."""

from __future__ import annotations

import shlex
import signal
import sys

import httpx
import pytest

from support.skips import needs

needs("fastapi", "POSIX")

from pellucid.serve.main import KEY  # noqa: E402
from support.program import captured, in_turn, process  # noqa: E402
from support.server import asked_by_curl, eventually, started  # noqa: E402

LONG = {"prompt": "Once upon a time", "max_tokens": 240, "stream": True, "temperature": 0}


def test_it_says_where_it_is_and_what_it_says_works() -> None:
    with started() as program:
        answer = asked_by_curl(program.curl)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == "chat"
        assert answer.json()["choices"][0]["message"]["content"]
        assert program.url.startswith("http://127.0.0.1:")
        assert program.end(signal.SIGINT) == 0
    assert any("POST /v1/chat/completions 200" in line for line in program.errors)


def test_open_says_where_the_page_is() -> None:
    code = "import sys; sys.argv[1] = 'open'; from pellucid.cli import main; main()"
    with started("--model", "talk", "--no-browser", "--no-store", code=code) as program:
        assert "<title>Pellucid</title>" in httpx.get(program.url, timeout=60).text
        assert httpx.get(f"{program.url}/v1/models", timeout=60).json()["data"][0]["id"] == "talk"
        assert program.end(signal.SIGINT) == 0


def test_a_key_from_a_file(tmp_path) -> None:
    keys = tmp_path / "the keys"
    keys.write_text("a-long-enough-key\n\nanother-long-key\n", encoding="ascii")
    with started("--api-key-file", keys, "--name", "me", "--model", "talk") as program:
        header = shlex.split(program.curl)[3]
        shown = captured(["sh", "-c", f'printf %s "{header}"']).stdout
        assert shown == "Authorization: Bearer a-long-enough-key"
        url = f"{program.url}/v1/models"
        assert httpx.get(url, timeout=60).status_code == 401
        for key in ("a-long-enough-key", "another-long-key"):
            answer = httpx.get(url, headers={"authorization": f"Bearer {key}"}, timeout=60)
            assert answer.json()["data"][0]["id"] == "me"
        assert program.end() == 0
    assert "long" not in "".join(program.errors)


def test_a_key_from_the_environment() -> None:
    with started("--model", "talk", "--host", "0.0.0.0", **{KEY: "a-long-enough-key"}) as program:
        assert f'"Authorization: Bearer ${KEY}"' in program.curl
        line = program.curl.replace(f"${KEY}", "a-long-enough-key")
        assert asked_by_curl(line).status_code in (
            200,
            400,
        )  # the model's window is of eight tokens
        assert program.end() == 0


@pytest.mark.parametrize("grace", [120, 0])
def test_it_drains_or_breaks_off(grace) -> None:
    """E10: what is under way ends well within the grace; after it, with an error. Nothing new is
    taken, and the exit code is 0."""
    with started("--grace", grace) as program:
        stream = httpx.stream("POST", f"{program.url}/v1/completions", json=LONG, timeout=60)
        with stream as answer:
            parts = answer.iter_text()
            first = next(parts)
            program.child.send_signal(signal.SIGTERM)
            rest = first + "".join(parts)
        assert program.child.wait(90) == 0
    whole = rest.endswith("data: [DONE]\n\n")
    assert whole or '"code":"unavailable"' in rest
    assert whole or not grace


def test_a_second_signal_does_not_wait() -> None:
    with started("--grace", 3600) as program:
        body = {**LONG, "prompt": ["Once upon a time"] * 8, "n": 4}
        stream = httpx.stream("POST", f"{program.url}/v1/completions", json=body, timeout=60)
        with stream as answer:
            parts = answer.iter_text()
            next(parts)
            program.child.send_signal(signal.SIGTERM)

            def refused() -> bool:
                try:
                    return httpx.get(f"{program.url}/health", timeout=60).status_code == 503
                except httpx.TransportError:
                    return True

            eventually(refused)
            program.child.send_signal(signal.SIGTERM)
            rest = "".join(parts)
        assert program.child.wait(90) == 0
    assert '"code":"unavailable"' in rest
    assert "[DONE]" not in rest


REFUSED = {
    ("--host", "0.0.0.0"): "clients must show a key",
    ("--host", "::"): "clients must show a key",
    ("--host", "no.such.host.invalid"): "no address of this machine",
    ("--host", "192.0.2.7"): "cannot listen",
    ("--host", "a\0b"): "no address of this machine",
    ("--api-key-file", "EMPTY"): "holds no key",
    ("--api-key-file", "SHORT"): "at least 8 ASCII characters",
    ("--allow-origin", "chat.example"): "https://chat.example",
    ("--model", "nothing-here/at-all"): "nothing-here",
    ("--template", "sonnet"): "no chat template",
    ("--cache", "1k"): "cache_bytes is 1024",
    ("--speculate", "talk"): "talk has other tokens",
    ("--model", "talk", "--template", "roles"): "plain",
}


def test_what_cannot_be_is_said_in_one_line(tmp_path) -> None:
    (tmp_path / "EMPTY").write_text("\n", encoding="ascii")
    (tmp_path / "SHORT").write_text("key\n", encoding="ascii")
    asked = [("serve", "--port", 0, *arguments) for arguments in REFUSED]
    for done, said in zip(in_turn(asked, cwd=tmp_path), REFUSED.values(), strict=True):
        assert (done.code, done.stdout) == (2, "")
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_said() -> None:
    with started("--model", "talk") as program:
        port = program.url.rpartition(":")[2]
        done = process("serve", "--port", port)
        assert done.returncode == 2
        assert f"cannot listen on port {port}" in done.stderr
        assert "--port" in done.stderr


def test_a_base_install_says_what_it_lacks() -> None:
    code = """
import sys
from pellucid.cli import main
before = set(sys.modules)
for name in ("fastapi", "uvicorn", "prometheus_client", "pydantic"):
    for known in set(sys.modules) - before:
        if known.startswith("pellucid.") or known.partition(".")[0] == name:
            del sys.modules[known]
    sys.modules[name] = None
    try:
        main()
    except SystemExit as end:
        print(name, end.code)
    del sys.modules[name]
"""
    done = captured([sys.executable, "-c", code, "serve"])
    names = ("fastapi", "uvicorn", "prometheus_client", "pydantic")
    assert done.stdout.splitlines() == [f"{name} 2" for name in names], done.stderr
    assert done.stderr.count('pip install "pellucid[serve]"') == len(names)


def test_it_opens_no_connection_and_writes_no_file(tmp_path) -> None:
    """E13, by Python's own audit events."""
    log = tmp_path / "events"
    code = f"""
import sys
seen = open({str(log)!r}, "w", buffering=1)
def watch(event, given):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo"):
        seen.write(f"{{event}} {{given[-1 if event != 'socket.getaddrinfo' else 0]}}\\n")
    if event == "open" and isinstance(given[1], str) and set(given[1]) & set("wax+"):
        seen.write(f"open {{given[0]}}\\n")
    if event in ("subprocess.Popen", "os.system", "os.exec"):
        seen.write(event + "\\n")
sys.addaudithook(watch)
from pellucid.cli import main
main()
"""
    with started(code=code, HF_HUB_OFFLINE="0", PYTHONDONTWRITEBYTECODE="1") as program:
        assert asked_by_curl(program.curl).status_code == 200
        for path in ("/v1/models", "/metrics", "/openapi.json", "/health", "/nothing"):
            httpx.get(program.url + path, timeout=60)
        for body in (LONG, {"prompt": "http://192.0.2.1/file:///etc/passwd"}, {"prompt": 5}):
            httpx.post(f"{program.url}/v1/completions", json=body, timeout=60)
        image = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/"}}
        body = {"messages": [{"role": "user", "content": [image]}]}
        answer = httpx.post(f"{program.url}/v1/chat/completions", json=body, timeout=60)
        assert answer.status_code == 400
        assert program.end() == 0
    assert log.read_text().splitlines() == ["socket.getaddrinfo 127.0.0.1"]
