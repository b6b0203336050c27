"""Where the orders of `mesh up` go, and which pairs of market and exchange there are.

Simulated or replayed candles go with the simulated exchange; Coinbase's real prices go with the simulated exchange (paper),
with Coinbase's sandbox, or with real money. The last two are typed by hand at each start.
"""

from collections.abc import Mapping
from pathlib import Path

from cli.exits import refuse
from cli.plan import MADE_UP
from tradekit.states import Venue

SIMULATED, COINBASE = MADE_UP, "coinbase"
_NEEDS_KEY_FILE = "the JSON file of an API key that can view and trade but not transfer"
_NEEDS_CONFIRMATION = (
    "a confirmation that names the portfolio whose money may be spent: --confirm NAME, or LIVE_CONFIRM with its name "
    "or UUID"
)


def venue_of(market: str, *, live: bool, sandbox: bool, environment: Mapping[str, str]) -> Venue:
    """The venue that market and options mean. Raises CommandFailed for a pair that there is not."""
    if live and sandbox:
        raise refuse(
            "--live and --sandbox are two venues", "say one of them: the sandbox has canned fills, live has none"
        )
    if not live and not sandbox:
        return Venue.PAPER if market == COINBASE else Venue.SIMULATED
    option = "--live" if live else "--sandbox"
    if market != COINBASE:
        what = "trade real money on" if live else "answer with canned fills to"
        advice = f"say --market coinbase {option} in a MESH_HOME of its own, or leave {option} out"
        raise refuse(f"{option} with --market {market} would {what} prices that are not real", advice)
    if live:
        _require_key(environment)
    return Venue.LIVE if live else Venue.SANDBOX


def not_another_venue(venue: Venue, market: str, environment: Mapping[str, str]) -> Venue:
    """The same venue. Raises CommandFailed where VENUE says another."""
    asked = environment.get("VENUE", "").upper()
    if asked and asked != venue.value:
        advice = "unset VENUE: --market chooses it, and --live and --sandbox are typed by hand"
        raise refuse(f"VENUE={asked} does not go with --market {market}: its orders go to {venue.value}", advice)
    return venue


def require_confirmation(venue: Venue, environment: Mapping[str, str]) -> None:
    """Raises CommandFailed where real money would be spent and nobody has said whose."""
    if venue is Venue.LIVE and not environment.get("LIVE_CONFIRM"):
        raise refuse(f"--live spends real money and needs more: {_NEEDS_CONFIRMATION}")


def _require_key(environment: Mapping[str, str]) -> None:
    key = environment.get("EXCHANGE_KEY_FILE", "")
    if key and Path(key).expanduser().is_file():
        return
    if key:
        raise refuse(f"EXCHANGE_KEY_FILE={key} is no file", f"--live needs {_NEEDS_KEY_FILE}")
    raise refuse(
        f"--live is for real money and needs EXCHANGE_KEY_FILE, {_NEEDS_KEY_FILE}",
        "docs/live.md leads from a key to the first order",
    )
