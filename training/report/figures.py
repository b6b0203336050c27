"""The figures of a report as PNG, each in a light and a dark version.

Colours are told apart by people with any colour vision (Okabe and Ito 2008); the model is always the same one.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from training.report.decisions import HOLD

Document = Mapping[str, Any]
_INCHES = (8.0, 4.2)
_DPI = 140
_MODEL, _OTHER = "#0072B2", ("#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of text, grid and ground."""

    suffix: str
    ground: str
    text: str
    grid: str
    model: str


THEMES = (
    Theme("", "#ffffff", "#1c2128", "#d9dee5", _MODEL),
    Theme("-dark", "#151a21", "#dfe5ec", "#333c48", "#4FA3DB"),
)


def draw(document: Document) -> dict[str, bytes]:
    """PNG by name; `-dark` for dark pages."""
    figures: dict[str, Callable[[Any, Document, Theme], None]] = {
        "reliability": _reliability,
        "cost-ladder": _ladder,
        "equity": _equity,
        "folds": _folds,
        "drift": _drift,
    }
    return {
        f"{name}{theme.suffix}": _picture(paint, document, theme) for name, paint in figures.items() for theme in THEMES
    }


def _picture(paint: Callable[[Any, Document, Theme], None], document: Document, theme: Theme) -> bytes:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    settings: Any = {
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor"), theme.ground),
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), theme.text),
        **dict.fromkeys(("axes.edgecolor", "grid.color", "legend.edgecolor"), theme.grid),
        "axes.grid": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 10,
        "legend.fontsize": 8.5,
    }
    with rc_context(settings):
        figure = Figure(figsize=_INCHES, layout="constrained")
        paint(figure, document, theme)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _reliability(figure: Any, document: Document, theme: Theme) -> None:
    """Predicted against observed frequency, and how often each was predicted."""
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top = 0.05
    for kind, colour in (("model", theme.model), ("logistic", _OTHER[0])):
        table = [each for each in document["folds"]["probability"][kind]["reliability"] if each["rows"]]
        said = [each["mean_predicted"] for each in table]
        upper.plot(said, [each["share_up"] for each in table], "o-", color=colour, label=kind, markersize=4)
        lower.plot(said, [each["rows"] for each in table], "o-", color=colour, markersize=3)
        top = max([top, *said, *(each["share_up"] for each in table)])
    upper.plot([0, top], [0, top], "--", color=theme.text, linewidth=1, label="said = seen")
    upper.set(ylabel="share that was UP", title="Calibration of p(UP), all folds")
    lower.set(xlabel="p(UP) as said", ylabel="rows", yscale="log")
    upper.legend()


def _ladder(figure: Any, document: Document, theme: Theme) -> None:
    """Total net return by cost per side; fixed rules are drawn thinner."""
    axes = figure.subplots()
    ladder = document["folds"]["ladder"]
    costs = [100 * step["cost_per_side"] for step in ladder]
    styles = ["-", ":", "-.", "--"]
    for kind, colour in (("model", theme.model), ("logistic", _OTHER[0])):
        for name, style in zip(ladder[0][kind], styles, strict=True):
            totals = [100 * step[kind][name]["total_return"] for step in ladder]
            width = 2.4 if style == "-" else 1.2
            axes.plot(costs, totals, style, color=colour, linewidth=width, label=f"{kind}, {name}", marker=".")
    moving = [name for name in ladder[0]["baselines"] if name != HOLD]  # the line at zero is drawn below
    for name, colour in zip(moving, _OTHER[1:], strict=False):
        totals = [100 * step["baselines"][name]["total_return"] for step in ladder]
        axes.plot(costs, totals, color=colour, linewidth=1.2, label=name)
    axes.axhline(0, color=theme.text, linewidth=1)
    axes.axvline(100 * document["data"]["account_cost"], color=theme.text, linewidth=1, linestyle=":")
    axes.set(yscale="symlog", xlabel="cost per side, % (dotted: this account)", ylabel="total net return, %")
    axes.set_title("What is left at which cost, all folds")
    figure.legend(loc="outside right center")


def _equity(figure: Any, document: Document, theme: Theme) -> None:
    """Wealth of one unit through the folds, then through the last block."""
    axes = figure.subplots()
    colours = (theme.model, *_OTHER)
    for period, alpha in (("folds", 1.0), ("final", 0.55)):
        curves = document[period]["equity"]
        times = [datetime.fromtimestamp(at, UTC) for at in curves["times"]]
        for number, (name, wealth) in enumerate(curves["wealth"].items()):
            label = name if period == "folds" else None
            width = 2.2 if number == 0 else 1.1
            colour = colours[number % len(colours)]
            axes.plot(times, wealth, color=colour, linewidth=width, alpha=alpha, label=label)
    axes.axvline(datetime.fromtimestamp(document["final"]["from"], UTC), color=theme.text, linewidth=1, linestyle=":")
    axes.set(yscale="log", ylabel="wealth of 1, net")
    axes.set_title(f"At the account's cost of {document['data']['account_cost']:.2%} per side; dotted: the last block")
    figure.legend(loc="outside lower center", ncols=3)


def _folds(figure: Any, document: Document, theme: Theme) -> None:
    """AUC and log loss, block by block."""
    figure.set_size_inches(8.0, 6.0)
    upper, lower = figure.subplots(2, 1, sharex=True)
    numbers = [*range(1, len(document["plan"]["folds"]) + 1), "last"]
    for kind, colour in (("model", theme.model), ("logistic", _OTHER[0]), ("priors", _OTHER[1])):
        blocks = [*document["folds"]["probability"][kind]["folds"], *document["final"]["probability"][kind]["folds"]]
        labels = [str(number) for number in numbers]
        if kind != "priors":
            ranked = [float("nan") if each["auc_up_down"] is None else each["auc_up_down"] for each in blocks]
            upper.plot(labels, ranked, "o-", color=colour, label=kind)
        name = "class shares" if kind == "priors" else kind
        lower.plot(labels, [each["log_loss"] for each in blocks], "o-", color=colour, label=name)
    upper.axhline(0.5, color=theme.text, linewidth=1)
    upper.axhline(0.6, color=_OTHER[4], linewidth=1, linestyle=":")
    upper.set(title="AUC, up against down (dotted: suspect)")
    lower.set(title="Log loss", xlabel="block")
    lower.legend()


def _drift(figure: Any, document: Document, theme: Theme) -> None:
    """Stability index of each feature in each block."""
    import numpy as np

    axes = figure.subplots()
    features, blocks = document["drift"]["features"], np.asarray(document["drift"]["blocks"])
    shown = axes.imshow(blocks, aspect="auto", cmap="viridis", vmin=0.0, vmax=0.5, interpolation="nearest")
    axes.set_xticks(range(len(features)), features, rotation=90, fontsize=6.5)
    axes.set_yticks(range(len(blocks)), [*map(str, range(1, len(blocks))), "last"])
    axes.grid(visible=False)
    axes.set(ylabel="block", title="Drift of features: stability index against what the block's model learned from")
    figure.colorbar(shown, ax=axes, extend="max", label="0.25 warning, 0.5 alarm")
