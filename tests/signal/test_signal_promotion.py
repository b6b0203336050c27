"""The limits of a promotion, one by one and together, against sums done by hand; and who is settled into which part."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkit.candles import FloatArray, IntArray
from svc_signal.models.promotion import BUY, HOLD, SELL, Evidence, JudgedRows, in_words, missing, weigh
from svc_signal.models.roles import ChangeKind, Roles, Standing, settle

START = datetime(2025, 1, 1, tzinfo=UTC)
COST = 0.02
ENOUGH = Evidence(
    labelled_from=START,
    as_of=START + timedelta(days=14),
    matured_labels=900,
    log_loss=1.0,
    champion_log_loss=1.1,
    probability_better=0.9,
    net_return=0.1,
    champion_net_return=0.1,
    trades=15,
    champion_trades=10,
    calibration_error=0.05,
)


def rows_of(bars: int, products: int, better: float, seed: int = 3) -> JudgedRows:
    """Random outcomes; the champion knows nothing, the challenger gives what happens `better` more, with noise."""
    rng = np.random.default_rng(seed)
    n = bars * products
    outcome = rng.integers(0, 3, n)
    chance = np.clip(1 / 3 + better + rng.normal(0.0, 0.1, n), 0.05, 0.9)
    challenger = np.repeat(((1.0 - chance) / 2.0)[:, None], 3, axis=1)
    challenger[np.arange(n), outcome] = chance
    return JudgedRows(
        bar=np.repeat(np.arange(bars), products) + 500_000,
        product=np.tile(np.arange(products), bars),
        challenger=challenger,
        champion=np.full((n, 3), 1 / 3),
        challenger_side=rng.integers(-1, 2, n),
        champion_side=np.zeros(n, dtype=np.int64),
        outcome=outcome,
        next_return=rng.normal(0.0, 0.01, n),
    )


def weighed(rows: JudgedRows) -> Evidence:
    return weigh(rows, COST, 24, (START, START + timedelta(days=20)))


def codes(evidence: Evidence) -> list[str]:
    return [reason.code for reason in missing(evidence)]


def test_what_lies_on_its_limit_suffices() -> None:
    assert codes(ENOUGH) == []
    assert codes(replace(ENOUGH, as_of=START + timedelta(days=1), matured_labels=1_000)) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"as_of": START + timedelta(days=13, hours=23), "matured_labels": 999}, "EVIDENCE_TOO_SHORT"),
        ({"probability_better": 0.899}, "LOG_LOSS_NOT_LOWER"),
        ({"net_return": 0.0999}, "NET_RETURN_LOWER"),
        ({"trades": 16}, "TURNOVER_TOO_HIGH"),
        ({"calibration_error": 0.0501}, "CALIBRATION_OFF"),
        ({"net_return": float("nan")}, "NET_RETURN_LOWER"),
        ({"calibration_error": float("nan")}, "CALIBRATION_OFF"),
        ({"probability_better": float("nan")}, "LOG_LOSS_NOT_LOWER"),
    ],
)
def test_each_limit_refuses_by_itself(change: dict[str, object], code: str) -> None:
    assert codes(replace(ENOUGH, **change)) == [code]  # type: ignore[arg-type]


def test_all_that_is_missing_is_told_at_once() -> None:
    worst = replace(
        ENOUGH,
        as_of=None,
        matured_labels=0,
        probability_better=0.1,
        net_return=-1.0,
        trades=99,
        calibration_error=0.3,
    )
    reasons = missing(worst)
    assert len(reasons) == 5
    said = in_words(reasons)
    for reason in reasons:
        assert reason.code in said and reason.observed in said and reason.limit in said
    assert len(said) < 512


def test_a_champion_that_never_trades_sets_no_limit_to_turnover() -> None:
    assert codes(replace(ENOUGH, trades=500, champion_trades=0)) == []
    assert codes(replace(ENOUGH, trades=500, champion_trades=0, net_return=0.0)) == ["NET_RETURN_LOWER"]


def test_a_model_that_knows_more_is_probably_better_and_one_that_knows_less_is_not() -> None:
    assert weighed(rows_of(400, 3, 0.1)).probability_better > 0.95
    assert weighed(rows_of(400, 3, -0.1)).probability_better < 0.05
    same = rows_of(400, 3, 0.0)
    assert weighed(replace(same, challenger=same.champion)).probability_better == 0.0  # equal is not lower


def test_nobody_is_better_by_chance_more_often_than_by_chance() -> None:
    """Two models that are equally good: a promotion by luck is as rare as its limit says."""
    lucky = sum(weighed(_twins(seed)).probability_better >= 0.9 for seed in range(200))
    assert lucky <= 40  # a tenth of 200, and what so few blocks are worse than many


def _twins(seed: int) -> JudgedRows:
    """The loss difference wanders: what one bar says, the next 24 repeat, as overlapping labels do."""
    rng = np.random.default_rng(seed)
    bars = 400
    wander = np.convolve(rng.normal(size=bars + 23), np.ones(24) / 24, mode="valid") * 0.3
    chance = np.clip(1 / 3 * np.exp(wander), 0.01, 0.98)
    challenger = np.stack([chance, (1 - chance) / 2, (1 - chance) / 2], axis=1)
    rows = rows_of(bars, 1, 0.0)
    return replace(rows, challenger=challenger, outcome=np.zeros(bars, dtype=np.int64))


def test_too_few_bars_say_nothing_however_many_rows_they_hold() -> None:
    found = weighed(rows_of(40, 100, 0.2))
    assert found.matured_labels == 4_000 and found.probability_better == 0.5
    assert codes(found)[0] == "LOG_LOSS_NOT_LOWER"


def test_no_rows_are_no_evidence() -> None:
    empty = rows_of(0, 3, 0.0)
    assert codes(weigh(empty, COST, 24, None)) == ["EVIDENCE_TOO_SHORT", "LOG_LOSS_NOT_LOWER"]


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 4))
def test_long_or_flat_is_what_walking_bar_by_bar_gives(seed: int, bars: int, products: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rows_of(bars, products, 0.0, seed)
    kept = rng.random(len(rows)) < 0.8  # bars are missing here and there
    order = rng.permutation(np.flatnonzero(kept))
    shuffled = JudgedRows(*(getattr(rows, name)[order] for name in JudgedRows.__slots__))
    found = weighed(shuffled)
    net, trades = _walked(shuffled.bar, shuffled.product, shuffled.challenger_side, shuffled.next_return)
    assert found.trades == trades
    assert found.net_return == pytest.approx(net, abs=1e-12)
    assert (found.champion_net_return, found.champion_trades) == (0.0, 0)


def _walked(bar: IntArray, product: IntArray, side: IntArray, gain: FloatArray) -> tuple[float, int]:
    net, trades = 0.0, 0
    for one in set(product.tolist()):
        mine = [index for index in np.argsort(bar) if product[index] == one]
        held = 0
        for index in mine:
            wanted = {BUY: 1, HOLD: held, SELL: 0}[int(side[index])]
            trades += abs(wanted - held)
            net += wanted * gain[index] - COST / 2 * abs(wanted - held)
            held = wanted
        trades += held
        net -= COST / 2 * held
    return net / max(len(set(product.tolist())), 1), trades


def test_evidence_is_the_same_every_time_and_for_any_order_of_products() -> None:
    rows = rows_of(300, 3, 0.02)
    assert weighed(rows) == weighed(rows)
    renamed = replace(rows, product=2 - rows.product)
    assert weighed(renamed).probability_better == weighed(rows).probability_better


# ---- parts -----------------------------------------------------------------------------------------------------------


def standing(version: str, train_to: int, at_top: bool = False, knows: bool = True) -> Standing:
    return Standing(version, train_to, "2025-01-01T00:00:00+00:00", at_top, knows)


OLD, MID, NEW = standing("old", 1), standing("mid", 2), standing("new", 3)


def kinds(found: tuple[Roles, tuple[object, ...]]) -> list[str]:
    return [str(change.kind) for change in found[1]]  # type: ignore[attr-defined]


def test_the_top_is_adopted_first_and_what_is_newer_challenges() -> None:
    roles, changes = settle(Roles(), [NEW, OLD, replace(MID, at_top=True)], frozenset(), False)
    assert roles == Roles("mid", "new", None)
    assert [(change.kind, change.version) for change in changes] == [
        (ChangeKind.ADOPTED, "mid"),
        (ChangeKind.CHALLENGED, "new"),
    ]
    assert settle(roles, [NEW, OLD, MID], {"mid", "new"}, True) == (roles, ())


def test_a_model_that_had_a_part_never_challenges_again() -> None:
    assert settle(Roles("old"), [OLD, NEW], {"old", "new"}, True) == (Roles("old"), ())
    found = settle(Roles("old"), [OLD, MID, NEW], {"old", "new"}, True)
    assert found[0].challenger == "mid"


def test_a_champion_out_of_reach_is_replaced_only_where_nothing_serves() -> None:
    assert settle(Roles("gone"), [OLD, MID], {"gone"}, True) == (Roles("gone"), ())
    roles, _ = settle(Roles("gone", "mid"), [OLD, MID], {"gone", "mid"}, False)
    assert roles == Roles("mid", None, "gone")


def test_the_record_says_whether_the_champions_files_are_gone_or_refused() -> None:
    def note(*refused: str) -> str:
        return settle(Roles("gone"), [OLD], {"gone"}, False, refused)[1][0].note

    assert note().startswith("the champion's files are gone; where `mesh up` trained over them")
    assert note("newer HASH_MISMATCH (the artifact's sha256 is abc)").endswith(
        "refused: newer HASH_MISMATCH (the artifact's sha256 is abc)"
    )


def test_a_champion_that_does_not_know_the_products_gives_way_to_one_that_does() -> None:
    narrow = standing("narrow", 9, knows=False)
    assert settle(Roles("narrow"), [narrow], {"narrow"}, False) == (Roles("narrow"), ())
    assert settle(Roles("narrow"), [narrow, OLD], {"narrow", "old"}, False)[0].champion == "old"
    assert settle(Roles("narrow"), [narrow, OLD], {"narrow", "old"}, True) == (Roles("narrow"), ())


models = st.builds(
    Standing, st.sampled_from("abcdef"), st.integers(0, 4), st.sampled_from(["x", "y"]), st.booleans(), st.booleans()
)
names = st.none() | st.sampled_from("abcdefg")


@given(
    st.builds(Roles, names, names, names),
    st.lists(models, unique_by=lambda m: m.version),
    st.sets(names),
    st.booleans(),
)
def test_settling_ends_at_once_and_never_promotes(
    roles: Roles, standings: list[Standing], seen: set[str], serving: bool
) -> None:
    after, changes = settle(roles, standings, seen - {None}, serving)
    known = {each.version for each in standings}
    assert all(change.version in known for change in changes)
    assert {change.kind for change in changes} <= {ChangeKind.ADOPTED, ChangeKind.CHALLENGED}
    if serving and roles.champion is not None:
        assert after.champion == roles.champion
    had_a_part = {*seen, *(change.version for change in changes)} - {None}
    again = settle(after, standings, had_a_part, serving or after.champion in known)
    assert again == (after, ())
    if after != roles:
        assert after.champion != after.challenger
