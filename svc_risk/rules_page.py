"""Writes the table of risk rules in docs/reasons.md: `python -m svc_risk.rules_page`.

The declarations are the truth; a test fails when the page is not what they say.
"""

from pathlib import Path

from svc_risk.parameters import Parameters
from svc_risk.rule import Effect
from svc_risk.rules import RULES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reasons.md"
START = "<!-- risk rules: written by `python -m svc_risk.rules_page` -->\n"
END = "<!-- end of risk rules -->\n"
_HOUR = 3600


def table(p: Parameters, granularity_seconds: int = _HOUR) -> str:
    """Every rule as a row."""
    lines = ["| code | limit | of | BUY | SELL | meaning |", "|---|---|---|---|---|---|"]
    for rule in RULES:
        limit = f"{rule.limit.told(p, granularity_seconds)} {rule.unit}".strip()
        effects = " | ".join("" if effect is Effect.NONE else effect.value for effect in (rule.on_buy, rule.on_sell))
        lines.append(f"| `{rule.code}` | {limit} | {rule.scope} | {effects} | {rule.words} |")
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """The page with the table as it should be."""
    before, rest = page.split(START)
    return before + START + "\n" + table(Parameters()) + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
