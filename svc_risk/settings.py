"""Settings of the risk engine: the ticket key, and each parameter and limit by a variable such as RISK_MIN_NOTIONAL."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model

from svc_risk.parameters import Parameters, faults
from tradekit import services
from tradekit.products import quote_currency
from tradekit.settings import TradingSettings, port_field

_PREFIX = "risk_"
# The taker fee is the mesh's, not risk's own.
_TAKER_FEE = "taker_fee"
_OWN = tuple(f for f in fields(Parameters) if f.name != _TAKER_FEE)


class _ServiceSettings(TradingSettings):
    service_name: str = "risk"
    port: int = port_field(services.RISK)
    ticket_signing_key_file: Path = Field(
        description="PEM file of the Ed25519 private key that signs tickets, readable by its owner only"
    )
    risk_stream_credit: int = Field(128, ge=1, le=256, description="items of one stream that may be unanswered at once")


if TYPE_CHECKING:
    _ParameterSettings = _ServiceSettings
else:
    _variables: dict[str, Any] = {
        _PREFIX + f.name: (f.type, Field(f.default, description=f.metadata["words"])) for f in _OWN
    }
    _ParameterSettings = create_model("_ParameterSettings", __base__=_ServiceSettings, **_variables)


class RiskSettings(_ParameterSettings):
    """How much risk the account bears. An invalid set of limits is refused as a whole."""

    def disagreements(self) -> Iterator[str]:
        """Every limit, by itself and beside the others, and one currency of the account."""
        yield from super().disagreements()
        yield from faults(self.parameters, _variable)
        currencies = sorted({quote_currency(product) for product in self.products})
        if len(currencies) > 1:
            yield f"PRODUCTS must share one quote currency, the account's; found {', '.join(currencies)}"

    @property
    def currency(self) -> str:
        """The account's currency: what equity, limits and BUY sizes are counted in."""
        return quote_currency(self.products[0])

    @property
    def parameters(self) -> Parameters:
        """Every parameter and limit in force; the taker fee is the mesh's."""
        own = {f.name: getattr(self, _PREFIX + f.name) for f in _OWN}
        return Parameters(**own, taker_fee=self.taker_fee)


def _variable(parameter: str) -> str:
    """The variable that sets a parameter."""
    return parameter.upper() if parameter == _TAKER_FEE else (_PREFIX + parameter).upper()
