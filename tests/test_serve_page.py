"""The page's files over HTTP: what they may do, and that nothing else is served."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from http.client import HTTPConnection

import pytest

from pellucid import inspect, web
from support.skips import needs

needs("fastapi")

from support.server import Served, serving, talker  # noqa: E402

SCRIPT = 150_000  # bytes of script that the page may have in all
POLICY = {
    "default-src": "'none'", "script-src": "'self'", "style-src": "'self'",
    "img-src": "'self' data:", "connect-src": "'self'", "base-uri": "'none'",
    "form-action": "'none'", "frame-ancestors": "'none'",
}  # fmt: skip


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(talker()) as server:
        yield server


def files() -> list[str]:
    return sorted(name for name in web.names() if name.endswith((".js", ".css")))


def test_every_file_is_served_as_it_stands(served) -> None:
    for path, name in [("/", "app/index.html"), *((f"/page/{name}", name) for name in files())]:
        answer = served.client.get(path)
        assert answer.status_code == 200, path
        assert answer.text == web.text(name)
        kind = {"js": "text/javascript", "css": "text/css", "html": "text/html"}
        assert answer.headers["content-type"].startswith(kind[name.rpartition(".")[2]])
        policy = answer.headers["content-security-policy"].split("; ")
        assert dict(part.split(" ", 1) for part in policy) == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        again = served.client.get(path, headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = served.client.head(path)
        assert head.headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize(
    "path",
    [
        "/page/__init__.py", "/page/../pyproject.toml", "/page/app/../../errors.py", "/page/app",
        "/page/%2e%2e/errors.py", "/page/..%2ferrors.py", "/page//app/app.js", "/page/app/app.js/",
        "/page/app/app.js%00", "/page/app\\app.js", "/page/APP/app.js", "/page/app/index.html",
        "/page//etc/passwd", "/page/C:/x.js", "/app/app.js", "//page/app/app.js",
    ],
)  # fmt: skip
def test_nothing_else_is_there(served, path) -> None:
    client = HTTPConnection("127.0.0.1", served.port)  # sends a path as it stands
    client.request("GET", path)
    answer = client.getresponse()
    assert answer.status == 404
    assert json.loads(answer.read())["error"]["code"] == "unknown_url"
    client.close()


class _Refers(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.wrong: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.inside = tag
        self.links += [known[name] or "" for name in ("src", "href") if name in known]
        self.wrong += [name for name in known if name == "style" or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self.inside in ("script", "style") and data.strip():
            self.wrong.append(data)


def test_nothing_stands_inline_and_every_module_is_there(served) -> None:
    page = _Refers()
    page.feed(served.client.get("/").text)
    assert page.wrong == []
    for link in page.links:
        if not link.startswith("data:"):
            assert served.client.get(f"/{link}").status_code == 200, link
    for name in files():
        assert not re.search(r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write)\b|eval\(",
                             web.text(name)), name  # fmt: skip
        for source in re.findall(r'(?:from|import\() ?"(\.[^"]+)"', web.text(name)):
            folder = f"/page/{name.rpartition('/')[0]}/"
            answer = served.client.get(folder + source)
            optional = source.startswith(("../talk/", "../learn/", "../../change/"))
            assert answer.status_code == 200 or optional, (name, source)


def test_the_script_that_is_there_before_anything_is_asked_for_is_small() -> None:
    """The walk, which stands below the first screen, comes after it, the first steps before the
    others; what is behind a token when one is opened, or when there is nothing else to do."""

    def needed(*names: str) -> set[str]:
        waiting, seen = list(names), set()
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += web.imports(name)
        return seen

    def size(names: set[str]) -> int:
        return sum(len(web.text(name).encode()) for name in names)

    first = needed("app/app.js", "app/chat/chat.js")
    assert "walk/walk.js" not in first
    assert size(first) < 120_000
    met = first | needed("walk/walk.js", "app/walk/lazy.js")
    assert not {"walk/matrix.js", "app/glass/could.js", "app/chat/compare.js"} & met
    assert size(met) < SCRIPT


def test_it_begins_with_the_talks_sentence(served, talk) -> None:
    known = served.client.get("/page/start.json").json()
    assert known["text"] == "The power clapper"
    assert known["machine"] == inspect.machine(talk)
    assert set(known["places"]) <= web.names()


def test_a_page_s_pass_is_what_python_records(served) -> None:
    gpt = served.service.gpt
    asked = {"text": "the cat sat", "layer": 1, "head": 1}
    job = served.post("/v1/inspect/pass", **asked).json()["id"]
    found = served.client.get(f"/v1/inspect/jobs/{job}/result").json()
    ids = gpt.encode("the cat sat")
    own = inspect.walk_pass(gpt, ids, layer=1, head=1).to_dict()
    assert found == json.loads(json.dumps(own))
    assert found["layer"] == 1
    assert [piece["id"] for piece in found["pieces"]] == ids
