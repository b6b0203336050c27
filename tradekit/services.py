"""Names, ports and contract names of the eight services: the one place that knows them all."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceName:
    """One service: `name` is its identity, `port` its default, `full_name` its gRPC service."""

    name: str
    port: int
    full_name: str

    @property
    def port_variable(self) -> str:
        """Environment variable of the listening port, such as RISK_PORT."""
        return f"{self.name.upper()}_PORT"

    @property
    def address_variable(self) -> str:
        """Environment variable of the address that clients dial, such as RISK_ADDRESS."""
        return f"{self.name.upper()}_ADDRESS"


MARKET = ServiceName("market", 8021, "trading.market.v1.MarketService")
BRIDGE = ServiceName("bridge", 8022, "trading.bridge.v1.BridgeService")
ORCHESTRATOR = ServiceName("orchestrator", 8023, "trading.orchestrator.v1.OrchestratorService")
EXECUTOR = ServiceName("executor", 8024, "trading.executor.v1.ExecutorService")
SIGNAL = ServiceName("signal", 8025, "trading.signal.v1.SignalService")
VALIDATOR = ServiceName("validator", 8026, "trading.validator.v1.ValidatorService")
RISK = ServiceName("risk", 8027, "trading.risk.v1.RiskService")
MONITOR = ServiceName("monitor", 8030, "trading.monitor.v1.MonitorService")

SERVICES = (MARKET, SIGNAL, BRIDGE, VALIDATOR, RISK, EXECUTOR, ORCHESTRATOR, MONITOR)
