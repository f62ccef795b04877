"""What Prometheus reads. No text of a request stands in a label: routes and statuses only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_GAUGES = {
    "running": "Requests that advance together.",
    "waiting": "Requests that wait to join them.",
    "blocks_total": "Blocks of keys and values.",
    "blocks_used": "Blocks that a request uses.",
    "blocks_cached": "Blocks that no request uses, kept for texts that begin alike.",
}
_COUNTERS = {
    "prompt_tokens": "Tokens of prompts.",
    "cached_tokens": "Tokens of prompts that were found computed.",
    "generated_tokens": "Tokens generated.",
    "steps": "Passes through the model.",
    "drafted_tokens": "Tokens that went through the model as drafts.",
    "accepted_tokens": "Drafted tokens that the model chose itself.",
}


class Metrics:
    """A registry of its own: two servers in one process do not add up."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, engine: Engine) -> None:
        registry = self._registry = CollectorRegistry()
        registry.register(_Engine(engine))
        self.in_flight = Gauge(
            "pellucid_http_requests_in_flight", "Requests being answered.", registry=registry
        )
        self._requests = Counter(
            "pellucid_http_requests", "Requests answered.", ("route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "pellucid_http_request_seconds",
            "Until a request was answered, streams to their end.",
            ("route",),
            registry=registry,
            buckets=_SECONDS,
        )
        self._first_token = Histogram(
            "pellucid_first_token_seconds",
            "From a request to the first token of each of its texts.",
            registry=registry,
            buckets=_SECONDS,
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def first_token(self, seconds: float) -> None:
        self._first_token.observe(seconds)

    def text(self) -> bytes:
        return bytes(generate_latest(self._registry))


class _Engine(Collector):
    """The engine's own counts, read when they are asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        stats = self._engine.stats()
        yield GaugeMetricFamily(
            "pellucid_engine_alive", "1 while it takes requests.", value=int(self._engine.alive)
        )
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"pellucid_{name}", text, value=getattr(stats, name))
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"pellucid_{name}", text, value=getattr(stats, name))
        seconds = CounterMetricFamily(
            "pellucid_engine_seconds", "Of the engine's thread, by part.", labels=["part"]
        )
        for part, value in stats.seconds.items():
            seconds.add_metric([part], value)
        yield seconds
