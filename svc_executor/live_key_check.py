"""Whether this key may spend real money: only after a confirmation that names its portfolio, and never one that can
withdraw."""

from exchange_client import KeyPermissions
from meshkit.errors import Misconfigured

_MAKE = "make a key of one portfolio with view and trade only"


def key_faults(permissions: KeyPermissions) -> list[str]:
    """Why a key may not be used for real money, each with what to do; empty if it may."""
    faults = []
    if permissions.can_transfer:
        faults.append(f"the API key can move money out: {_MAKE}, and delete this one")
    if not permissions.can_trade:
        faults.append(f"the API key cannot trade: {_MAKE}")
    if not permissions.can_view:
        faults.append(f"the API key cannot view the account: {_MAKE}")
    if not permissions.portfolio_uuid:
        faults.append(f"the exchange does not say which portfolio the API key is of: {_MAKE}")
    return faults


def check_live(permissions: KeyPermissions, live_confirm: str) -> None:
    """Misconfigured unless the key may trade, may not transfer, and belongs to the confirmed portfolio."""
    faults = key_faults(permissions)
    if not permissions.portfolio_uuid or live_confirm.lower() != permissions.portfolio_uuid.lower():
        faults.append("LIVE_CONFIRM is not the UUID of the key's portfolio")
    if faults:
        raise Misconfigured("VENUE=LIVE is refused: " + "; ".join(faults))
