"""Settings of the orchestrator."""

from pydantic import Field

from tradekit import services
from tradekit.settings import TradingSettings, port_field
from tradekit.states import Venue


class OrchestratorSettings(TradingSettings):
    """How recommendations are claimed and processed."""

    service_name: str = "orchestrator"
    port: int = port_field(services.ORCHESTRATOR)
    orchestrator_concurrency: int = Field(
        128, ge=1, le=256, description="entries processed at once; exits have as many again"
    )
    lease_seconds: float = Field(15.0, ge=2, le=300, description="life of a claim; renewed while it is worked on")
    stage_deadline_seconds: float = Field(12.0, ge=1, le=120, description="longest wait for one stage's answer")
    exit_risk_seconds: float = Field(
        2.0, ge=0.1, le=30, description="longest wait of an exit for the risk engine's word; not in a replay"
    )
    review_budget_per_bar: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="BUY recommendations reviewed in one bar; the others wait and may expire; unset: all",
    )

    @property
    def lockstep(self) -> bool:
        """True in a replay: one item at a time, in the order (as_of, exits first, priority, product)."""
        return self.venue is Venue.REPLAY
