"""Who is heard at all: only who proves itself to the Envoy in front of a service; and what a caller says of itself is not
believed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from envoy_mesh.plan import HOST
from envoy_mesh.process import Envoy
from envoy_mesh.replayed import ReplayedMesh
from envoy_mesh.rig import Rig
from envoy_mesh.sidecars import make_certificates
from envoy_mesh.upstream import Upstream, upstream_at
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshkit.forwarded import HEADER, last_element, last_uri
from meshkit.policy import OPERATOR
from meshkit.spiffe import SpiffeNames
from supervisor.certificate_files import CertificateFiles
from supervisor.certificates import LIFE, ensure_certificates
from supervisor.dial import with_certificate
from tradekit.services import BRIDGE, EXECUTOR, MONITOR, PAGE_PORT, SERVICES, ServiceName

NAMES = SpiffeNames()
FORGED = f"By={NAMES.id_of(EXECUTOR.name)};Hash=00;URI={NAMES.id_of(OPERATOR)}"
GET_ORDER = f"/{EXECUTOR.full_name}/GetOrder"


async def health(channel: grpc.aio.Channel) -> grpc.StatusCode:
    call = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
    found: grpc.StatusCode = await call.code()
    return found


def refused_for(envoy: Envoy, service: ServiceName) -> dict[str, int]:
    """Why a sidecar let connections go, and how many."""
    stats = envoy.stats(rf"^listener\.inbound_{service.port}\.ssl\.(connection_error|fail_verify_)")
    return {name.rpartition(".")[2]: count for name, count in stats.items() if count}


def with_the_same_authority(files: CertificateFiles, folder: Path) -> CertificateFiles:
    """A folder in which the authority of a mesh issues further certificates."""
    found = CertificateFiles(folder)
    found.folder.mkdir(mode=0o700)
    for source, target in ((files.authority, found.authority), (files.authority_key, found.authority_key)):
        target.write_bytes(source.read_bytes())
        target.chmod(0o600)
    return found


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
async def test_who_does_not_prove_itself_is_not_heard(mesh: ReplayedMesh, service: ServiceName, tmp_path: Path) -> None:
    """The reasons are Envoy's own counters: a refusal for another reason would be none of these."""
    sidecars = mesh.sidecars
    envoy, own = sidecars.envoys[service.name], sidecars.certificates
    target, options = f"{HOST}:{sidecars.inbound(service)}", [("grpc.use_local_subchannel_pool", 1)]
    now = datetime.now(UTC)
    foreign = make_certificates(tmp_path / "foreign")
    ended, elsewhere = (with_the_same_authority(own, tmp_path / name) for name in ("ended", "elsewhere"))
    ensure_certificates(ended, [OPERATOR], NAMES, now - 2 * LIFE)
    ensure_certificates(elsewhere, [OPERATOR], SpiffeNames("spiffe://elsewhere/ns/crypto-trading/sa/"), now)
    nameless = grpc.ssl_channel_credentials(own.authority.read_bytes())
    strangers = (
        ("clear text", "connection_error", grpc.aio.insecure_channel(target, options=options)),
        ("no certificate", "fail_verify_no_cert", grpc.aio.secure_channel(target, nameless, options=options)),
        ("somebody else's authority", "fail_verify_error", sidecars.channel_as(OPERATOR, service, foreign)),
        ("a certificate that has ended", "fail_verify_error", sidecars.channel_as(OPERATOR, service, ended)),
        ("another trust domain", "fail_verify_san", sidecars.channel_as(OPERATOR, service, elsewhere)),
    )
    for who, reason, channel in strangers:
        before = refused_for(envoy, service)
        async with channel:
            assert await health(channel) is grpc.StatusCode.UNAVAILABLE, who
        after = refused_for(envoy, service)
        assert after.get(reason, 0) > before.get(reason, 0), (who, before, after)
    async with sidecars.channel_as(OPERATOR, service) as channel:
        assert await health(channel) is grpc.StatusCode.OK


async def test_nobody_reaches_the_page_from_the_mesh(mesh: ReplayedMesh) -> None:
    """It has a port of its own, which no policy opens."""
    files, port = mesh.sidecars.certificates, mesh.sidecars.plan.inbound[MONITOR.name, PAGE_PORT]
    dial = with_certificate(files, OPERATOR)
    async with dial(f"{HOST}:{port}") as channel:
        call = channel.unary_unary("/api/state")(b"", timeout=20)
        assert (await call.code(), await call.details()) == (grpc.StatusCode.PERMISSION_DENIED, "RBAC: access denied")


async def test_a_service_believes_the_certificate_and_not_what_a_caller_says_of_itself(rig: Rig) -> None:
    """A member of the mesh calls past its own sidecar and sends an element that names the operator: Envoy appends the true
    one, and the last one counts."""
    dial = with_certificate(rig.certificates, BRIDGE.name)
    target = f"{HOST}:{rig.plan.inbound[EXECUTOR.name, EXECUTOR.port]}"
    async with upstream_at(rig.app, Upstream()) as upstream, dial(target) as channel:
        await channel.unary_unary(GET_ORDER)(b"", timeout=20, metadata=((HEADER, FORGED),))
        value = dict(upstream.metadata)[HEADER]
    assert isinstance(value, str) and value.startswith(f"{FORGED},")
    assert last_uri(value) == NAMES.id_of(BRIDGE.name)
    assert ("By", NAMES.id_of(EXECUTOR.name)) in last_element(value)


async def test_the_sidecar_of_a_caller_passes_on_nothing_that_it_says_of_itself(rig: Rig) -> None:
    async with upstream_at(rig.app, Upstream()) as upstream, rig.channel(EXECUTOR) as channel:
        forged = FORGED.replace(NAMES.id_of(OPERATOR), NAMES.id_of(BRIDGE.name))
        await channel.unary_unary(GET_ORDER)(b"", timeout=20, metadata=((HEADER, forged),))
        value = dict(upstream.metadata)[HEADER]
    assert isinstance(value, str) and forged not in value
    assert [item for key, item in last_element(value) if key == "URI"] == [NAMES.id_of(OPERATOR)]
    assert value.count("URI=") == 1


async def test_who_forges_the_header_without_the_mesh_is_a_stranger_to_it(mesh: ReplayedMesh, tmp_path: Path) -> None:
    """A certificate of somebody else's authority, and a header that names the operator: the call never begins."""
    foreign = make_certificates(tmp_path / "foreign")
    async with mesh.sidecars.channel_as(OPERATOR, EXECUTOR, foreign) as channel:
        call = channel.unary_unary(GET_ORDER)(b"", timeout=20, metadata=((HEADER, FORGED),))
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
