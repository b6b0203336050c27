"""The newest drift check of the model as gauges of the signal service."""

from meshkit.telemetry import Metrics
from svc_signal.drift.measures import DriftReport


class DriftMetrics:
    """Gauges; what nobody has looked at yet is left out, never 0."""

    def __init__(self, metrics: Metrics) -> None:
        self._feature = metrics.gauge("signal.model.feature_psi", "Stability index of a feature against its training")
        self._largest = metrics.gauge("signal.model.max_psi", "Largest stability index of any feature")
        self._edge = metrics.gauge(
            "signal.model.edge_psi", "Stability index of the edge against the model's first days"
        )
        self._loss = metrics.gauge("signal.model.log_loss", "Mean log loss on the last 30 days' matured labels, nats")
        self._prior = metrics.gauge(
            "signal.model.prior_log_loss", "Log loss of the training's class shares on them, nats"
        )
        self._labels = metrics.gauge("signal.model.matured_labels", "Labels of the last 30 days that have matured")
        self._suspended = metrics.gauge(
            "signal.model.suspended", "1 while the evidence profile holds for the model's sake"
        )

    def show(self, report: DriftReport | None) -> None:
        """The figures of a check. Another model's stay until there is a check of this one, but for its suspension."""
        self._suspended.set(int(report is not None and report.suspended))
        if report is None:
            return
        for feature in report.features:
            self._feature.set(feature.psi, {"feature": feature.name})
        if report.features:
            self._largest.set(report.max_psi)
        if report.edge_bins:
            self._edge.set(report.edge_psi)
        self._labels.set(report.matured_labels)
        if report.matured_labels:
            self._loss.set(report.log_loss)
            self._prior.set(report.prior_log_loss)
