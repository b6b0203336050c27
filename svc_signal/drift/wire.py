"""A drift report as the contract's message."""

from svc_signal.drift.measures import DriftReport
from tradekit import wire
from trading.signal.v1 import signal_service_pb2 as pb


def drift_message(report: DriftReport) -> pb.ModelDrift:
    """The report's message; features largest first."""
    message = pb.ModelDrift(
        as_of=wire.timestamp_message(report.as_of),
        rows=report.rows,
        edge_psi=report.edge_psi,
        buy_share=report.buy_share,
        sell_share=report.sell_share,
        mean_confidence=report.mean_confidence,
        matured_labels=report.matured_labels,
        log_loss=report.log_loss,
        prior_log_loss=report.prior_log_loss,
    )
    for feature in report.features:
        level = wire.enum_number("DRIFT_LEVEL", feature.grade, pb.DriftLevel)
        message.features.add(name=feature.name, psi=feature.psi, level=level)
    return message
