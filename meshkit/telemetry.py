"""Traces and metrics of one process: OpenTelemetry inside, Prometheus text and, if asked for, OTLP outside.

Without a collector spans are still made, because their ids tie log lines of different services together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Counter, Histogram, UpDownCounter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, generate_latest, start_http_server

from meshkit.errors import Misconfigured
from meshkit.settings import KitSettings

_SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# A collector that is away must not hold a process that wants to end.
_EXPORT_SECONDS = 2.0
_PROPAGATOR = TraceContextTextMapPropagator()


class Metrics:
    """The instruments of a process; a service asks here for its own."""

    def __init__(self, provider: MeterProvider) -> None:
        self.meter = provider.get_meter("meshkit")
        self.server_duration = self.histogram("rpc.server.duration", "Time a call took on the server")
        self.client_duration = self.histogram("rpc.client.duration", "Time a call took as the caller saw it")
        self.server_in_flight = self.up_down("rpc.server.in_flight", "Calls being served")

    def counter(self, name: str, description: str) -> Counter:
        return self.meter.create_counter(name, description=description)

    def histogram(self, name: str, description: str, unit: str = "s") -> Histogram:
        return self.meter.create_histogram(name, unit=unit, description=description)

    def up_down(self, name: str, description: str) -> UpDownCounter:
        return self.meter.create_up_down_counter(name, description=description)

    def gauge(self, name: str, description: str, unit: str = "") -> Any:
        return self.meter.create_gauge(name, unit=unit, description=description)


class Telemetry:
    """Providers of one process; nothing here is global, so that two services can live in one test."""

    def __init__(self, settings: KitSettings) -> None:
        resource = Resource.create({"service.name": settings.service_name})
        self.registry = CollectorRegistry()
        readers: list[MetricReader] = [PrometheusMetricReader(registry=self.registry)]
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        if settings.otlp_endpoint is not None:
            spans, metrics = _otlp_exporters(settings.otlp_endpoint)
            self._tracers.add_span_processor(BatchSpanProcessor(spans))
            readers.append(PeriodicExportingMetricReader(metrics))
        seconds = View(
            instrument_unit="s", instrument_name="*", aggregation=ExplicitBucketHistogramAggregation(_SECONDS_BUCKETS)
        )
        self._meters = MeterProvider(readers, resource=resource, views=[seconds], shutdown_on_exit=False)
        self.metrics = Metrics(self._meters)
        self.tracer = self._tracers.get_tracer("meshkit")
        self._page: Any = None

    def add_span_processor(self, processor: Any) -> None:
        """Sends finished spans somewhere else too, such as a test's memory."""
        self._tracers.add_span_processor(processor)

    def prometheus_text(self) -> bytes:
        """All metrics of this process as Prometheus text."""
        return generate_latest(self.registry)

    def serve_metrics(self, address: str, port: int) -> int:
        """Serves /metrics over HTTP from a thread of its own; gives the port."""
        self._page, _ = start_http_server(port, addr=address, registry=self.registry)
        return int(self._page.server_port)

    def close(self) -> None:
        """Flushes and stops exporters; blocks, so call it from a thread."""
        if self._page is not None:
            self._page.shutdown()
            self._page.server_close()
        self._tracers.shutdown()
        self._meters.shutdown()


def _otlp_exporters(endpoint: str) -> tuple[Any, Any]:
    try:
        import requests
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise Misconfigured(
            "OTLP_ENDPOINT is set but the otlp extra is not installed; install trading-mesh[otlp]"
        ) from None
    base = endpoint.rstrip("/")
    session = requests.Session()
    # The proxies of the environment, but not the passwords of ~/.netrc.
    session.proxies.update(requests.utils.get_environ_proxies(base))
    session.trust_env = False
    return (
        OTLPSpanExporter(endpoint=f"{base}/v1/traces", timeout=_EXPORT_SECONDS, session=session),
        OTLPMetricExporter(endpoint=f"{base}/v1/metrics", timeout=_EXPORT_SECONDS, session=session),
    )


def extract(carrier: Mapping[str, Any]) -> Context:
    """Trace context of a peer, from metadata or from a field of a stream item."""
    return _PROPAGATOR.extract(carrier)


def traceparent() -> str | None:
    """The current span in W3C form, for metadata and for stream items; None outside of a span."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def trace_id() -> str | None:
    """Id of the current trace, None outside of one."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None
