"""The question put to a language model: a fixed text and numbers formatted here, never words from outside.

No ids, symbols, prices or times: they would break the shared prefix, and let the model remember instead of judge.
Numbers are rounded, so that equal situations give equal prompts. The version is a hash of text, schema and options.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from svc_validator.rules import Inputs

_NAME = "entry-veto.v1"
# The finding a model may give. Hard limits are the rules' business; these only name what it weighed.
MODEL_REASONS = ("OK", "EDGE", "TREND", "VOLATILITY", "LIQUIDITY")

SYSTEM = """\
You review one proposed BUY of a cryptocurrency on a spot exchange, to be held for about 24 bars.
You can only let it pass or veto it. Judge the figures together, not one by one.
APPROVE when the model sees an upward edge and trend, volatility and volume do not speak clearly against it.
REJECT when the picture speaks clearly against an entry: no edge, a strong downtrend or a crash in progress, \
volatility out of hand, an overheated price, or hardly any trading.
Answer with one JSON object and nothing else: {"verdict": "APPROVE" or "REJECT", "reason": one word}.
The reason of an APPROVE is OK. The reason of a REJECT is the main objection: EDGE, TREND, VOLATILITY or LIQUIDITY."""

# Line by line: label, input, unit, and how the input becomes the number shown.
_PERCENT, _TIMES, _POINTS = "%", "x", "of 100"
_LINES: tuple[tuple[str, str, str], ...] = (
    ("Edge, probability of rise minus probability of fall", "edge", "points"),
    ("Expected net return", "expected_net", _PERCENT),
    ("Volatility over the holding time", "sigma_horizon", _PERCENT),
    ("Return of the last bar", "ret_1", _PERCENT),
    ("Return over 24 bars", "ret_24", _PERCENT),
    ("Distance from the 50-bar mean", "sma_dist_50", _PERCENT),
    ("Average true range, 14 bars", "natr_14", _PERCENT),
    ("Relative strength index, 14 bars", "rsi_14", _POINTS),
    ("Average directional index, 14 bars", "adx_14", _POINTS),
    ("Position in the Bollinger band, 0 lower and 100 upper edge", "bb_pctb_20", _POINTS),
    ("Volatility of 24 bars against 168 bars", "vol_ratio_24_168", _TIMES),
    ("Volume against its 24-bar mean", "relvol_24", _TIMES),
)

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"verdict": {"enum": ["APPROVE", "REJECT"]}, "reason": {"enum": list(MODEL_REASONS)}},
    "required": ["verdict", "reason"],
    "additionalProperties": False,
}
# num_ctx is a load-time option: another value on any request would make the server load the model again.
OPTIONS: Mapping[str, Any] = {"temperature": 0, "seed": 7, "num_ctx": 2048, "num_predict": 64, "top_k": 1}


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent: fixed system text and the figures; `sha256` is of both."""

    system: str
    user: str
    sha256: str


def render(inputs: Inputs) -> Prompt:
    """The prompt for these inputs; all of rules.RANGES must be there and within their ranges."""
    lines = [f"{label}: {_shown(name, inputs[name], unit)}" for label, name, unit in _LINES]
    user = "\n".join(["Proposed BUY:", *lines])
    return Prompt(SYSTEM, user, _sha256(SYSTEM, user))


def prompt_version() -> str:
    """Name, and a hash of everything that shapes an answer without changing from call to call."""
    return f"{_NAME}-{_sha256(SYSTEM, json.dumps([_LINES, SCHEMA, OPTIONS], sort_keys=True))[:16]}"


def _shown(name: str, value: float, unit: str) -> str:
    if unit == _TIMES:
        return f"{_multiple(name, value):.1f} x"
    if unit == _POINTS:
        return f"{_tidy(value * 100, 0)} of 100"
    if unit == _PERCENT:
        return f"{_tidy(value * 100, 1)} %"
    return _tidy(value * 100, 0) + " points"


def _multiple(name: str, value: float) -> float:
    """Back from the features' logarithms: relvol_24 is ln(1 + multiple) - ln 2, the other ln(multiple)."""
    return max(2 * math.exp(value) - 1, 0.0) if name == "relvol_24" else math.exp(value)


def _tidy(value: float, digits: int) -> str:
    """Fixed decimals; a negative zero would be a second spelling of zero."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()
