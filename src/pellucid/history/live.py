"""A training's page over HTTP, on this machine alone, also while the run goes on.

Python's own server: nothing need be installed. It only reads what the run writes (its log, its
snapshots and checkpoints), in a process of its own, so a run neither waits for it nor knows of it.

/             the page                 /page/…    its scripts and styles
/data         what it draws            /events    the steps as they come (server-sent events)
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .. import web
from ..errors import InputError, PellucidError
from ..train.config import read_config
from ..train.log import LOG, Tail
from ..visible import as_seen
from .course import kept, open_course
from .looks import Look
from .page import data_of

__all__ = ["Server", "beside"]

_OFTEN = 0.2  # seconds between two looks at a log that somebody follows
_HEARTBEAT = 50  # looks without news until something is sent, to learn whether anybody reads it
_MOST_AT_ONCE = 600  # steps in one event
_MOST_FOLLOWERS = 16
_MOST_LOOKS = 512
_PATIENCE, _CALM = 160, 20  # twentieths of a second from the run's end to the page's
_FILE = re.compile(r"/page/([a-z]+/[a-z_]+\.(?:js|css))")
_TYPES = {".js": "text/javascript", ".css": "text/css"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server(ThreadingHTTPServer):
    """The page of one training, at `url` from when it is made; `serve_forever` answers.

    source: as `open_course` takes it; a run need not have kept anything yet. text, layer, head: as
    `learned_page` takes them. Raises InputError for a port that is taken.
    """

    daemon_threads = True

    def __init__(
        self,
        source: str,
        text: str | None = None,
        *,
        layer: int | None = None,
        head: int | None = None,
        port: int = 0,
    ) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise InputError(f"cannot listen on port {port}: {error.strerror}") from error
        self.source, self.text, self.layer, self.head = source, text, layer, head
        self.run: Path | None = Path(source) if (Path(source) / LOG).exists() else None
        self.followers = threading.BoundedSemaphore(_MOST_FOLLOWERS)
        self._ending = threading.Event()
        self._asked = self._owed = 0
        self._seen: dict[tuple[int, tuple[int, ...]], Look] = {}
        self._lock, self._counting = threading.Lock(), threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def data(self) -> dict[str, Any]:
        """What the page draws now; `waiting` says why there is nothing yet."""
        with self._lock:
            if len(self._seen) > _MOST_LOOKS:
                self._seen.clear()
            try:
                return data_of(
                    open_course(self.source),
                    self.text,
                    layer=self.layer,
                    head=self.head,
                    seen=self._seen,
                )
            except (PellucidError, OSError) as error:  # a checkpoint is removed while one reads it
                return {"waiting": str(error)}

    def events(self) -> Iterator[tuple[str, Any]]:
        """("steps", [[step, loss], …]) as they are logged, ("moments", [step, …]) when there are
        others than before, ("end", {last, done}) when no more come: the last moment, and whether
        the run is done; ("", None) now and then."""
        ended: tuple[int | None, bool] = (None, True)
        if self.run is not None:
            ended = yield from self._followed(self.run)
        yield "end", {"last": ended[0], "done": ended[1]}

    def _followed(self, run: Path) -> Generator[tuple[str, Any], None, tuple[int | None, bool]]:
        tail, quiet, done = Tail(run), 0, False
        moments: tuple[int, ...] = ()
        while True:
            quiet, last = quiet + 1, self._ending.is_set()
            with suppress(PellucidError, OSError):
                if news := [[report.step - 1, report.loss] for report in tail.news()]:
                    stride = -(-len(news) // _MOST_AT_ONCE)
                    yield "steps", news[::-1][::stride][::-1]
                    quiet = 0
                paths, done = kept(run, read_config(run / "config.toml"))
                if paths and moments != (now := tuple(sorted(paths))):
                    moments = now
                    yield "moments", list(moments)
                    quiet = 0
            if last or done:
                return (moments[-1] if moments else None), done
            if quiet >= _HEARTBEAT:
                yield "", None
                quiet = 0
            self._ending.wait(_OFTEN)

    @contextmanager
    def answering(self, path: str) -> Iterator[None]:
        """Counts who is answered, and whom the last state is owed: those who were told the end,
        and have not asked for it since."""
        with self._counting:
            self._asked += 1
            if path == "/data" and self._owed:
                self._owed -= 1
        try:
            yield
        finally:
            with self._counting:
                self._asked -= 1

    def told_the_end(self) -> None:
        with self._counting:
            self._owed += 1

    def wind_up(self) -> None:
        """Tell those who follow that it ends, let them ask how it ended, and end."""
        quiet, followed = 0, bool(self._asked)
        self._ending.set()
        for turn in range(_PATIENCE):
            idle = not self._asked and (not self._owed or turn > _PATIENCE // 2)
            quiet = quiet + 1 if idle else 0
            if quiet > (_CALM if followed else 0):  # a page may ask twice in a row
                break
            threading.Event().wait(0.05)
        self.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    timeout = 60

    def do_GET(self) -> None:
        host = (self.headers.get("Host") or "").rpartition(":")[0]
        if host not in ("127.0.0.1", "localhost"):  # a page elsewhere that calls itself by our name
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"ask for 127.0.0.1\n")
            return
        asked = urlsplit(self.path)
        # Who does not read it any more is no matter.
        with suppress(ConnectionError, TimeoutError), self.server.answering(asked.path):
            self._answer(asked)

    def _answer(self, asked: Any) -> None:
        file = _FILE.fullmatch(asked.path)
        if asked.path == "/":
            self._send(HTTPStatus.OK, "text/html", web.text("learn/index.html").encode())
        elif asked.path == "/data":
            known = {"glyphs": as_seen(), "learned": self.server.data()}
            body = json.dumps(known, separators=(",", ":"), allow_nan=False).encode(
                "utf-8", "replace"
            )
            self._send(HTTPStatus.OK, "application/json", body)
        elif asked.path == "/events":
            self._follow()
        elif file is not None and (content := _content(file[1])) is not None:
            self._send(HTTPStatus.OK, _TYPES[Path(file[1]).suffix], content)
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"there is nothing here\n")

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _follow(self) -> None:
        if not self.server.followers.acquire(blocking=False):
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", b"too many follow it\n")
            return
        try:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            for name, value in self.server.events():
                text = (
                    f"event: {name}\ndata: {json.dumps(value)}\n\n" if name else ": still here\n\n"
                )
                self.wfile.write(text.encode())
            self.server.told_the_end()
        finally:
            self.server.followers.release()

    def log_message(self, format: str, *args: Any) -> None:
        """A run's terminal shows the run."""


def _content(name: str) -> bytes | None:
    try:
        return web.text(name).encode()
    except OSError:
        return None


@contextmanager
def beside(run: Path, port: int) -> Iterator[str]:
    """The page of a run in a process of its own, while the block runs -> where it is.

    It ends with this process, however that ends: it reads from a pipe that is then closed. What
    happens to it is nothing to the run. Raises InputError where it cannot begin.
    """
    command = [sys.executable, "-m", "pellucid", "learned", str(run), "--page", str(port)]
    child = subprocess.Popen(
        [*command, "--until-closed"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the run
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert child.stdin
    assert child.stdout
    assert child.stderr
    try:
        url = child.stdout.readline().strip()
        if not url.startswith("http://"):
            raise InputError(child.stderr.read().strip().removeprefix("Error: ") or "no page came")
        yield url
    finally:
        child.stdin.close()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()
        child.stderr.close()
