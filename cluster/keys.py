"""Makes the keys of a mesh once, as Secrets of its namespace: `python -m cluster.keys SET...`.

What is there is kept, and a public half is made again from its private one; halves that do not match end the job. A set names
what an environment has nobody else for: `mesh` (tickets and models), `exchange` (a simulated exchange: its certificate, a key
for it, and what it knows of that key), `database` (the password of a database that has no operator).
"""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cluster.secret_store import Files, KubernetesSecrets, SecretStore, StoreFailed
from exchange_sim.tls import ensure_tls
from supervisor.keys import KeyFiles, UnsafeKey, ensure_keys, key_files, write_new

# Names of the simulated exchange's Service; its certificate is for them.
EXCHANGE_NAMES = ("exchange-sim", "exchange-sim.crypto-trading.svc", "exchange-sim.crypto-trading.svc.cluster.local")


def mesh_secrets(store: SecretStore, folder: Path) -> dict[str, Files]:
    """The key that tickets are signed with, the key that models are signed with, and the public half of each."""
    files = key_files(folder)
    halves: dict[str, dict[str, Path]] = {
        "ticket-signing-key": {"private.pem": files.ticket_private},
        "ticket-public-key": {"public.pem": files.ticket_public},
        "model-signing-key": {"private.pem": files.model_private},
        "model-public-key": {"public.pem": files.model_public},
    }
    _lay_out(store, halves)
    ensure_keys(folder)
    return {name: {entry: path.read_bytes() for entry, path in of.items()} for name, of in halves.items()}


def exchange_secrets(store: SecretStore, folder: Path) -> dict[str, Files]:
    """A key for the simulated exchange, what that is told of it, and the certificate that it proves itself with."""
    files, tls = key_files(folder), folder / "tls"
    key = store.read("coinbase-api")
    if key is not None:
        write_new(files.exchange_api_key, key["key.json"])
        write_new(files.exchange_private, json.loads(key["key.json"])["privateKey"].encode("ascii"))
    tls.mkdir(mode=0o700)
    _lay_out(store, {"exchange-sim-tls": {name: tls / name for name in ("ca.pem", "server.pem", "server.key")}})
    ensure_keys(folder)
    made = ensure_tls(tls, EXCHANGE_NAMES)
    return {
        "coinbase-api": {"key.json": files.exchange_api_key.read_bytes()},
        "exchange-sim-keys": {"keys.json": _known_keys(files)},
        "exchange-sim-tls": {path.name: path.read_bytes() for path in (made.ca, made.certificate, made.key)},
    }


def database_secrets(store: SecretStore, folder: Path) -> dict[str, Files]:
    """The password that the database is made with; one that is there stays."""
    return {"trading-database": store.read("trading-database") or {"password": secrets.token_urlsafe(24).encode()}}


SETS: Mapping[str, Callable[[SecretStore, Path], dict[str, Files]]] = {
    "mesh": mesh_secrets,
    "exchange": exchange_secrets,
    "database": database_secrets,
}


def make(store: SecretStore, sets: Sequence[str], say: Callable[[str], None]) -> None:
    """Makes what is missing of the sets. StoreFailed, UnsafeKey."""
    for one in sets:
        with tempfile.TemporaryDirectory() as folder:
            wanted = SETS[one](store, Path(folder))
        for name, files in wanted.items():
            there = store.read(name)
            if there is None:
                store.create(name, files)
                say(f"{name} made")
            elif any(there.get(entry) != content for entry, content in files.items()):
                raise UnsafeKey(
                    f"the Secret {name} does not go with the others of {one}: delete all of them, or bring it back"
                )
            else:
                say(f"{name} is there, and kept")


def _lay_out(store: SecretStore, wanted: Mapping[str, Mapping[str, Path]]) -> None:
    """Writes what there is already where the makers of keys look for it."""
    for name, places in wanted.items():
        for entry, content in (store.read(name) or {}).items():
            if entry in places:
                write_new(places[entry], content)


def _known_keys(files: KeyFiles) -> bytes:
    """What the simulated exchange is told of the key: its public half, and that it may trade and not withdraw."""
    name = json.loads(files.exchange_api_key.read_text())["name"]
    rights = {"can_view": True, "can_trade": True, "can_transfer": False}
    return json.dumps([{"name": name, "public_key": files.exchange_public.read_text(), **rights}], indent=1).encode()


def main() -> None:
    """Exit code 0: all are there; 1: try again, or read what it says."""
    wanted = sys.argv[1:]
    if not wanted or set(wanted) - SETS.keys():
        sys.exit(f"keys needs the sets to make, of {', '.join(SETS)}")
    try:
        make(KubernetesSecrets(), wanted, lambda line: print(line, flush=True))  # noqa: T201
    except (StoreFailed, UnsafeKey) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
