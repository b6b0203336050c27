"""What somebody typed who wants to trade real money."""

from dataclasses import dataclass

# Stands in the settings until somebody has confirmed a portfolio.
UNCONFIRMED = "not confirmed yet"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The portfolio's name or UUID, None for not said; whether the first order is only previewed; and whether somebody sits
    there who can be asked. `known`: the portfolio of this folder's ledger, empty before there is one."""

    confirm: str | None
    preview: bool
    ask: bool
    known: str = ""
