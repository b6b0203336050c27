"""Five questions with known answers, and the judgement whether a model may veto.

A model is fit if all five answers keep the schema, the clearly good entries are approved and the clearly bad ones
rejected: one that always says the same, or has it backwards, must not decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from svc_validator.answer import ModelVerdict
from svc_validator.rules import Inputs
from tradekit.states import ReviewVerdict


@dataclass(frozen=True, slots=True)
class Case:
    """A situation and the verdict that anybody would give."""

    name: str
    inputs: Inputs
    expected: ReviewVerdict


@dataclass(frozen=True, slots=True)
class SelfTest:
    """How a model did; `detail` is empty if it is fit."""

    calls: int
    valid: int
    fit: bool
    detail: str


_CALM = {
    "edge": 0.32,
    "expected_net": 0.012,
    "sigma_horizon": 0.03,
    "ret_1": 0.002,
    "ret_24": 0.015,
    "sma_dist_50": 0.012,
    "natr_14": 0.007,
    "rsi_14": 0.58,
    "adx_14": 0.24,
    "bb_pctb_20": 0.62,
    "vol_ratio_24_168": -0.05,
    "relvol_24": 0.1,
}
_CRASH = {
    "edge": 0.01,
    "expected_net": -0.03,
    "sigma_horizon": 0.06,
    "ret_1": -0.055,
    "ret_24": -0.28,
    "sma_dist_50": -0.24,
    "natr_14": 0.04,
    "rsi_14": 0.11,
    "adx_14": 0.62,
    "bb_pctb_20": -0.25,
    "vol_ratio_24_168": 0.9,
    "relvol_24": 0.9,
}
CASES: tuple[Case, ...] = (
    Case("calm rise with an edge", _CALM, ReviewVerdict.APPROVE),
    Case("crash in progress", _CRASH, ReviewVerdict.REJECT),
    Case(
        "steady trend with a strong edge",
        {**_CALM, "edge": 0.45, "expected_net": 0.025, "ret_24": 0.03, "sma_dist_50": 0.03, "adx_14": 0.33},
        ReviewVerdict.APPROVE,
    ),
    Case(
        "overheated without an edge",
        {
            **_CALM,
            "edge": -0.35,
            "expected_net": -0.04,
            "ret_1": 0.07,
            "ret_24": 0.31,
            "sma_dist_50": 0.27,
            "natr_14": 0.035,
            "rsi_14": 0.94,
            "bb_pctb_20": 1.4,
            "vol_ratio_24_168": 0.85,
        },
        ReviewVerdict.REJECT,
    ),
    Case(
        "falling, wild and nobody trades",
        {**_CRASH, "edge": -0.4, "ret_1": -0.03, "ret_24": -0.16, "relvol_24": -0.66},
        ReviewVerdict.REJECT,
    ),
)


def judge(answers: Sequence[ModelVerdict | str]) -> SelfTest:
    """The result for answers in the order of CASES; a text is the error of a call without a valid answer."""
    valid = sum(isinstance(answer, ModelVerdict) for answer in answers)
    faults = [_fault(case, answer) for case, answer in zip(CASES, answers, strict=True)]
    found = [fault for fault in faults if fault]
    return SelfTest(len(answers), valid, not found, "; ".join(found))


def _fault(case: Case, answer: ModelVerdict | str) -> str:
    if isinstance(answer, str):
        return f"{case.name}: {answer}"
    if answer.verdict is not case.expected:
        return f"{case.name}: {answer.verdict.value} ({answer.reason}), expected {case.expected.value}"
    return ""
