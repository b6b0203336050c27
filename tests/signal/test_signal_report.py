"""The report: a document that agrees with itself, a page that says it first and needs nothing else, a job from a file."""

from __future__ import annotations

import json
import re
import struct
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from modelkit.candles import CandleArrays
from modelkit.labels import LabelRule
from modelkit.manifest import MANIFEST_NAME, parse
from tests.signal.signal_series import synthetic
from training.artifact import write_model
from training.exits import Way
from training.report import file_job
from training.report.candle_file import FileUnusable, read_candle_file
from training.report.decisions import Span
from training.report.document import Origin, account_step, document, summary
from training.report.files import write_report
from training.report.page import page
from training.report.verdict import LEAST_TRADES, verdict
from training.report.ways import Ways, traded_ways
from training.settings import EstimatorSettings
from training.walkforward_candidates import CANDIDATES, CHOSEN_RULE, LOGISTIC, RULES, Candidate
from training.walkforward_parallel import Workers
from training.walkforward_study import COST_LADDER, Study, StudySettings, study

TINY = EstimatorSettings(iterations=4, leaves=6, rows_per_leaf=40, bins=6)
SETTINGS = StudySettings(
    label=LabelRule(fee_ratio=0.0005),
    candidates=(
        Candidate("trees", "small", TINY),
        Candidate("trees-plain", "unbalanced", TINY, balanced=False),
        Candidate(LOGISTIC, "a <baseline>", None),
    ),
)
ORIGIN = Origin("candles & co.parquet", datetime(2025, 11, 1, tzinfo=UTC), 12.5)
PICTURES = {
    f"{name}{tone}" for name in ("reliability", "cost-ladder", "equity", "folds", "drift") for tone in ("", "-dark")
}
BASELINES = {"always HOLD", "buy and hold", "buy and hold, model's exposure", "20/50 averages"}


@pytest.fixture(scope="module")
def found() -> Study:
    return study(synthetic(3, 2_400, seed=41), SETTINGS, Workers(), lambda step, share: None)


@pytest.fixture(scope="module")
def told(found: Study) -> dict[str, Any]:
    return json.loads(json.dumps(document(found, ORIGIN), allow_nan=False))


