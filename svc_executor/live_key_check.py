"""Whether this key may spend real money: only after a confirmation that names its portfolio, and never one that can
withdraw."""

from exchange_client import KeyPermissions
from meshkit.errors import Misconfigured


def check_live(permissions: KeyPermissions, live_confirm: str) -> None:
    """Misconfigured unless the key may trade, may not transfer, and belongs to the confirmed portfolio."""
    faults = []
    if permissions.can_transfer:
        faults.append("the API key can move money out; make one with view and trade only")
    if not permissions.can_trade:
        faults.append("the API key cannot trade")
    if not permissions.portfolio_uuid or live_confirm.lower() != permissions.portfolio_uuid.lower():
        faults.append("LIVE_CONFIRM is not the UUID of the key's portfolio")
    if faults:
        raise Misconfigured("VENUE=LIVE is refused: " + "; ".join(faults))
