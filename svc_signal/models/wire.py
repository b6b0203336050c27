"""Messages ⇄ domain types of models: the operator's requests, a model's description, its evidence, the record."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from meshkit.fields import Fields
from modelkit.decision import EXERCISE_THRESHOLDS
from modelkit.loading import LoadedModel
from modelkit.manifest import MOST_VERSION, canonical
from svc_signal.models.promotion import Evidence, missing
from svc_signal.models.roles import KnownModel, RecordedChange
from tradekit import wire
from tradekit.bars import utc
from trading.signal.v1 import signal_service_pb2 as pb

MOST_NOTE = 500


@dataclass(frozen=True, slots=True)
class Promotion:
    """A parsed PromoteModelRequest."""

    request_id: UUID
    version: str


@dataclass(frozen=True, slots=True)
class Rollback:
    """A parsed RollbackModelRequest."""

    request_id: UUID
    note: str


def parse_promote(message: pb.PromoteModelRequest) -> Promotion:
    """The order, or InvalidRequest with every violation."""
    fields = Fields()
    request_id = fields.uuid("request_id", message.request_id)
    version = fields.text("model_version", message.model_version, max_length=MOST_VERSION)
    fields.done()
    return Promotion(request_id, version)


def parse_rollback(message: pb.RollbackModelRequest) -> Rollback:
    """The order, or InvalidRequest with every violation."""
    fields = Fields()
    request_id = fields.uuid("request_id", message.request_id)
    note = fields.text("note", message.note, min_length=0, max_length=MOST_NOTE)
    fields.done()
    return Rollback(request_id, note)


def describe_model(message: pb.GetModelResponse, model: LoadedModel, exercise: bool) -> None:
    """Writes what is true of the model itself; `exercise` says that the fixed thresholds are in force."""
    manifest = model.manifest
    thresholds = EXERCISE_THRESHOLDS if exercise else manifest.thresholds
    message.loaded = True
    message.model_version = model.version
    message.serving_engine = model.engine.value
    message.theta_buy, message.theta_sell = thresholds.theta_buy, thresholds.theta_sell
    message.always_hold = manifest.thresholds.theta_buy >= 1.0
    message.train_start_time.CopyFrom(wire.timestamp_message(utc(manifest.train_from)))
    message.train_end_time.CopyFrom(wire.timestamp_message(utc(manifest.train_to)))
    message.manifest_json = canonical(manifest.document).decode()


def loaded_info(model: LoadedModel, folder: str, role: pb.ModelRole, first_loaded_at: datetime | None) -> pb.ModelInfo:
    """A model that passed every check."""
    manifest = model.manifest
    info = pb.ModelInfo(
        model_version=model.version,
        folder=folder,
        role=role,
        train_start_time=wire.timestamp_message(utc(manifest.train_from)),
        train_end_time=wire.timestamp_message(utc(manifest.train_to)),
        theta_buy=manifest.thresholds.theta_buy,
        always_hold=manifest.thresholds.theta_buy >= 1.0,
        manifest_sha256=model.manifest_sha256,
    )
    if first_loaded_at is not None:
        info.first_load_time.CopyFrom(wire.timestamp_message(first_loaded_at))
    return info


def known_info(known: KnownModel, role: pb.ModelRole) -> pb.ModelInfo:
    """A model that served before and whose files are not there now."""
    return pb.ModelInfo(
        model_version=known.version,
        role=role,
        train_start_time=wire.timestamp_message(known.train_from),
        train_end_time=wire.timestamp_message(known.train_to),
        theta_buy=known.theta_buy,
        always_hold=known.theta_buy >= 1.0,
        manifest_sha256=known.manifest_sha256,
        first_load_time=wire.timestamp_message(known.first_loaded_at),
    )


def refused_info(folder: str, code: str, detail: str) -> pb.ModelInfo:
    """A candidate that failed a check: what its manifest says of itself is nobody's word."""
    return pb.ModelInfo(folder=folder, role=pb.MODEL_ROLE_REFUSED, refusal_code=code, refusal_detail=detail)


def evidence_message(evidence: Evidence, shadow_since: datetime | None) -> pb.ModelEvidence:
    """What is known about a challenger, and what a promotion still lacks."""
    message = pb.ModelEvidence(
        matured_labels=evidence.matured_labels,
        log_loss=evidence.log_loss,
        champion_log_loss=evidence.champion_log_loss,
        probability_better=evidence.probability_better,
        net_return=evidence.net_return,
        champion_net_return=evidence.champion_net_return,
        trades=evidence.trades,
        champion_trades=evidence.champion_trades,
        calibration_error=evidence.calibration_error,
        missing=wire.reason_messages(missing(evidence)),
    )
    if shadow_since is not None:
        message.shadow_since_time.CopyFrom(wire.timestamp_message(shadow_since))
    if evidence.as_of is not None:
        message.as_of.CopyFrom(wire.timestamp_message(evidence.as_of))
    return message


def change_message(recorded: RecordedChange) -> pb.ModelChange:
    """One entry of the record."""
    return pb.ModelChange(
        kind=recorded.change.kind.value,
        model_version=recorded.change.version,
        previous_version=recorded.change.previous,
        caller=recorded.caller,
        note=recorded.change.note,
        change_time=wire.timestamp_message(recorded.recorded_at),
    )
