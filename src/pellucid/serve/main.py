"""`pellucid serve` from its options to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .access import LOOPBACK, Access, checked_origins
from .app import new_app
from .archive import Archive
from .events import EngineLimits, Stopped
from .keys import KEY, read_keys
from .observe import LOG
from .server import HttpServer, ServerLimits, bind, is_public
from .service import Service

if TYPE_CHECKING:
    from ..gpt import GPT

__all__ = ["KEY", "Options", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """As the command line has them."""

    host: str = "127.0.0.1"
    port: int = 8000
    name: str | None = None
    template: str | None = None
    api_key_file: str | None = None
    allow_host: tuple[str, ...] = ()
    allow_origin: tuple[str, ...] = ()
    max_running: int = 32
    max_waiting: int = 128
    cache: int | None = None
    strict: bool = False
    speculate: str | None = None
    grace: float = 30
    store: str | None = None
    no_store: bool = False


def run(
    load: Callable[[], GPT],
    options: Options,
    say: Callable[[str], object],
    show: Callable[[str], object] = lambda url: None,
) -> None:
    """Until it is told to end. show: called with the page's address once there is an answer there.

    Raises InputError for what cannot be, before the model is loaded.
    """
    keys = read_keys(options.api_key_file)
    origins = checked_origins(options.allow_origin)
    with bind(options.host, options.port) as listening:
        public = is_public(listening)
        if public and not keys:
            raise InputError(
                f"{options.host} is reached by other machines, so clients must show a key: put one "
                f"into a file and name it with --api-key-file, or into {KEY}"
            )
        gpt = load()
        limits = EngineLimits(
            max_running=options.max_running,
            max_waiting=options.max_waiting,
            cache_bytes=options.cache,
        )
        store = None if options.store is None else Path(options.store)
        service = Service.of(
            gpt,
            limits,
            name=options.name,
            template=options.template,
            strict=options.strict,
            speculate=options.speculate,
            archive=Archive(store, off=options.no_store),
        )
        hosts = {options.host.lower(), *map(str.lower, options.allow_host)}
        access = Access(
            keys=keys,
            hosts=LOOPBACK | hosts,
            any_address=public,
            origins=origins,
        )
        server = HttpServer(new_app(service, access), service, ServerLimits(grace=options.grace))
        _log_to_stderr()
        service.start()
        say(_greeting(service.model, listening, options))
        show(f"{_url(listening)}/")
        asyncio.run(server.serve(sockets=[listening]))
    if service.engine.failure is not None:
        raise Stopped(f"the engine had failed: {service.engine.failure}")


def _log_to_stderr() -> None:
    """One line a request; of uvicorn only what went wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    LOG.setLevel(logging.INFO)
    uvicorn = logging.getLogger("uvicorn")
    uvicorn.setLevel(logging.ERROR)
    for logger in (LOG, uvicorn):
        logger.addHandler(handler)
        logger.propagate = False


def _greeting(name: str, listening: socket.socket, options: Options) -> str:
    """Where to point a client; the line with curl works as it stands."""
    url = _url(listening)
    key = ""
    if options.api_key_file is not None:
        key = f'-H "Authorization: Bearer $(head -n 1 {shlex.quote(options.api_key_file)})" '
    elif os.environ.get(KEY):
        key = f'-H "Authorization: Bearer ${KEY}" '
    return (
        f"Serving {name} at {url}/v1, and a page at {url}/; Ctrl-C ends it. Try, from another "
        "terminal:\n\n"
        f"curl {url}/v1/chat/completions {key}-H 'Content-Type: application/json' "
        """-d '{"messages": [{"role": "user", "content": "Hello!"}]}'\n\n"""
        f"Point OpenAI's clients at base_url {url}/v1, model {name}, "
        f"{'with your key' if key else 'any api_key'}. /openapi.json lists all there is."
    )


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
