"""Who may ask: keys, names, origins; and that a key is told to nobody."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from http.client import HTTPConnection

import httpx
import pytest

from support.skips import needs

needs("fastapi")

from pellucid.serve.access import LOOPBACK, Access  # noqa: E402
from support.server import Served, eventually, serving, talker  # noqa: E402

KEYS = ("first-key-of-two", "second-key-of-two")
CHAT = {"messages": [{"role": "user", "content": "the cat"}], "max_tokens": 2}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    access = Access(
        keys=KEYS,
        hosts=LOOPBACK | {"chat.example"},
        origins=frozenset({"https://page.example"}),
    )
    with serving(talker(), access=access) as server:
        yield server


def spellings(path: str) -> list[str]:
    """Other ways to write a path, by which a check could be gone round."""
    return [
        path, f"{path}/", f"/{path}", path.replace("/", "//"), f"/.{path}", f"/health/..{path}",
        path.replace("e", "%65", 1), path.replace("/", "/%2e/", 1), f"{path}%2f", f"{path};a=b",
        f"{path}?key=1", path.upper(), f"/health%2f..{path}", f"{path}%00", f"/health{path}",
    ]  # fmt: skip


def test_every_route_asks_for_a_key(served) -> None:
    """E11: each path by each method, each spelling of it by two; but /health, and the page's own
    files, which are the same for everyone."""
    document = served.client.get("/openapi.json", headers=bearer(KEYS[0])).json()
    paths = [path.replace("{model}", "talker") for path in document["paths"]]
    assert len(paths) > 5
    client = HTTPConnection("127.0.0.1", served.port)  # sends a path as it stands
    files = ["/", "/page/start.json", "/page/app/app.js", "/page/page/page.css"]
    hidden = ["/page", "/page/", "/page/__init__.py", "/page/app", "/page/nothing.js"]
    for path in [*paths, *files, *hidden, "/openapi.json", "/docs", "/nothing"]:
        for spelled in spellings(path):
            others = ("PUT", "DELETE", "PATCH", "HEAD", "OPTIONS") if spelled == path else ()
            for method in ("GET", "POST", *others):
                client.request(method, spelled, b"{}", JSON)
                answer = client.getresponse()
                answer.read()
                plain = spelled.partition("?")[0]
                if plain == "/health":
                    assert answer.status == (200 if method == "GET" else 405)
                elif plain in files:
                    assert answer.status == (200 if method in ("GET", "HEAD") else 405)
                else:
                    assert answer.status == 401, (method, spelled)
                    assert answer.headers["www-authenticate"] == "Bearer"
    client.close()


JSON = {"content-type": "application/json"}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        *((f"Bearer {key}", 200) for key in KEYS), (f"bearer {KEYS[0]}", 200), ("", 401),
        ("Bearer", 401), (KEYS[0], 401), (f"Basic {KEYS[0]}", 401),
        (f"Bearer {KEYS[0][:-1]}", 401), (f"Bearer {KEYS[0]}x", 401), ("Bearer é", 401),
        (f"Bearer {KEYS[0]} {KEYS[1]}", 401),
    ],
)  # fmt: skip
def test_a_key_fits_or_not(served, authorization, status) -> None:
    headers = {"authorization": authorization.encode("latin-1")}
    assert served.client.get("/v1/models", headers=headers).status_code == status


def own_lines(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "pellucid.serve"]


def test_a_key_is_told_to_nobody(served, caplog) -> None:
    wrong = "a-wrong-key-of-somebody"
    with caplog.at_level(logging.DEBUG):
        told = [
            served.client.post(path, json=body, headers=bearer(key)).text
            for key in (KEYS[0], wrong)
            for path, body in (("/v1/chat/completions", CHAT), ("/v1/completions", {}), ("/x", {}))
        ]
        told.append(served.client.get("/metrics", headers=bearer(KEYS[1])).text)
        told.append(served.client.get("/openapi.json", headers=bearer(KEYS[1])).text)
        eventually(lambda: len(own_lines(caplog)) >= len(told))
    own = own_lines(caplog)
    for key in (*KEYS, wrong):
        assert key not in "\n".join([*told, *own])


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        *((name, True) for name in ("localhost", "localhost:8000", "LOCALHOST", "127.0.0.1:1")),
        *((name, True) for name in ("[::1]:80", "[::1]", "chat.example:443", "localhost.")),
        *((name, False) for name in ("evil.com", "evil.com:8000", "localhost.evil.com", "")),
        *((name, False) for name in ("10.0.0.1", "[::2]", "127.0.0.1@evil.com", "a]b", "0.0.0.0")),
    ],
)
def test_a_name_that_is_not_its_own_is_refused(served, host, allowed) -> None:
    """E12; a page on another name, which resolves to this machine, gets nothing."""
    answer = served.client.get("/health", headers={"host": host})
    assert answer.status_code == (200 if allowed else 403)


def test_where_others_reach_it_every_address_is_its_own() -> None:
    with serving(talker(), access=Access(any_address=True)) as server:
        for host, status in (("10.0.0.1:8000", 200), ("[2001:db8::1]", 200), ("evil.com", 403)):
            assert server.client.get("/health", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://page.example", True), ("http://page.example", False), ("null", False),
        ("https://page.example.evil.com", False), ("https://evil.com", False), ("", False),
        ("file://", False), ("https://[", False),
    ],
)  # fmt: skip
def test_a_page_from_elsewhere_is_refused(served, origin, allowed) -> None:
    headers = {"origin": origin, **bearer(KEYS[0])}
    answer = served.client.post("/v1/chat/completions", json=CHAT, headers=headers)
    assert answer.status_code == (200 if allowed else 403)
    shared = answer.headers.get("access-control-allow-origin")
    assert shared == (origin if allowed else None)
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["vary"] == "origin"
    asking = {"access-control-request-method": "POST", "origin": origin}
    preflight = served.client.options("/v1/chat/completions", headers=asking)
    assert preflight.status_code == (200 if allowed else 403)
    assert ("access-control-allow-headers" in preflight.headers) is allowed


def test_its_own_pages_may_ask() -> None:
    with serving(talker()) as server:
        for origin, status in ((server.url, 200), (server.url + "0", 403)):
            answer = server.client.get("/v1/models", headers={"origin": origin})
            assert answer.status_code == status
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_what_a_form_can_send_is_no_body(served, kind) -> None:
    """A page may send these anywhere without asking."""
    answer = httpx.post(
        f"{served.url}/v1/chat/completions",
        content=b'{"messages": []}',
        headers=bearer(KEYS[0]) | {"content-type": kind},
        timeout=60,
    )
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"


def test_a_log_obeys_nobody(served, caplog) -> None:
    with caplog.at_level(logging.INFO):
        served.client.get("/%0d%0aGET%20/fake%20200%1b[2J", headers=bearer(KEYS[0]))
        eventually(lambda: any("fake" in line for line in own_lines(caplog)))
    (line,) = [line for line in own_lines(caplog) if "fake" in line]
    assert line.isprintable()
    assert "␛" in line
