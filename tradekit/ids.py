"""Ids of the pipeline. Each is derived from what it is about, so a retry at any stage is the same thing.

A replay with the same run gives the same ids; only callers make random ones (UUIDv7 request ids).
"""

from datetime import datetime
from uuid import UUID, uuid5

from uuid_utils.compat import uuid7

from tradekit.units import ProductId

_NAMESPACE = UUID("6f1f0f4e-3f5b-5d0a-9d5e-51fe51fe51fe")


def signal_id(run: str, product_id: str, granularity: int, bar: datetime, model_version: str) -> UUID:
    """Id of the signal of one product and bar (`bar` is its open time)."""
    return uuid5(_NAMESPACE, f"signal|{run}|{product_id}|{granularity}|{int(bar.timestamp())}|{model_version}")


def recommendation_id_of_signal(signal: UUID) -> UUID:
    """Id of the one recommendation that a signal can become."""
    return uuid5(_NAMESPACE, f"recommendation|{signal}")


def recommendation_id_of_request(request: UUID) -> UUID:
    """Id of the recommendation that an operator's request becomes."""
    return uuid5(_NAMESPACE, f"operator|{request}")


def validation_id(recommendation: UUID) -> UUID:
    """Id of the one review of a recommendation."""
    return uuid5(_NAMESPACE, f"validation|{recommendation}")


def assessment_id(recommendation: UUID, attempt: int) -> UUID:
    """Id of an assessment; its reservation has the same id."""
    return uuid5(_NAMESPACE, f"assessment|{recommendation}|{attempt}")


def order_id(recommendation: UUID, leg: int = 1) -> UUID:
    """Id of a recommendation's order; also the exchange's client_order_id."""
    return uuid5(_NAMESPACE, f"order|{recommendation}|{leg}")


def close_order_id(request: UUID, product_id: ProductId) -> UUID:
    """Id of the order that an operator's close of a position becomes."""
    return uuid5(_NAMESPACE, f"close|{request}|{product_id}")


def close_rest_order_id(order: UUID) -> UUID:
    """Id of the order that sells what a close's order left, as it was not free then."""
    return uuid5(_NAMESPACE, f"close-rest|{order}")


def protective_order_id(product_id: ProductId, entry: UUID | None, number: int) -> UUID:
    """Id of a protective order: the `number`th of a position, counted from 1 within each entry that it came from."""
    return uuid5(_NAMESPACE, f"protection|{product_id}|{entry or ''}|{number}")


def stage_request_id(stage: str, recommendation: UUID) -> UUID:
    """request_id with which the orchestrator asks a stage about a recommendation."""
    return uuid5(_NAMESPACE, f"request|{stage}|{recommendation}")


def new_request_id() -> UUID:
    """A fresh UUIDv7 of the wall clock (RFC 9562)."""
    return uuid7()
