"""Keys as Secrets: made once, kept for ever, and halves that do not go together are told."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from cluster.keys import EXCHANGE_NAMES, SETS, make
from cluster.secret_store import Files, KubernetesSecrets, StoreFailed
from exchange_sim.auth import load_keys
from exchange_sim.tls import _named, ensure_tls
from supervisor.keys import UnsafeKey
from tests.cluster.api_server import api_server


class Memory:
    """Secrets in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Files] = {}

    def read(self, name: str) -> Files | None:
        return self.kept.get(name)

    def create(self, name: str, files: Files) -> None:
        self.kept.setdefault(name, files)


@pytest.fixture
def store() -> Memory:
    found = Memory()
    make(found, list(SETS), lambda line: None)
    return found


def test_a_second_run_changes_nothing(store: Memory) -> None:
    before, said = dict(store.kept), list[str]()
    make(store, list(SETS), said.append)
    assert store.kept == before
    assert len(said) == len(before) == 8
    assert all(line.endswith("is there, and kept") for line in said)


@pytest.mark.parametrize("missing", ["ticket-public-key", "model-public-key", "exchange-sim-keys"])
def test_what_follows_from_another_is_made_again_and_is_the_same(store: Memory, missing: str) -> None:
    before = dict(store.kept)
    del store.kept[missing]
    make(store, list(SETS), lambda line: None)
    assert store.kept == before


@pytest.mark.parametrize("missing", ["ticket-signing-key", "model-signing-key", "coinbase-api"])
def test_a_private_half_that_is_gone_does_not_leave_the_public_one_behind(store: Memory, missing: str) -> None:
    del store.kept[missing]
    with pytest.raises(UnsafeKey, match="does not go with the others"):
        make(store, list(SETS), lambda line: None)


def test_the_halves_belong_together_and_the_exchange_knows_its_key(store: Memory, tmp_path: Path) -> None:
    for kind in ("ticket", "model"):
        private = load_pem_private_key(store.kept[f"{kind}-signing-key"]["private.pem"], password=None)
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        assert store.kept[f"{kind}-public-key"] == {"public.pem": public}
    known = tmp_path / "keys.json"
    known.write_bytes(store.kept["exchange-sim-keys"]["keys.json"])
    (key,) = load_keys(known).values()
    assert key.name == json.loads(store.kept["coinbase-api"]["key.json"])["name"]
    assert (key.can_trade, key.can_transfer) == (True, False)


def test_the_exchange_takes_its_certificate_as_it_is(store: Memory, tmp_path: Path) -> None:
    """Its folder is mounted read-only: it must find what it needs, and write nothing."""
    for name, content in store.kept["exchange-sim-tls"].items():
        (tmp_path / name).write_bytes(content)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    files = ensure_tls(tmp_path, EXCHANGE_NAMES)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert set(EXCHANGE_NAMES) < _named(files)


def test_only_the_sets_that_are_named_are_made() -> None:
    found = Memory()
    make(found, ["exchange"], lambda line: None)
    assert set(found.kept) == {"coinbase-api", "exchange-sim-keys", "exchange-sim-tls"}


def test_secrets_are_kept_by_an_api_server(tmp_path: Path) -> None:
    with api_server(tmp_path) as (address, account, kept):
        secrets = KubernetesSecrets(account, address)
        make(secrets, list(SETS), lambda line: None)
        before = json.dumps(kept)
        make(secrets, list(SETS), lambda line: None)
        assert json.dumps(kept) == before
        assert len(kept) == 8
        path = "/api/v1/namespaces/crypto-trading/secrets/ticket-public-key"
        assert kept[path]["kind"] == "Secret"
        assert kept[path]["data"].keys() == {"public.pem"}
        secrets.create("ticket-public-key", {"public.pem": b"another"})
        assert json.dumps(kept) == before
        # The token is replaced while the pod lives.
        (account / "token").write_text("of somebody else")
        with pytest.raises(StoreFailed, match=r"403.*forbidden"):
            secrets.read("ticket-public-key")


def test_outside_of_a_pod_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="no pod with a service account"):
        KubernetesSecrets(tmp_path)
