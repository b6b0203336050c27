"""The RPCs of the ledger: what it holds beside the exchange's word, adjustments by an operator, and adopting.

An adjustment is made under the account lock on the facts of a reconciliation that has just been made, and only if they
are those that were previewed.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncConnection

from exchange_client import Exchange
from meshkit.errors import FailedPrecondition, InvalidRequest, MeshError, RequestIdReused, Violation
from meshkit.identity import caller_or_none
from meshkit.kit import Kit
from svc_executor import adjustment, foreign_store, ledger_store, ledger_wire, store
from svc_executor.account_store import Balance, Comparison
from svc_executor.adjustment import Booking, Kind, Refusal, Standing
from svc_executor.fees import newest_fees
from svc_executor.foreign import unbooked_changes
from svc_executor.ledger_store import Adjustment, Booked
from svc_executor.ledger_wire import Adjust
from svc_executor.reconciler import Reconciler
from svc_executor.settings import ExecutorSettings
from tradekit.decimals import ZERO, plain
from trading.executor.v1 import ledger_pb2 as pb


class Ledger:
    """What an operator sees of the ledger and does to it."""

    def __init__(self, settings: ExecutorSettings, kit: Kit[Any], exchange: Exchange, reconciler: Reconciler) -> None:
        self._settings = settings
        self._kit = kit
        self._exchange = exchange
        self._reconciler = reconciler
        self._currency = settings.account_currency

    async def get(self) -> pb.GetLedgerResponse:
        """The newest reconciliation with everything that explains it."""
        async with self._kit.autocommit.connect() as connection:
            newest = await ledger_store.newest_reconciliation(connection)
            foreign = await foreign_store.live_foreign_orders(connection)
            opening = await foreign_store.read_opening(connection)
            adjustments = await ledger_store.newest_adjustments(connection)
            fees = await newest_fees(connection, self._settings.taker_fee_setting)
        moved = unbooked_changes(foreign)
        balances = newest.balances if newest is not None else ()
        answer = pb.GetLedgerResponse(
            balances=[ledger_wire.balance_message(one, moved.get(one.currency, ZERO)) for one in balances],
            foreign_orders=[ledger_wire.foreign_message(one) for one in foreign],
            adjustments=[ledger_wire.adjustment_message(one) for one in adjustments],
            fee_tier=ledger_wire.fee_message(fees) if fees is not None else None,
            clean=newest is not None and newest.clean,
            account_currency=self._currency,
        )
        if opening is not None:
            answer.open_time.FromDatetime(opening.opened_at)
        if newest is not None:
            answer.reconcile_time.FromDatetime(newest.created_at)
            if newest.booking_sequence is not None:
                answer.reconcile_booking_sequence = newest.booking_sequence
        return answer

    # ---- adjusting ---------------------------------------------------------------------------------------------------

    async def adjust(self, request: pb.AdjustLedgerRequest) -> pb.AdjustLedgerResponse:
        """Previews or books an adjustment; a repeated request_id gives the stored answer."""
        wanted, body = ledger_wire.parse_adjust(request), _hash(request)
        async with self._kit.autocommit.connect() as connection:
            known = await self._booked(connection, wanted.request_id, body)
        if known:
            return ledger_wire.answer_of(known[0])
        comparison = await self._reconciler.reconcile()
        as_of = await self._exchange.market_time()
        async with self._kit.engine.begin() as connection:
            await store.lock_account(connection)
            known = await self._booked(connection, wanted.request_id, body)
            if known:
                return ledger_wire.answer_of(known[0])
            standing = await self._standing(connection, wanted.currency)
            before = _same_facts(comparison, standing, wanted)
            with _refusals():
                booking = adjustment.adjust(standing, wanted.amount, wanted.cost, self._currency)
            change = ledger_wire.change_message(before, _after(before, booking), standing, booking.after)
            row = Adjustment(
                adjustment_id=wanted.request_id,
                request_id=wanted.request_id,
                body_sha256=body,
                kind=wanted.kind,
                currency=wanted.currency,
                amount=wanted.amount,
                note=wanted.note,
                caller=caller_or_none() or "",
                as_of=as_of,
                answer=change,
            )
            if request.preview:
                change.adjustment.CopyFrom(ledger_wire.adjustment_message(row.previewed(booking)))
                return change
            answer = ledger_wire.answer_of(await ledger_store.book(connection, row, booking))
        self._tell(row)
        await self._compare_again()
        return answer

    async def adopt(self, request: pb.AdoptHoldingsRequest) -> pb.AdoptHoldingsResponse:
        """Makes positions of what was never adopted; a repeated request_id gives what it booked."""
        wanted, body = ledger_wire.parse_adopt(request), _hash(request)
        await self._reconciler.open_ledger()
        as_of = await self._exchange.market_time()
        booked: list[Adjustment] = []
        async with self._kit.engine.begin() as connection:
            await store.lock_account(connection)
            made = await self._booked(connection, wanted.request_id, body)
            if not made:
                for standing in await self._adoptable(connection, wanted.currencies):
                    with _refusals():
                        booking = adjustment.adopt(standing, wanted.cost, self._currency)
                    row = Adjustment(
                        adjustment_id=uuid5(wanted.request_id, standing.currency),
                        request_id=wanted.request_id,
                        body_sha256=body,
                        kind=Kind.ADOPTION,
                        currency=standing.currency,
                        amount=standing.unadopted,
                        note=wanted.note,
                        caller=caller_or_none() or "",
                        as_of=as_of,
                        answer=pb.AdjustLedgerResponse(),
                    )
                    made.append(await ledger_store.book(connection, row, booking))
                    booked.append(row)
            left = (await ledger_store.balances(connection)).parts
        for row in booked:
            self._tell(row)
        if booked:
            await self._compare_again()
        return pb.AdoptHoldingsResponse(
            adopted=[ledger_wire.adjustment_message(one.adjustment) for one in made],
            unadopted=[
                ledger_wire.money(name, parts.unadopted) for name, parts in sorted(left.items()) if parts.unadopted
            ],
        )

    async def _adoptable(self, connection: AsyncConnection, named: tuple[str, ...]) -> list[Standing]:
        """The coins named, whatever they are; or all that can be adopted."""
        if named:
            return [await self._standing(connection, name) for name in named]
        held = await ledger_store.balances(connection)
        found = [
            await self._standing(connection, name) for name, parts in sorted(held.parts.items()) if parts.unadopted > 0
        ]
        return [standing for standing in found if standing.product_id]

    async def _standing(self, connection: AsyncConnection, currency: str) -> Standing:
        settings = self._settings
        return await ledger_store.standing(
            connection, currency, self._currency, settings.products, settings.granularity_seconds
        )

    async def _booked(self, connection: AsyncConnection, request_id: UUID, body: str) -> list[Booked]:
        made = await ledger_store.adjustments_of(connection, request_id)
        if any(one.body_sha256 != body for one in made):
            raise RequestIdReused(request_id)
        return made

    def _tell(self, row: Adjustment) -> None:
        self._kit.log.warning(
            "ledger_adjusted",
            kind=row.kind.value,
            currency=row.currency,
            amount=plain(row.amount),
            note=row.note,
            caller=row.caller,
        )

    async def _compare_again(self) -> None:
        """What was closed because of the difference opens at once; a failure is the next pass's business."""
        with suppress(MeshError):
            await self._reconciler.reconcile()


