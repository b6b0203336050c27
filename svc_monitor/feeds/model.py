"""The model that serves, or why none does, and how well it has done."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from meshkit.kit import Kit
from meshkit.spec import Task
from svc_monitor.feeds import reading
from svc_monitor.feeds.feed import CALL_TIMEOUT_SECONDS, Feed, Pace, polled
from trading.common.v1 import trade_pb2
from trading.signal.v1 import signal_service_pb2 as pb
from trading.signal.v1 import signal_service_pb2_grpc as pb_grpc

PACE = Pace(10.0)
STALE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """How far one feature has moved from the training; `level` is NONE, NOTICE, WARNING or ALARM."""

    name: str
    psi: float
    level: str


@dataclass(frozen=True, slots=True)
class Drift:
    """The newest drift check of the model; features largest first, none while there is too little to compare."""

    as_of: datetime | None
    rows: int
    features: tuple[FeatureDrift, ...]
    edge_psi: float
    buy_share: float
    sell_share: float
    mean_confidence: float
    matured_labels: int
    log_loss: float
    prior_log_loss: float


@dataclass(frozen=True, slots=True)
class Model:
    """The serving model and its thresholds; a refusal beside a loaded model is of a newer one."""

    version: str
    loaded: bool
    refusal_code: str
    refusal_detail: str
    profile: str
    theta_buy: float
    theta_sell: float
    always_hold: bool
    train_start: datetime | None
    train_end: datetime | None
    engine: str
    challenger: str
    previous: str
    suspended: bool
    drift: Drift | None


def read(message: pb.GetModelResponse) -> Model:
    """The model of an answer."""
    return Model(
        version=message.model_version,
        loaded=message.loaded,
        refusal_code=message.refusal_code,
        refusal_detail=message.refusal_detail,
        profile=reading.word(trade_pb2.DecisionProfile, "DECISION_PROFILE", message.profile),
        theta_buy=message.theta_buy,
        theta_sell=message.theta_sell,
        always_hold=message.always_hold,
        train_start=reading.moment(message, "train_start_time"),
        train_end=reading.moment(message, "train_end_time"),
        engine=message.serving_engine,
        challenger=message.challenger_version,
        previous=message.previous_version,
        suspended=message.suspended,
        drift=_drift(message.drift) if message.HasField("drift") else None,
    )


def _drift(message: pb.ModelDrift) -> Drift:
    return Drift(
        as_of=reading.moment(message, "as_of"),
        rows=message.rows,
        features=tuple(
            FeatureDrift(feature.name, feature.psi, reading.word(pb.DriftLevel, "DRIFT_LEVEL", feature.level))
            for feature in message.features
        ),
        edge_psi=message.edge_psi,
        buy_share=message.buy_share,
        sell_share=message.sell_share,
        mean_confidence=message.mean_confidence,
        matured_labels=message.matured_labels,
        log_loss=message.log_loss,
        prior_log_loss=message.prior_log_loss,
    )


def feed(channel: Any, kit: Kit[Any]) -> tuple[Feed[Model], Task]:
    """The feed and its task."""
    kept: Feed[Model] = Feed("model", STALE_SECONDS, kit)
    stub = pb_grpc.SignalServiceStub(channel)

    async def ask() -> Model:
        return read(await stub.GetModel(pb.GetModelRequest(), timeout=CALL_TIMEOUT_SECONDS))

    return kept, polled(kept, PACE, ask)
