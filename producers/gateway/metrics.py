"""What `/metrics` shows: latency, requests, errors by route. Counting only; Prometheus reads it."""

from __future__ import annotations

import platform
from importlib import metadata

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])


class Metrics:
    """Counters of one gateway process, in a registry of its own."""

    def __init__(self) -> None:
        # Twice the series, for times that nothing here asks for.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        about = Info("fenliu_gateway", "Fenliu's version, and Python's.", registry=self.registry)
        about.info({"version": metadata.version("fenliu"), "python": platform.python_version()})
        self.in_flight = Gauge("fenliu_http_in_flight", "Requests being answered.", registry=self.registry)
        self._seconds = Histogram(
            "fenliu_http_request_seconds",
            "Time from the request's headers to the end of its answer.",
            ["method", "route"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._requests = Counter(
            "fenliu_http_requests", "Requests by their answer's status.", ["method", "route", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._errors = Counter(
            "fenliu_http_errors", "Problems answered, by the last part of their type.", ["route", "problem"],
            registry=self.registry,
        )  # fmt: skip
        self.texts = Counter(
            "fenliu_http_texts", "Texts and items taken in, by what became of them.", ["route", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        # Finding a child by its labels costs more than counting.
        self._known: dict[tuple[str, str, int], tuple[Histogram, Counter]] = {}

    def observe(self, method: str, route: str, status: int, problem: str, seconds: float) -> None:
        """Count one answered request. `route` is a template, never a path; `problem` is empty where all went well."""
        if method not in _METHODS:
            method = "other"
        pair = self._known.get((method, route, status))
        if pair is None:
            pair = self._seconds.labels(method, route), self._requests.labels(method, route, str(status))
            self._known[method, route, status] = pair
        pair[0].observe(seconds)
        pair[1].inc()
        if problem:
            self._errors.labels(route, problem).inc()

    def page(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)
