"""The parts without processes of their own: restart policy, order, ports, keys, logs, probes, published state."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import grpc
import jwt
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from hypothesis import given
from hypothesis import strategies as st

from supervisor.keys import UnsafeKey, ensure_keys, require_private
from supervisor.logfile import LogFile, rotate, tail
from supervisor.ports import PortConflict, PortUse, free_ports, require_free
from supervisor.probes import grpc_health, http_ok
from supervisor.processes import InstanceMark, ProcessIdentity, identity_of, is_alive
from supervisor.readiness import NotReady
from supervisor.restart_policy import DeathRecord, Park, Restart, RestartPolicy, after_death
from supervisor.state import MeshState, ServiceState, Status, observe_state, read_state, write_state
from supervisor.supervisor import dependency_depths, stop_batches
from supervisor.unit import ProcessSpec, ProcessUnit

POLICY = RestartPolicy()


# --- restart policy ---------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=40))
def test_parked_exactly_when_five_deaths_fall_within_a_minute(lives: list[tuple[float, float]]) -> None:
    now, record, deaths = 0.0, DeathRecord(), []
    for alive, between in lives:
        now += alive + between
        deaths.append(now)
        record, decision = after_death(POLICY, record, now, alive)
        within = sum(1 for at in deaths if now - at < 60)
        assert isinstance(decision, Park) == (within >= 5)
        if isinstance(decision, Restart):
            assert 0.2 <= decision.pause_seconds <= 10
            if alive >= 30:
                assert decision.pause_seconds == 0.2


def test_pauses_double_to_ten_seconds() -> None:
    record, pauses, now = DeathRecord(), [], 0.0
    for _ in range(9):
        now += 20
        record, decision = after_death(POLICY, record, now, alive_seconds=1)
        assert isinstance(decision, Restart)
        pauses.append(decision.pause_seconds)
    assert pauses == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10])


def test_what_never_parks_is_tried_for_ever_at_the_longest_pause() -> None:
    policy, record = RestartPolicy(deaths_to_park=None), DeathRecord()
    pauses = []
    for now in range(30):
        record, decision = after_death(policy, record, float(now), 0.1)
        assert isinstance(decision, Restart)
        pauses.append(decision.pause_seconds)
    assert pauses[-1] == max(pauses) == policy.longest_pause_seconds


# --- order ------------------------------------------------------------------------------------------------


def unit(name: str, *depends_on: str, stop_order: int = 0) -> ProcessUnit:
    spec = ProcessSpec(name=name, argv=("true",), env={}, depends_on=depends_on, stop_order=stop_order)
    return ProcessUnit(spec, Path("unused.log"), InstanceMark("home", "run"))


@given(st.data())
def test_nothing_stops_before_its_dependents(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    units = []
    for number in range(count):
        needed = data.draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        units.append(unit(str(number), *(str(other) for other in needed)))
    batches = stop_batches(data.draw(st.permutations(units)), dependency_depths(units))
    position = {each.spec.name: index for index, batch in enumerate(batches) for each in batch}
    assert len(position) == count
    for each in units:
        for needed_name in each.spec.depends_on:
            assert position[each.spec.name] < position[needed_name]


@pytest.mark.parametrize(
    ("units", "complaint"),
    [
        ([unit("a", "b"), unit("b", "a")], "a -> b -> a"),
        ([unit("a", "nobody")], "nobody"),
        ([unit("a"), unit("a")], "same name"),
        ([unit("a", "b", stop_order=2), unit("b", stop_order=1)], "b would stop before a"),
    ],
)
def test_an_impossible_order_is_refused(units: list[ProcessUnit], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        dependency_depths(units)


# --- ports ------------------------------------------------------------------------------------------------


def test_a_taken_port_names_its_holder_and_the_variable_that_moves_it() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        free = free_ports(1)[0]
        with pytest.raises(PortConflict) as caught:
            require_free(
                [
                    PortUse("svc_market", port, "MARKET_PORT"),
                    PortUse("svc_risk", free, "RISK_PORT"),
                    PortUse("svc_bridge", free, "BRIDGE_PORT"),
                    PortUse("svc_signal", 70_000, "SIGNAL_PORT"),
                ]
            )
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert f"port {port} (svc_market) is held by pid {os.getpid()} (" in lines[0]
    assert "set MARKET_PORT" in lines[0]
    assert "RISK_PORT" in lines[1] and "BRIDGE_PORT" in lines[1]
    assert "SIGNAL_PORT=70000" in lines[2]
    require_free([PortUse("svc_market", port, "MARKET_PORT")])


def test_a_wildcard_listener_holds_the_loopback_port_too() -> None:
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        with pytest.raises(PortConflict):
            require_free([PortUse("svc_market", holder.getsockname()[1], "MARKET_PORT")])


def test_free_ports_are_distinct_and_free() -> None:
    ports = free_ports(12)
    assert len(set(ports)) == 12
    require_free([PortUse(f"s{port}", port, "X") for port in ports])


# --- keys -------------------------------------------------------------------------------------------------


def test_keys_are_made_once_private_and_work(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    files = ensure_keys(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert ensure_keys(folder) == files
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    api_key = json.loads(files.exchange_api_key.read_text())
    token = jwt.encode({"sub": api_key["name"]}, api_key["privateKey"], algorithm="ES256")
    exchange_public = load_pem_public_key(files.exchange_public.read_bytes())
    assert jwt.decode(token, exchange_public, algorithms=["ES256"])["sub"] == api_key["name"]
    assert api_key["name"].startswith("organizations/")
    assert "BEGIN EC PRIVATE KEY" in api_key["privateKey"]
    for private, public in (
        (files.ticket_private, files.ticket_public),
        (files.model_private, files.model_public),
    ):
        ticket = jwt.encode({"a": 1}, private.read_bytes(), algorithm="EdDSA")
        assert jwt.decode(ticket, public.read_bytes(), algorithms=["EdDSA"]) == {"a": 1}
    assert files.ticket_private.read_bytes() != files.model_private.read_bytes()


def test_a_key_others_can_read_is_refused_with_the_command_that_closes_it(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    files = ensure_keys(folder)
    files.ticket_private.chmod(0o640)
    with pytest.raises(UnsafeKey, match=rf"mode 0640\). Run: chmod 600 {files.ticket_private}"):
        ensure_keys(folder)
    files.ticket_private.chmod(0o600)
    folder.chmod(0o755)
    with pytest.raises(UnsafeKey, match=f"chmod 700 {folder}"):
        ensure_keys(folder)
    folder.chmod(0o700)
    ensure_keys(folder)


def test_swapped_halves_broken_files_and_links_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    files = ensure_keys(folder)
    ticket_public = files.ticket_public.read_bytes()
    files.ticket_public.write_bytes(files.model_public.read_bytes())
    with pytest.raises(UnsafeKey, match="not the public half"):
        ensure_keys(folder)
    files.ticket_public.write_bytes(ticket_public)
    model = files.model_private.read_bytes()
    files.model_private.write_bytes(files.exchange_private.read_bytes())
    with pytest.raises(UnsafeKey, match="not an Ed25519 key"):
        ensure_keys(folder)
    files.model_private.write_bytes(b"garbage")
    with pytest.raises(UnsafeKey, match="not a readable private key"):
        ensure_keys(folder)
    files.model_private.write_bytes(model)
    files.exchange_api_key.write_text("{}")
    with pytest.raises(UnsafeKey, match="does not hold the key"):
        ensure_keys(folder)
    link = folder / "link.pem"
    link.symlink_to(files.ticket_private)
    with pytest.raises(UnsafeKey, match="symbolic link"):
        require_private(link)


def test_a_lost_private_half_gets_a_new_pair(tmp_path: Path) -> None:
    files = ensure_keys(tmp_path / "keys")
    before = files.model_public.read_bytes()
    files.model_private.unlink()
    ensure_keys(tmp_path / "keys")
    assert files.model_public.read_bytes() != before


# --- logs -------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=60))
def test_a_log_is_bounded_and_keeps_the_newest_output_in_order(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("logs") / "service.log"
    log = LogFile(path, limit_bytes=100, kept=2)
    for chunk in chunks:
        log.write(chunk)
    log.close()
    files = [path.with_name("service.log.2"), path.with_name("service.log.1"), path]
    kept = b"".join(file.read_bytes() for file in files if file.exists())
    assert b"".join(chunks).endswith(kept)
    assert path.read_bytes().endswith(chunks[-1])
    assert all(file.stat().st_size <= 100 for file in files if file.exists())
    assert len(list(path.parent.iterdir())) <= 3


def test_a_new_run_moves_the_old_log_aside(tmp_path: Path) -> None:
    path = tmp_path / "service.log"
    path.write_text("first run\n")
    LogFile(path).close()
    assert path.read_text() == ""
    rotate(path)  # nothing in it: nothing moves
    assert (tmp_path / "service.log.1").read_text() == "first run\n"


def test_tail_gives_the_last_lines_of_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "service.log"
    path.write_text("".join(f"line {number}\n" for number in range(50_000)))
    assert tail(path, lines=2) == "line 49998\nline 49999"
    assert tail(tmp_path / "missing") == ""


# --- identity and state -----------------------------------------------------------------------------------


def test_a_pid_with_another_start_time_is_a_stranger() -> None:
    me = identity_of(os.getpid())
    assert me is not None and is_alive(me)
    assert not is_alive(ProcessIdentity(me.pid, me.started - 60))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a start is only to be had by the clock")
def test_a_process_stays_itself_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    me = identity_of(os.getpid())
    assert me is not None and me.started < time.clock_gettime(time.CLOCK_BOOTTIME)
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: 0.0)
    assert is_alive(me)


def test_a_zombie_and_a_free_pid_are_dead() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert identity_of(ended.pid) is None
    ended.wait()
    assert identity_of(ended.pid) is None


def test_state_survives_the_file_and_a_dead_process_is_shown_as_gone(tmp_path: Path) -> None:
    me = identity_of(os.getpid())
    assert me is not None
    dead = ProcessIdentity(me.pid, me.started - 60)
    services = (
        ServiceState("a", Status.READY, process=me, ports={"grpc": 8021}, restarts=2, last_exit="exit code 1"),
        ServiceState("b", Status.READY, process=dead),
        ServiceState("c", Status.PARKED),
        ServiceState("postgres", Status.READY, process=me, survives_supervisor=True),
    )
    state = MeshState("run", me, "2025-01-01T00:00:00+00:00", {"market": "simulated"}, services)
    file = tmp_path / "state.json"
    assert read_state(file) is None
    write_state(file, state)
    assert read_state(file) == state
    assert state.children == (me, dead)
    observed = observe_state(file)
    assert observed is not None
    assert [service.status for service in observed.services] == ["ready", "gone", "parked", "ready"]
    file.write_text(file.read_text().rstrip()[:-20])
    assert read_state(file) is None


# --- probes -----------------------------------------------------------------------------------------------


async def test_grpc_probe_follows_the_health_service() -> None:
    server = grpc.aio.server()
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    probe = grpc_health(f"127.0.0.1:{port}", "trading.market.v1.MarketService")
    await server.start()
    try:
        with pytest.raises(NotReady, match="NOT_FOUND"):
            await probe()
        await servicer.set("trading.market.v1.MarketService", health_pb2.HealthCheckResponse.NOT_SERVING)
        with pytest.raises(NotReady, match="NOT_SERVING"):
            await probe()
        await servicer.set("trading.market.v1.MarketService", health_pb2.HealthCheckResponse.SERVING)
        await probe()
    finally:
        await server.stop(None)
    with pytest.raises(NotReady, match=r"UNAVAILABLE|DEADLINE_EXCEEDED"):
        await probe()


@pytest.fixture
async def page() -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]))

    app = web.Application()
    app.router.add_get("/{status}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_http_probe_wants_a_2xx(page: str) -> None:
    await http_ok(f"{page}/204")()
    with pytest.raises(NotReady, match="HTTP 503"):
        await http_ok(f"{page}/503")()
    with pytest.raises(NotReady, match="HTTP 302"):
        await http_ok(f"{page}/302")()
    closed = free_ports(1)[0]
    with pytest.raises(NotReady):
        await http_ok(f"http://127.0.0.1:{closed}/")()
    with pytest.raises(NotReady):
        await http_ok(page.replace("http:", "https:") + "/204")()


def self_signed(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 as its own authority, and a server context that presents it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return certificate_file, context


async def test_https_probe_wants_a_certificate_of_the_given_authority(tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    authority, context = self_signed(tmp_path, "ours")
    other_authority, _ = self_signed(tmp_path, "theirs")
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        await http_ok(url, ca_file=authority)()
        for wrong in (other_authority, None, tmp_path / "not-made-yet.crt"):
            with pytest.raises(NotReady):
                await http_ok(url, ca_file=wrong)()
    finally:
        await runner.cleanup()
