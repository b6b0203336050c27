"""The report as one page that needs nothing else: what it comes to on the first line, then everything behind it.

The words are in `templates/report.html`, the tables' cells here and in `tables` and `money_tables`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from training.report import money_tables, tables
from training.report.cells import Table, day, number, share
from training.report.verdict import LEAST_TRADES, SUSPECT_SHARPE
from training.walkforward_candidates import CHOSEN_RULE

Document = Mapping[str, Any]
Pictures = Mapping[str, bytes]
_TEMPLATES = Path(__file__).with_name("templates")
_SECTIONS = {
    "probabilities": "Probabilities",
    "money": "Money",
    "last": "The last block",
    "products": "Products",
    "tried": "What was tried",
    "drift": "Drift",
    "method": "How it was done",
}


def page(document: Document, pictures: Pictures) -> str:
    """The whole HTML."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(number=number, share=share, day=day)
    compared = _compared(document)
    return environment.get_template("report.html").render(
        document,
        pictures={name: base64.b64encode(content).decode() for name, content in pictures.items()},
        tables=_tables(document, compared),
        compared=compared,
        sections=_SECTIONS,
        chosen_rule=CHOSEN_RULE.name,
        suspect_sharpe=SUSPECT_SHARPE,
        least_trades=LEAST_TRADES,
    )


def _compared(document: Document) -> str:
    """The rule that stands against the baselines over the folds, at the account's cost."""
    steps = document["folds"]["ladder"]
    return str(next(step["compared"] for step in steps if step["cost_per_side"] == document["data"]["account_cost"]))


def _tables(document: Document, compared: str) -> dict[str, Table | dict[str, Table]]:
    folds, cost = document["folds"], document["data"]["account_cost"]
    return {
        "probabilities": tables.probabilities(document),
        "folds": tables.folds(document),
        "precision": tables.precision(folds["probability"]),
        "reliability": tables.reliability(folds["probability"]),
        "folds_money": _money(folds, cost),
        "by_fold": money_tables.by_fold(folds, compared),
        "thresholds": money_tables.thresholds(document["thresholds"]),
        "last": tables.last(document["final"]),
        "final_money": _money(document["final"], cost),
        "products": tables.products(folds["probability"]),
        "by_product": money_tables.by_product(folds),
        "tried": tables.tried(document),
        "drift": tables.drift(document["drift"]),
    }


def _money(period: Document, account_cost: float) -> dict[str, Table]:
    return {
        "ways": money_tables.ways(period),
        "by_cost": money_tables.by_cost(period, account_cost),
        "at_account_cost": money_tables.at_account_cost(period, account_cost),
        "intervals": money_tables.intervals(period),
    }
