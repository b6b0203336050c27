"""One world per test; one small trained model, written and signed, for all."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modelkit.loading import LoadedModel, load_model
from modelkit.signing import Trust, public_key_from_pem
from tests.signal.conftest import SMALL
from tests.signal.signal_series import synthetic
from tests.signal_service.signal_world import StandInMarket, World
from trading.market.v1 import market_service_pb2_grpc as market_rpc
from training.artifact import write_model
from training.fit import train

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
async def world(database: Any) -> AsyncIterator[World]:
    market = StandInMarket()
    server = grpc.aio.server()
    market_rpc.add_MarketServiceServicer_to_server(market, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield World(database, market, port)
    await server.stop(None)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with private.pem and public.pem."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "private.pem").write_bytes(
        KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "public.pem").write_bytes(
        KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return folder


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, signed."""
    folder = tmp_path_factory.mktemp("model") / "model"
    write_model(folder, train(synthetic(3, 1500), SMALL, lambda step, share: None), WHEN, "abc123", KEY)
    return folder


WHEN = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def model(model_dir: Path, keys: Path) -> LoadedModel:
    trust = Trust(public_key_from_pem((keys / "public.pem").read_bytes()), None)
    return load_model(model_dir, trust, 3600)


@pytest.fixture
def given(model_dir: Path, keys: Path) -> dict[str, Any]:
    return {"model_dir": model_dir, "model_public_key_file": keys / "public.pem"}
