"""Counters of the server, for Prometheus."""

import contextlib
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The counters of one server.

    Attributes:
        waiting: Images in the queue.
        held: Bytes that requests hold, of `Options.max_total_bytes`.
        programs: Number of compiled programs that are kept.
        ready: 1 if the server takes requests, else 0.
    """

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "fcnjax_requests", "Requests answered", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "fcnjax_request_seconds",
            "From the head of a request to the end of its answer",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "fcnjax_batch_images",
            "Images of a batch",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self._device = Counter(
            "fcnjax_device_seconds", "Spent in the device's batches", registry=registry
        )
        self.waiting = Gauge("fcnjax_waiting_images", "Images in the queue", registry=registry)
        self.held = Gauge("fcnjax_held_bytes", "Bytes that requests hold", registry=registry)
        self.programs = Gauge("fcnjax_programs", "Compiled programs kept", registry=registry)
        self.ready = Gauge("fcnjax_ready", "1: warm, and not stopping", registry=registry)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            route: Pattern of the path, never the client's text, since labels are kept forever.
            status: Status of the response.
            seconds: Its duration.
        """
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    @contextlib.contextmanager
    def batch(self, images: int) -> Iterator[None]:
        """Count a batch, and the time spent in the block."""
        self._batches.observe(images)
        start = time.perf_counter()
        try:
            yield
        finally:
            self._device.inc(time.perf_counter() - start)

    def text(self) -> bytes:
        """Return all counters in Prometheus's text format (`CONTENT_TYPE`)."""
        return generate_latest(self._registry)
