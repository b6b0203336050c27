"""A suspended model holds, a challenger is heard and never traded, and a model that answers nonsense costs only its rows."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from sqlalchemy import select

from meshkit.errors import Unavailable
from modelkit.candles import FloatArray
from modelkit.decision import SignalReason
from modelkit.loading import LoadedModel
from modelkit.manifest import Manifest
from modelkit.serving import FeatureRows, latest_rows
from schema import streams
from schema.signals import model_drift, shadow_signals
from svc_signal import store
from svc_signal.bars.bar import BarTerms, decide_bar
from svc_signal.drift.measures import DriftReport, Tally
from svc_signal.drift.monitor import CHECK_BARS, DriftMonitor
from svc_signal.drift.store import insert_report
from tests.signal.signal_series import FIRST_BAR, HOUR, synthetic
from tests.signal_service.live_bars import next_bar, same, truth
from tests.signal_service.signal_world import BARS, LIMIT, PRODUCTS, World, close_of
from tradekit import wire
from tradekit.states import Profile, SignalSide
from trading.signal.v1 import signal_service_pb2 as pb

LAST = BARS - 40
RISING = (0.1, 0.2, 0.7)
Answer = Callable[[FloatArray], Any]


class Saying:
    """A model whose answers are given."""

    def __init__(self, manifest: Manifest, answer: Answer) -> None:
        self.manifest = manifest
        self.probabilities = answer

    @property
    def version(self) -> str:
        return self.manifest.model_version


def saying(real: LoadedModel, answer: Answer, version: str = "told") -> LoadedModel:
    return cast("LoadedModel", Saying(replace(real.manifest, model_version=version), answer))


def always(*row: float) -> Answer:
    return lambda rows: np.tile(row, (len(rows), 1))


@pytest.fixture(scope="module")
def rows() -> FeatureRows:
    """Four products, the last with too short a history."""
    candles = synthetic(4, 420)
    short = candles["C03-USD"]
    candles["C03-USD"] = short.take(short.start >= (FIRST_BAR + 300) * HOUR)
    return latest_rows(candles, FIRST_BAR + 419, HOUR, "BTC-USD")


def terms(model: LoadedModel | None, **changes: Any) -> BarTerms:
    start = BarTerms(("BTC-USD", "C01-USD", "C02-USD", "C03-USD"), model, None, None, 0.019, Profile.EXERCISE)
    return replace(start, **changes)


def test_impossible_answers_hold_their_own_rows_only(rows: FeatureRows, model: LoadedModel) -> None:
    answer = np.asarray([[np.nan, 0.5, 0.5], RISING, [0.5, 0.5, 0.5]])
    found = decide_bar(rows, terms(saying(model, lambda _: answer)))
    assert found.decisions.side == (SignalSide.HOLD, SignalSide.BUY, SignalSide.HOLD, SignalSide.HOLD)
    invalid, exercise = SignalReason.MODEL_OUTPUT_INVALID, SignalReason.EXERCISE
    assert [found.decisions.reasons[row] for row in (0, 2, 3)] == [
        (invalid, exercise),
        (invalid, exercise),
        (SignalReason.NOT_READY, exercise),
    ]
    assert not found.faults


@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (3, 4), (3,)])
def test_a_model_that_raises_or_answers_in_another_shape_has_said_nothing(
    rows: FeatureRows, model: LoadedModel, shape: tuple[int, ...]
) -> None:
    def raises(_: FloatArray) -> Any:
        raise RuntimeError("no")

    for answer in (raises, lambda _: np.full(shape, 1 / 3)):
        found = decide_bar(rows, terms(saying(model, always(*RISING)), challenger=saying(model, answer, "next")))
        # The challenger's failure is nobody else's.
        assert found.decisions.side[:3] == (SignalSide.BUY,) * 3
        assert found.shadow is not None
        assert not np.isfinite(found.shadow.edge).any()
        assert len(found.faults) == 1 and found.faults[0].startswith("next: ")
        found = decide_bar(rows, terms(saying(model, answer)))
        assert set(found.decisions.side) == {SignalSide.HOLD}
        assert found.decisions.reasons[0] == (SignalReason.MODEL_OUTPUT_INVALID, SignalReason.EXERCISE)


def test_a_product_is_decided_the_same_whoever_is_beside_it(rows: FeatureRows, model: LoadedModel) -> None:
    everyone = decide_bar(rows, terms(model))
    for place, product in enumerate(everyone.products):
        alone = decide_bar(rows, terms(model, products=(product,)))
        assert alone.products == (product,)
        assert alone.decisions.side[0] == everyone.decisions.side[place]
        assert alone.decisions.reasons[0] == everyone.decisions.reasons[place]
        np.testing.assert_array_equal(alone.features[0], everyone.features[place])
        np.testing.assert_array_equal(alone.decisions.probabilities[0], everyone.decisions.probabilities[place])


async def test_a_challenger_is_heard_on_the_same_rows_and_never_traded(
    world: World, given: dict[str, Any], model: LoadedModel
) -> None:
    await world.store(0, LAST)
    await world.complete(LAST)
    async with world.service(**given, model_poll_seconds=3600) as stub:
        await world.until_decided(LAST)
        keeper = stub.service.spec.servicers[0].servicer._decider._keeper
        nonsense = iter([always(*RISING), lambda rows: np.vstack([RISING, *[[2.0, 0.0, -1.0]] * (len(rows) - 1)])])
        for bar in (LAST + 1, LAST + 2):
            keeper.challenger = saying(model, next(nonsense), "challenger-1")
            # What the champion says is what it says without a challenger.
            same(await next_bar(world, bar), await truth(world, bar, model))
        keeper.challenger = None
        await next_bar(world, LAST + 3)
    shadows = await world.run(select(shadow_signals).order_by(shadow_signals.c.bar_start, shadow_signals.c.product_id))
    heard = [(row["bar_start"], row["product_id"], row["side"], row["p_up"]) for row in shadows]
    first, second = (close_of(bar - 1) for bar in (LAST + 1, LAST + 2))
    # A row for which it gave no probabilities is not its word.
    assert heard == [*((first, product, "BUY", 0.7) for product in sorted(PRODUCTS)), (second, PRODUCTS[0], "BUY", 0.7)]
    assert {row["model_version"] for row in shadows} == {"challenger-1"}


@pytest.mark.parametrize("profile", Profile)
async def test_a_suspended_model_holds_where_evidence_counts(
    world: World, given: dict[str, Any], model: LoadedModel, profile: Profile
) -> None:
    await world.store(0, LAST)
    await world.complete(LAST)
    # Another process took the check; that it was not this one must not matter.
    async with world.database.engine.begin() as connection:
        await insert_report(connection, "main", suspended_at(model, LAST))
    async with world.service(**given, decision_profile=profile.value, model_poll_seconds=3600):
        await world.until_decided(LAST)
        rows = await next_bar(world, LAST + 1)
        expected = await truth(world, LAST + 1, model, profile=profile)
    codes = [[reason["code"] for reason in row["reasons"]] for row in rows]
    if profile is Profile.EVIDENCE:
        assert codes == [["MODEL_SUSPENDED"]] * 3
        assert {row["side"] for row in rows} == {"HOLD"}
        # What it would have said stays visible.
        assert [row["edge"] for row in rows] == expected.decisions.edge.tolist()
    else:
        same(rows, expected)


def suspended_at(model: LoadedModel, bar: int) -> DriftReport:
    """A drift check at the newest bar before this one at which one is due, by which the model has to hold."""
    due = (FIRST_BAR + bar - 1) // CHECK_BARS * CHECK_BARS - FIRST_BAR
    nothing = Tally(signals=0, buys=0, sells=0, confidence=0, edge_counts=(), outcomes=(0, 0, 0), loss=0)
    return DriftReport(
        model_version=model.manifest.model_version,
        as_of=close_of(due),
        rows=0,
        features=(),
        edge_psi=0.0,
        buy_share=0.0,
        sell_share=0.0,
        mean_confidence=0.0,
        matured_labels=900,
        log_loss=1.3,
        prior_log_loss=1.0,
        suspended=True,
        own_since=None,
        edge_bins=(),
        part=nothing,
    )


async def test_a_check_that_a_process_could_not_take_is_taken_before_the_next_bar(
    world: World, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    due = LAST + 1 + (-(FIRST_BAR + LAST + 1)) % CHECK_BARS
    await world.store(0, due - 1)
    await world.complete(due - 1)

    tried = asyncio.Event()

    async def lost(*_: Any) -> None:
        tried.set()
        raise Unavailable("DATABASE_UNAVAILABLE", "gone between the bar and its check")

    async with world.service(**given) as stub:
        await world.until_decided(due - 1)
        with monkeypatch.context() as broken:
            broken.setattr(DriftMonitor, "settle", lost)
            decided = await next_bar(world, due)
            async with asyncio.timeout(LIMIT):
                await tried.wait()
        assert len(decided) == len(PRODUCTS), "the bar's signals do not wait for the check"
        assert await world.run(select(model_drift)) == []
        await next_bar(world, due + 1)
        checks = await world.run(select(model_drift))
        told = (await stub.GetModel(pb.GetModelRequest())).drift
    assert [check["as_of"] for check in checks] == [close_of(due)]
    assert wire.time_of(told.as_of) == close_of(due)


@pytest.mark.parametrize("rows_in_one_statement", [0, 32])
async def test_who_is_overtaken_stores_nothing_and_goes_on(
    world: World,
    given: dict[str, Any],
    model: LoadedModel,
    monkeypatch: pytest.MonkeyPatch,
    rows_in_one_statement: int,
) -> None:
    monkeypatch.setattr("svc_signal.bars.writer.ROWS_IN_ONE_STATEMENT", rows_in_one_statement)
    await world.store(0, LAST)
    await world.complete(LAST)
    async with world.service(**given) as stub:
        await world.until_decided(LAST)
        decider = stub.service.spec.servicers[0].servicer._decider
        thinks, others = decider._decisions, iter([close_of(LAST + 1)])

        async def overtaken(*rows_and_terms: Any) -> Any:
            as_of = next(others, None)
            if as_of is not None:
                async with world.database.engine.begin() as connection:
                    await streams.advance_watermark(connection, "signal", as_of, 3)
            return await thinks(*rows_and_terms)

        decider._decisions = overtaken
        before = await world.signals()
        assert await next_bar(world, LAST + 1) == [], "another process has decided it"
        assert await world.signals() == before
        rows = await next_bar(world, LAST + 2)
        same(rows, await truth(world, LAST + 2, model))
        assert [row["sequence"] for row in rows] == [4, 5, 6]


async def signals_of(call: Any, count: int, bar: int = LAST) -> list[Any]:
    """The next signals of a watch, and the watermark of a bar; an earlier one may still come after its signals."""
    found: list[Any] = []
    async with asyncio.timeout(LIMIT):
        while True:
            frame = await call.read()
            found += frame.batch.signals
            if frame.HasField("watermark") and wire.time_of(frame.watermark.as_of) == close_of(bar):
                assert len(found) == count
                return [*found, frame.watermark]


@pytest.mark.parametrize("rows_in_one_statement", [0, 32])
async def test_watchers_get_a_bar_as_the_table_has_it_however_it_was_written(
    world: World,
    given: dict[str, Any],
    model: LoadedModel,
    monkeypatch: pytest.MonkeyPatch,
    rows_in_one_statement: int,
) -> None:
    monkeypatch.setattr("svc_signal.bars.writer.ROWS_IN_ONE_STATEMENT", rows_in_one_statement)
    await world.store(0, LAST)
    await world.complete(LAST)
    async with world.service(**given) as decides, world.service(**given) as other:
        await world.until_decided(LAST)
        live = [stub.WatchSignals(pb.WatchSignalsRequest(after_sequence=3)) for stub in (decides, other, decides)]
        for call in live:
            await call.wait_for_connection()
        for bar in range(LAST + 1, LAST + 6):
            # Either process may be the one that decides; one product is missing now and then.
            same(await next_bar(world, bar, PRODUCTS[: 2 + bar % 2]), await truth(world, bar, model))
        count = len(await world.signals()) - 3
        heard = [await signals_of(call, count, LAST + 5) for call in live]
        again = await signals_of(other.WatchSignals(pb.WatchSignalsRequest(after_sequence=3)), count, LAST + 5)
    assert [signal.sequence for signal in again[:-1]] == list(range(4, 4 + count))
    assert {len(signal.features) for signal in again[:-1]} == {0, 51}
    assert heard == [again] * 3


async def test_a_bar_of_this_process_is_not_read_again_for_its_watchers(
    world: World, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notification of the bar's own commit may come before its writer knows of it, or after the bar was sent."""
    await world.store(0, LAST)
    await world.complete(LAST)
    reads: list[int] = []
    plain = store.signals_after

    async def counted(connection: Any, sequence: int, limit: int) -> Any:
        reads.append(sequence)
        return await plain(connection, sequence, limit)

    monkeypatch.setattr(store, "signals_after", counted)
    async with world.service(**given) as stub:
        await world.until_decided(LAST)
        call = stub.WatchSignals(pb.WatchSignalsRequest(after_sequence=0))
        assert [signal.sequence for signal in (await signals_of(call, 3))[:-1]] == [1, 2, 3]
        await asyncio.sleep(0.2)
        reads.clear()
        for bar in range(LAST + 1, LAST + 5):
            await next_bar(world, bar)
            found = await signals_of(call, 3, bar)
            # Longer than the notification takes, shorter than the heartbeat at which the table is asked in any case.
            await asyncio.sleep(0.2)
        assert [signal.sequence for signal in found[:-1]] == [13, 14, 15]
        assert reads == []
