"""Settings of the signal service."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from svc_signal.shard import Shard
from tradekit import services
from tradekit.products import factor_product
from tradekit.settings import TradingSettings, port_field


class SignalSettings(TradingSettings):
    """Where the model is, what is trusted, and how far a restart catches up."""

    service_name: str = "signal"
    port: int = port_field(services.SIGNAL)
    model_dir: Path | None = Field(None, description="folder of balanced_model.joblib and its manifest")
    model_public_key_file: Path | None = Field(
        None, description="Ed25519 public key (PEM) that manifests are signed with"
    )
    model_manifest_sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="sha256 of the one manifest to trust, beside or without a key"
    )
    model_poll_seconds: float = Field(30.0, ge=1, le=3600, description="pace of looking for a new or mended model")
    catch_up_bars: int = Field(500, ge=1, le=10_000, description="bars decided after a pause; older ones are left out")

    signal_shards: int = Field(1, ge=1, le=64, description="processes that share the products; all are set to the same")
    signal_shard: int = Field(
        0, ge=0, le=63, description="which share this process decides, from 0 to SIGNAL_SHARDS - 1"
    )

    def disagreements(self) -> Iterator[str]:
        """A model needs something that says whom to trust, a share a number."""
        yield from super().disagreements()
        if self.model_dir and not (self.model_public_key_file or self.model_manifest_sha256):
            yield "MODEL_DIR needs MODEL_PUBLIC_KEY_FILE or MODEL_MANIFEST_SHA256: models are code"
        if self.signal_shard >= self.signal_shards:
            yield (
                f"SIGNAL_SHARD={self.signal_shard} is not below SIGNAL_SHARDS={self.signal_shards}: shares are counted from 0, "
                f"so write 0 to {self.signal_shards - 1}"
            )

    @property
    def shard(self) -> Shard:
        """The share of the products that this process decides."""
        return Shard(self.signal_shard, self.signal_shards)

    @property
    def factor_product(self) -> str:
        """The market factor's product."""
        return factor_product(self.products)
