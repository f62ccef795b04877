"""The same application on Ray Serve: replicas on many machines behind Ray's own HTTP proxy.

    serve run pellucid.serve.ray:app model=chat replicas=2

Each replica is a process with a model, an engine and its thread. Ray routes requests, streams
answers, replaces replicas one after another, and lets what one has begun go on to its end first.
Deadlines for slow clients are the proxy's, not `protocol`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..errors import InputError
from .access import LOOPBACK, Access, checked_origins
from .app import new_app
from .events import EngineLimits, Stopped
from .keys import KEY, read_keys
from .service import Service

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["Options", "Replica", "Served", "app"]


class Options(BaseModel):
    """model, backend, dtype, keys, name, template, api_key_file, allow_host, allow_origin,
    max_running, max_waiting: as of `pellucid serve`; files, and clients' keys, are those of the
    machine that a replica runs on. cache: bytes. replicas: how many; per_node: at most so many on
    one machine. cpus: of each, which are also its threads. grace: seconds for what is under way in
    a replica that is replaced. no_key: answer without one; then whoever reaches Ray's proxy may
    ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = None
    backend: str = "auto"
    dtype: str | None = None
    keys: str | None = None
    name: str | None = None
    template: str | None = None
    api_key_file: str | None = None
    no_key: bool = False
    allow_host: tuple[str, ...] = ()
    allow_origin: tuple[str, ...] = ()
    max_running: int = Field(default=32, ge=1)
    max_waiting: int = Field(default=128, ge=0)
    cache: int | None = Field(default=None, ge=1)
    replicas: int = Field(default=1, ge=1)
    per_node: int | None = Field(default=None, ge=1)
    cpus: int = Field(default=1, ge=1)
    grace: float = Field(default=30, gt=0)

    @field_validator("allow_host", "allow_origin", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """On a command line: several with commas."""
        return tuple(value.split(",")) if isinstance(value, str) else value


class Served:
    """What one replica answers with: its model, its engine, and the application before them."""

    def __init__(self, options: Options) -> None:
        """Raises InputError for what cannot be; the engine runs once this returns."""
        from ..gpt import load

        keys = read_keys(options.api_key_file)
        if not keys and not options.no_key:
            raise InputError(
                "Ray's proxy may be reached by other machines, so clients must show a key: have "
                f"{KEY} in the environment of every machine, or api_key_file name a file that is "
                "on all of them; no_key=True goes without"
            )
        access = Access(
            keys=keys,
            hosts=LOOPBACK | {host.lower() for host in options.allow_host},
            any_address=True,
            origins=checked_origins(options.allow_origin),
        )
        gpt = load(
            options.model,
            backend=options.backend,
            dtype=options.dtype,
            threads=options.cpus,
            keys=options.keys,
        )
        limits = EngineLimits(
            max_running=options.max_running,
            max_waiting=options.max_waiting,
            cache_bytes=options.cache,
        )
        self.service = Service.of(gpt, limits, name=options.name, template=options.template)
        self._app = new_app(self.service, access)
        self.service.start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class Replica:
    """What Ray asks of a replica beside requests. app: given by `serve.ingress`."""

    app: Served

    def check_health(self) -> None:
        """Raises Stopped where /health would say 503; Ray then replaces the replica."""
        if self.app.service.state != "ok":
            raise Stopped(f"this replica's engine is {self.app.service.state}")

    def __del__(self) -> None:
        """Ray calls it once what was under way has ended, or its grace is over."""
        if hasattr(self, "app"):
            self.app.service.stop(5)


def app(options: Options | Mapping[str, Any]) -> Any:
    """-> a Ray Serve application, for `serve.run`. `serve run` and config files give the options
    as a table. Raises InputError where Ray is not installed.
    """
    options = Options.model_validate(options)
    try:
        from ray import serve
    except ModuleNotFoundError as error:
        raise InputError('this needs Ray: pip install "pellucid[serve,ray]"') from error

    def build() -> Served:
        return Served(options)

    deployment = serve.deployment(
        name="pellucid",
        num_replicas=options.replicas,
        max_replicas_per_node=options.per_node,
        max_ongoing_requests=options.max_running + options.max_waiting,
        ray_actor_options={"num_cpus": options.cpus},
        graceful_shutdown_timeout_s=options.grace,
        graceful_shutdown_wait_loop_s=0.1,
        health_check_period_s=5,
    )
    return deployment(serve.ingress(build)(Replica)).bind()