@pytest.fixture(scope="module")
def written(told: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(told, folder)
    return folder


def test_every_table_of_the_ladder_has_every_baseline(told: dict[str, Any]) -> None:
    for period in (told["folds"], told["final"]):
        assert [step["cost_per_side"] for step in period["ladder"]] == sorted({*COST_LADDER, SETTINGS.account_cost})
        for step in period["ladder"]:
            assert set(step["baselines"]) == BASELINES
            assert set(step["model"]) == set(step["logistic"]) == {rule.name for rule in RULES}
            assert step["baselines"]["always HOLD"]["total_return"] == 0.0
            assert set(step["intervals"]) == BASELINES | {f"logistic, {step['compared']}"}
            gap = step["intervals"]["always HOLD"]
            assert np.expm1(gap["log_return"]) == pytest.approx(step["model"][step["compared"]]["total_return"])
            assert gap["quantile_05"] <= gap["quantile_95"]
        assert set(period["probability"]) == {"model", "logistic", "priors"}
        assert set(period["by_product"]) == set(told["data"]["products"])


def test_every_rule_is_traded_in_four_ways_and_live_is_what_the_ladder_has(told: dict[str, Any]) -> None:
    account = SETTINGS.account_cost
    for period in (told["folds"], told["final"]):
        assert len(period["ways"]) == 4 * len(RULES)
        live = [way for way in period["ways"] if way["live"]]
        assert [(way["protective_exits"], way["entry"]) for way in live] == [(True, "TAKER")] * len(RULES)
        for way in live:
            stats = account_step(period, account)["model"][way["rule"]]
            assert stats == {name: way[name] for name in stats}
        for way in period["ways"]:
            assert sum(way["exits"].values()) == way["trades"]
            assert way["pnl"] == pytest.approx(way["gross"] - way["fees"] - way["slippage"])
            by_itself = sum(way["exits"][name] for name in ("STOP", "TARGET", "TIME_LIMIT"))
            assert way["protective_exits"] or not by_itself
            assert way["entry"] == "MAKER" or not way["not_filled"]
            # 0.05 % of the stake, and of what it is sold for; a maker's entry pays the fee alone.
            sold = way["trades"] + way["gross"]
            taken = 0 if way["entry"] == "MAKER" else way["trades"]
            assert way["fees"] == pytest.approx(0.0005 * (way["trades"] + sold))
            assert way["slippage"] == pytest.approx(0.0005 * (taken + sold))
    dear = [way for way in told["folds"]["ways"] if way["rule"] == RULES[1].name]
    assert all(way["trades"] for way in dear) and sum(way["exits"]["STOP"] + way["exits"]["TARGET"] for way in dear)
    assert any(way["not_filled"] for way in dear)


def test_a_mesh_without_protective_exits_is_judged_without(found: Study) -> None:
    bare = replace(found, settings=replace(SETTINGS, way=Way(protective=False)))
    ways = traded_ways(bare, Span(found.table, found.table.entries, 1000, 1400), Ways.of(bare))
    assert {(way["protective_exits"], way["entry"]) for way in ways if way["live"]} == {(False, "TAKER")}


def test_the_scaled_baseline_has_the_model_s_exposure(told: dict[str, Any]) -> None:
    for step in told["folds"]["ladder"]:
        scaled = step["baselines"]["buy and hold, model's exposure"]["exposure"]
        assert scaled == pytest.approx(step["model"][step["compared"]]["exposure"], rel=0.01)


def test_dearer_trades_earn_less_for_a_rule_that_trades_the_same(told: dict[str, Any]) -> None:
    totals = [step["baselines"]["20/50 averages"]["total_return"] for step in told["folds"]["ladder"]]
    assert totals == sorted(totals, reverse=True) and len(set(totals)) == len(totals)


def test_folds_products_and_bins_add_up_to_the_same_rows(told: dict[str, Any]) -> None:
    model = told["folds"]["probability"]["model"]
    rows = sum(fold["rows"] for fold in model["folds"])
    assert rows == sum(each["rows"] for each in model["products"].values())
    assert rows == sum(each["rows"] for each in model["reliability"])
    losses = [fold["log_loss"] for fold in model["folds"]]
    assert model["mean"]["log_loss"] == pytest.approx(np.mean(losses))
    assert model["spread"]["log_loss"] == pytest.approx(np.std(losses))


def test_the_served_setting_is_the_best_of_the_trees_on_the_folds_alone(told: dict[str, Any], found: Study) -> None:
    losses = {each["name"]: each["log_loss"] for each in told["tried"]}
    assert told["chosen"] == min((name for name in losses if name != LOGISTIC), key=losses.__getitem__)
    assert told["deflated"]["trials"] == len(SETTINGS.candidates) * len(RULES) == found.model.settings_tried


def test_a_model_without_a_surviving_threshold_says_hold_first(told: dict[str, Any], written: Path) -> None:
    """Random walks: nothing survives, and the page's first line says so."""
    assert not told["thresholds"]["has_evidence"] and not told["verdict"]["survives"]
    html = (written / "index.html").read_text()
    first = re.search(r"<main>\s*<(\w+)>(.*?)</\1>", html, re.DOTALL)
    assert first is not None and first[1] == "h1"
    assert unescape(first[2]) == "The model says HOLD: no threshold survives the account's cost of 0.10% per side."
    assert account_step(told["final"], SETTINGS.account_cost)["model"][CHOSEN_RULE.name]["trades"] == 0


def test_a_surviving_threshold_is_named_with_what_the_last_block_made(told: dict[str, Any]) -> None:
    other = deepcopy(told)
    other["thresholds"].update(has_evidence=True, theta_buy=0.15)
    account_step(other["final"], SETTINGS.account_cost)["model"][CHOSEN_RULE.name]["total_return"] = -0.123
    line = verdict(other)["headline"]
    assert "0.15" in line and "-12.3%" in line and "HOLD" not in line


def test_what_is_too_good_is_flagged(told: dict[str, Any]) -> None:
    other = deepcopy(told)
    for period in (other["folds"], other["final"]):
        for kind in ("model", "logistic"):
            for fold in period["probability"][kind]["folds"]:
                fold["auc_up_down"] = 0.6
            for step in period["ladder"]:
                for stats in step[kind].values():
                    stats.update(sharpe=2.0, trades=LEAST_TRADES)
    assert verdict(other)["suspected"] == []
    other["folds"]["probability"]["model"]["folds"][1]["auc_up_down"] = 0.61
    other["final"]["ladder"][0]["logistic"][CHOSEN_RULE.name]["sharpe"] = 9.0  # free of costs: no claim
    other["final"]["ladder"][1]["logistic"][CHOSEN_RULE.name]["sharpe"] = 2.1
    flagged = verdict(other)["suspected"]
    assert len(flagged) == 2 and "AUC 0.610" in flagged[0] and "2.10" in flagged[1]


def test_a_ratio_of_few_trades_is_counted_and_no_suspect(told: dict[str, Any]) -> None:
    other = deepcopy(told)
    for period in (other["folds"], other["final"]):
        for kind in ("model", "logistic"):
            for fold in period["probability"][kind]["folds"]:
                fold["auc_up_down"] = 0.5
            for step in period["ladder"]:
                for stats in step[kind].values():
                    stats.update(sharpe=9.0, trades=LEAST_TRADES - 1)
    dear = len(other["folds"]["ladder"]) - 1
    found = verdict(other)
    assert (found["suspected"], found["from_few_trades"]) == ([], 2 * 2 * len(RULES) * dear)
    html = page({**other, "verdict": found}, dict.fromkeys(PICTURES, b""))
    assert 'class="warn"' not in html and f"fewer than {LEAST_TRADES} trades: {found['from_few_trades']}" in html
    other["folds"]["ladder"][-1]["model"][CHOSEN_RULE.name]["trades"] = LEAST_TRADES
    found = verdict(other)
    assert len(found["suspected"]) == 1 and f"from {LEAST_TRADES} trades" in found["suspected"][0]
    html = page({**other, "verdict": found}, dict.fromkeys(PICTURES, b""))
    assert 'class="warn"' in html


@pytest.mark.parametrize("rule", [RULES[0].name, RULES[-1].name])
def test_figures_of_a_fixed_rule_are_never_the_models_own(told: dict[str, Any], rule: str) -> None:
    """The tables by block and by product name the rule; where it is a stand-in, they say that nobody would have followed it."""
    other = deepcopy(told)
    account_step(other["folds"], SETTINGS.account_cost)["compared"] = rule
    html = unescape(page(other, dict.fromkeys(PICTURES, b"")))
    assert html.count("which nobody would have followed") == (2 if rule == RULES[-1].name else 0)
    head = next(part for part in re.findall(r"<thead>.*?</thead>", html) if "block" in part and "buy and hold" in part)
    assert f"model,<br>{rule}" in head and f"logistic,<br>{rule}" in head and "<th>model</th>" not in head


def test_the_page_is_one_file_with_every_section(written: Path, told: dict[str, Any]) -> None:
    html = (written / "index.html").read_text()
    assert not re.search(r"""(?:src|href|srcset)=["'](?!data:|#)""", html)
    assert "<script" not in html and "a <baseline>" not in html and "a &lt;baseline&gt;" in html
    for anchor in ("probabilities", "money", "last", "products", "tried", "drift", "method"):
        assert f'id="{anchor}"' in html and f'href="#{anchor}"' in html
    for name in (*told["data"]["products"], *BASELINES, "class priors", "candles &amp; co.parquet"):
        assert name in html or name in unescape(html)
    assert unescape(told["plan"]["shortfall"][0]) in html
    assert "nan" not in re.sub(r"base64,[^\"]*", "", html).lower()


def test_figures_are_pictures_in_light_and_dark(written: Path) -> None:
    assert {path.stem for path in written.glob("*.png")} == PICTURES
    for path in written.glob("*.png"):
        content = path.read_bytes()
        width, height = struct.unpack(">II", content[16:24])
        assert content.startswith(b"\x89PNG") and width > 800 and height > 400


def test_the_page_can_be_made_again_from_the_document_alone(written: Path) -> None:
    kept = json.loads((written / "report.json").read_text())
    assert kept["schema"] == "trading.signal.evidence/2"
    pictures = {path.stem: path.read_bytes() for path in written.glob("*.png")}
    assert page(kept, pictures) == (written / "index.html").read_text()


def test_the_manifest_carries_the_evidence(found: Study, told: dict[str, Any], tmp_path: Path) -> None:
    write_model(tmp_path, replace(found.model, evidence=summary(told)), ORIGIN.created_at, "abc", None)
    carried = parse((tmp_path / MANIFEST_NAME).read_bytes()).document["metrics"]["walk_forward"]
    assert carried["verdict"]["headline"] == told["verdict"]["headline"]
    assert {(way["protective_exits"], way["entry"]) for way in carried["account"]["ways"]} == {
        (protective, entry) for protective in (True, False) for entry in ("TAKER", "MAKER")
    }
    assert set(carried["baselines"]) == BASELINES | {"class_priors", "logistic"}
    assert carried["deflated_sharpe"]["trials"] == len(SETTINGS.candidates) * len(RULES)


def save(candles: dict[str, CandleArrays], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    names = np.concatenate([np.repeat(name, len(rows)) for name, rows in candles.items()])
    columns = {key: np.concatenate([getattr(rows, key) for rows in candles.values()]) for key in ("open", "high")}
    columns |= {key: np.concatenate([getattr(rows, key) for rows in candles.values()]) for key in ("low", "close")}
    columns["volume"] = np.concatenate([rows.volume for rows in candles.values()])
    start = np.concatenate([rows.start for rows in candles.values()]) * 1_000_000
    table = {"product_id": names, "granularity": np.repeat("ONE_HOUR", len(names)), **columns}
    table["start"] = pa.array(start, pa.timestamp("us", "UTC"))
    parquet.write_table(pa.table(table), path)


def test_a_file_job_refuses_in_words_what_it_cannot_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "few.parquet"
    save(synthetic(2, 400), path)
    taken = read_candle_file(path, ("C01-USD",))
    assert set(taken.candles) == {"C01-USD", "BTC-USD"} and taken.factor_product == "BTC-USD"
    # A float carries 15 digits; what stands beyond them in the made-up prices is noise.
    assert np.allclose(taken.candles["C01-USD"].close, synthetic(2, 400)["C01-USD"].close, rtol=1e-14, atol=0.0)
    with pytest.raises(FileUnusable, match="ETH-USD"):
        read_candle_file(path, ("ETH-USD",))
    (tmp_path / "text.parquet").write_text("no candles")
    for name in ("few.parquet", "text.parquet", "absent.parquet"):
        given = ["--file", str(tmp_path / name), "--report", str(tmp_path / "r"), "--model-out", str(tmp_path / "m")]
        with pytest.raises(SystemExit) as ended:
            file_job.main(given)
        assert ended.value.code == 3
        said = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert said["stage"] == "refused" and said["detail"]
    assert not (tmp_path / "m").exists() and not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--file", "x.parquet"),
        ("--jobs", "2"),
        ("--products", "BTC-USD", "--report", "r"),
        ("--report", "r", "--file", "x.parquet", "--backend", "celery"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options: tuple[str, ...]) -> None:
    ran = CliRunner().invoke(app, ["train", *options])
    assert ran.exit_code == 2


def test_the_settings_that_are_tried_are_different_and_explained() -> None:
    assert len({candidate.name for candidate in CANDIDATES}) == len({replace(c, name="") for c in CANDIDATES})
    assert all(candidate.reason for candidate in CANDIDATES)