def _hash(request: pb.AdjustLedgerRequest | pb.AdoptHoldingsRequest) -> str:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()


def _same_facts(comparison: Comparison, standing: Standing, wanted: Adjust) -> Balance:
    """The currency as it was just compared. Raises LEDGER_MOVED where it is not what was previewed."""
    compared = comparison.of(wanted.currency)
    if compared.ledger != standing.total or compared.unadopted != standing.unadopted:
        raise FailedPrecondition(
            "LEDGER_MOVED",
            f"the ledger's {wanted.currency} changed while it was compared; preview the adjustment again",
        )
    if wanted.expected is not None and wanted.expected != compared.difference:
        raise FailedPrecondition(
            "LEDGER_MOVED",
            f"{wanted.currency} differs by {plain(compared.difference)} now, not by {plain(wanted.expected)} as previewed; "
            "preview the adjustment again",
            metadata={"difference": plain(compared.difference)},
        )
    return compared


def _after(before: Balance, booking: Booking) -> Balance:
    after = booking.after
    return Balance(before.currency, after.total, before.exchange, after.unadopted, before.tolerance)


@contextmanager
def _refusals() -> Iterator[None]:
    """Names the field of the request that keeps it from being booked."""
    try:
        yield
    except Refusal as refusal:
        if refusal.rule == "NOT_HELD":
            raise FailedPrecondition(refusal.rule, refusal.description) from None
        raise InvalidRequest([Violation(refusal.field, refusal.rule, refusal.description)]) from None
