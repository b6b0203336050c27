"""Writes a serialized example of each main message of the contracts, for messages that have none yet.

Old bytes must stay readable by every later version, so an example that exists is never written again: the files of
tests/contracts/bytes/ are what a past release stored, beside the text that it meant.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "gen" / "python")]

from google.protobuf import descriptor_pool, message_factory, text_format  # noqa: E402
from google.protobuf.descriptor import FieldDescriptor  # noqa: E402
from google.protobuf.message import Message  # noqa: E402

from tests.contracts.contract_walk import files  # noqa: E402

FOLDER = ROOT / "tests" / "contracts" / "bytes"
MAIN = (
    "common.v1.Recommendation",
    "common.v1.RecommendationRecord",
    "common.v1.ItemError",
    "market.v1.Product",
    "market.v1.CandleBatch",
    "market.v1.WatchCandlesResponse",
    "signal.v1.Signal",
    "signal.v1.GetModelResponse",
    "bridge.v1.CreateRecommendationRequest",
    "validator.v1.Validation",
    "validator.v1.StreamValidationsRequest",
    "risk.v1.Assessment",
    "risk.v1.SetTradingStateRequest",
    "risk.v1.GetPortfolioRiskResponse",
    "executor.v1.ExecuteRecommendationRequest",
    "executor.v1.Order",
    "executor.v1.ListPositionsResponse",
    "executor.v1.ReconcileResponse",
    "orchestrator.v1.DecisionEvent",
    "orchestrator.v1.GetPipelineResponse",
    "orchestrator.v1.ExplainRecommendationResponse",
    "monitor.v1.GetStatusResponse",
    "monitor.v1.Alert",
)
_TIME = datetime(2025, 6, 1, 12, tzinfo=UTC)


def example(name: str) -> Message:
    """A message with every field set, by the name after `trading.`; of a oneof the first."""
    files()
    descriptor = descriptor_pool.Default().FindMessageTypeByName(f"trading.{name}")
    message: Message = message_factory.GetMessageClass(descriptor)()
    _fill(message)
    return message


def _fill(message: Any) -> None:
    full_name = message.DESCRIPTOR.full_name
    if full_name == "google.protobuf.Timestamp":
        message.FromDatetime(_TIME)
    elif full_name == "google.protobuf.Duration":
        message.FromMilliseconds(1500)
    elif full_name == "trading.common.v1.Decimal":
        message.value = "1234.50"
    else:
        for field in message.DESCRIPTOR.fields:
            oneof = field.containing_oneof
            if oneof is None or field == oneof.fields[0]:
                _set(message, field)


def _set(message: Any, field: FieldDescriptor) -> None:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        value["key"] = "value"
    elif field.message_type is not None:
        _fill(value.add() if field.is_repeated else value)
        if not field.is_repeated:
            value.SetInParent()
    elif field.is_repeated:
        value.append(_scalar(field))
    else:
        setattr(message, field.name, _scalar(field))


def _scalar(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return b"bytes"
        identity = field.name.endswith("_id") and field.name != "product_id"
        return str(uuid5(NAMESPACE_DNS, field.full_name)) if identity else f"{field.name} text"
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return True
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return 0.25 + field.number
    return 100 + field.number


def main() -> None:
    """Writes what is missing."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in MAIN:
        stored, text = FOLDER / f"{name}.binpb", FOLDER / f"{name}.txtpb"
        if not stored.exists():
            message = example(name)
            stored.write_bytes(message.SerializeToString(deterministic=True))
            text.write_text(text_format.MessageToString(message, as_utf8=True))
            print(f"wrote {stored.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
