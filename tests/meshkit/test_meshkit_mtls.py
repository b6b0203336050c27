"""MESH_AUTH=mtls over real sockets: who is let in, who is not and in which words, and certificates replaced under way."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from identities import identities, presented
from pydantic import ValidationError
from refusals import refused

from meshkit import errors
from meshkit.certificates import read_pair
from meshkit.channel import proven_as, server_name
from meshkit.errors import Misconfigured
from meshkit.identity import UnknownCaller
from meshkit.kit import Kit
from meshkit.spiffe import SpiffeNames
from supervisor.certificate_files import CertificateFiles
from supervisor.certificates import LIFE, RENEW_BELOW, ensure_certificates, remove_certificates
from supervisor.keys import UnsafeKey
from tests.meshkit.toys import TOY_NAME, Behaviour, all_four, bare, settings, toy_running

# The server's own name is that of its stage, as it is in trading.STAGE.v1.
SERVER = "toykit"
KNOWN = (SERVER, "friend", "operator", "stranger")
NAMES = SpiffeNames()


def make(folder: Path, at: datetime | None = None, names: SpiffeNames = NAMES) -> CertificateFiles:
    files = CertificateFiles(folder / "identity")
    ensure_certificates(files, KNOWN, names, at or datetime.now(UTC))
    return files


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return make(tmp_path)


def mtls_settings(files: CertificateFiles, identity: str) -> dict[str, Any]:
    return {"mesh_auth": "mtls", "mesh_certificate_file": files.certificate(identity), "mesh_ca_file": files.authority}


@asynccontextmanager
async def channel_as(
    port: int, files: CertificateFiles, identity: str, ca: Path | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    """A plain client with one of the certificates."""
    pair = read_pair(files.certificate(identity), ca or files.authority)
    credentials = grpc.ssl_channel_credentials(pair.authorities, pair.key, pair.chain)
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=proven_as(SERVER)) as channel:
        yield channel


async def test_a_kit_proves_itself_on_every_kind_of_call_and_the_policy_decides(
    toy: Any, files: CertificateFiles
) -> None:
    assert server_name(TOY_NAME) == SERVER
    async with toy_running(toy, **mtls_settings(files, SERVER)) as service:
        for name in KNOWN:
            kit: Kit[Any] = Kit(settings(service_name=name, **mtls_settings(files, name)))
            try:
                stub = toy.rpc.ToyServiceStub(kit.channel(f"127.0.0.1:{service.port}", TOY_NAME))
                assert not [one for one in await all_four(stub, toy, timeout=5) if isinstance(one, Exception)], name
                if name in ("stranger", SERVER):
                    error = await refused(stub.Once(toy.pb.Ask(), timeout=5))
                    assert isinstance(error, errors.PermissionDenied) and f"{name} may not call" in error.message
                else:
                    await stub.Once(toy.pb.Ask(), timeout=5)
            finally:
                await kit.close()


async def test_who_has_no_certificate_of_the_authority_does_not_get_in(
    toy: Any, files: CertificateFiles, tmp_path: Path
) -> None:
    foreign = make(tmp_path / "foreign")
    ended = make(tmp_path / "ended", datetime.now(UTC) - 2 * LIFE)
    # The same authority, and a certificate of it that has ended.
    old = CertificateFiles(tmp_path / "old")
    old.folder.mkdir(mode=0o700)
    for name in ("ca.pem", "ca-key.pem"):
        (old.folder / name).write_bytes((files.folder / name).read_bytes())
        (old.folder / name).chmod(0o600)
    ensure_certificates(old, ["friend"], NAMES, datetime.now(UTC) - 2 * LIFE)
    behaviour = Behaviour()
    async with toy_running(toy, behaviour, **mtls_settings(files, SERVER)) as service:
        async with bare(service.port) as plain:
            assert (await _code(toy, plain)) is grpc.StatusCode.UNAVAILABLE
        nameless = grpc.ssl_channel_credentials(files.authority.read_bytes())
        target, options = f"127.0.0.1:{service.port}", proven_as(SERVER)
        async with grpc.aio.secure_channel(target, nameless, options=options) as channel:
            assert (await _code(toy, channel)) is grpc.StatusCode.UNAVAILABLE
        for files_of, name in ((foreign, "operator"), (ended, "friend"), (old, "friend")):
            async with channel_as(service.port, files_of, name, ca=files.authority) as channel:
                assert (await _code(toy, channel)) is grpc.StatusCode.UNAVAILABLE
        assert behaviour.calls == []
        async with channel_as(service.port, files, "friend") as channel:
            assert (await _code(toy, channel)) is grpc.StatusCode.OK


async def test_a_certificate_that_names_nobody_here_is_told_so(toy: Any, files: CertificateFiles) -> None:
    elsewhere = SpiffeNames("spiffe://elsewhere/")
    ensure_certificates(files, ["other"], elsewhere, datetime.now(UTC))
    async with (
        toy_running(toy, **mtls_settings(files, SERVER)) as service,
        channel_as(service.port, files, "other") as channel,
    ):
        error = await refused(toy.rpc.ToyServiceStub(channel).Read(toy.pb.Ask(), timeout=5))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNKNOWN")
        assert "spiffe://elsewhere/other" in error.message and "operator.pem" in error.message


async def test_a_server_that_is_another_service_is_not_called(toy: Any, files: CertificateFiles) -> None:
    behaviour = Behaviour()
    async with toy_running(toy, behaviour, **mtls_settings(files, "stranger")) as service:
        kit: Kit[Any] = Kit(settings(service_name="friend", **mtls_settings(files, "friend")))
        try:
            stub = toy.rpc.ToyServiceStub(kit.channel(f"127.0.0.1:{service.port}", TOY_NAME))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Read(toy.pb.Ask(), timeout=5)
            assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            assert behaviour.calls == []
        finally:
            await kit.close()


async def test_new_certificates_are_used_without_a_restart_and_running_calls_go_on(
    toy: Any, files: CertificateFiles, tmp_path: Path
) -> None:
    go_on = asyncio.Event()

    async def watch(request: Any, context: Any) -> AsyncIterator[Any]:
        yield toy.pb.Answer(text="before")
        await go_on.wait()
        yield toy.pb.Answer(text="after")

    async with toy_running(toy, Behaviour(watch=watch), **mtls_settings(files, SERVER)) as service:
        kit: Kit[Any] = Kit(settings(service_name="friend", **mtls_settings(files, "friend")))
        try:
            stub = toy.rpc.ToyServiceStub(kit.channel(f"127.0.0.1:{service.port}", TOY_NAME))
            stream = stub.Watch(toy.pb.Ask(), timeout=60)
            assert (await stream.read()).text == "before"
            # Another authority altogether: nothing old is valid for a new connection.
            another = make(tmp_path / "another")
            for name in ("ca.pem", *(f"{one}.pem" for one in KNOWN)):
                os.replace(another.folder / name, files.folder / name)
            await stub.Read(toy.pb.Ask(), timeout=10)
            async with channel_as(service.port, files, "operator") as channel:
                assert (await _code(toy, channel)) is grpc.StatusCode.OK
            go_on.set()
            assert (await stream.read()).text == "after"
        finally:
            await kit.close()


async def test_files_that_cannot_be_used_leave_the_last_good_ones_in_force(
    toy: Any, files: CertificateFiles, capfd: pytest.CaptureFixture[str]
) -> None:
    async with toy_running(toy, **mtls_settings(files, SERVER)) as service:
        own = files.certificate(SERVER)
        own.write_text("no certificate")
        async with channel_as(service.port, files, "friend") as channel:
            assert (await _code(toy, channel)) is grpc.StatusCode.OK
    said = "".join(capfd.readouterr())
    assert "certificate_not_renewed" in said and str(own) in said


async def _code(toy: Any, channel: grpc.aio.Channel) -> grpc.StatusCode:
    call = toy.rpc.ToyServiceStub(channel).Once(toy.pb.Ask(), timeout=5)
    code: grpc.StatusCode = await call.code()
    return code


def test_certificates_are_kept_until_half_of_their_life_and_private(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    files = make(tmp_path, now)
    before = {name: files.certificate(name).read_bytes() for name in KNOWN}
    assert ensure_certificates(files, KNOWN, NAMES, now + RENEW_BELOW - timedelta(seconds=5)) == []
    assert ensure_certificates(files, KNOWN, NAMES, now + RENEW_BELOW + timedelta(seconds=5)) == list(KNOWN)
    assert not [name for name in KNOWN if files.certificate(name).read_bytes() == before[name]]
    assert {path.stat().st_mode & 0o777 for path in files.folder.iterdir()} == {0o600}
    # A clock that was ahead has made some that are not valid yet.
    assert ensure_certificates(files, KNOWN, NAMES, now - timedelta(days=2)) == list(KNOWN)
    renamed = SpiffeNames("spiffe://own.example/")
    assert ensure_certificates(files, ["friend"], renamed, now) == ["friend"]
    files.certificate("friend").write_text("damaged")
    assert ensure_certificates(files, ["friend"], NAMES, now) == ["friend"]
    remove_certificates(files, KNOWN)
    assert sorted(path.name for path in files.folder.iterdir()) == ["ca-key.pem", "ca.pem"]


def test_an_authority_that_cannot_be_trusted_is_refused_with_what_to_do(tmp_path: Path) -> None:
    files, other = make(tmp_path / "a"), make(tmp_path / "b")
    files.authority_key.chmod(0o644)
    with pytest.raises(UnsafeKey, match="chmod 600"):
        make(tmp_path / "a")
    files.authority_key.chmod(0o600)
    os.replace(other.authority, files.authority)
    with pytest.raises(UnsafeKey, match="is not the certificate of"):
        make(tmp_path / "a")
    files.authority_key.write_text("x")
    with pytest.raises(UnsafeKey, match="not a readable EC private key"):
        make(tmp_path / "a")


def test_files_that_are_no_certificates_are_refused(files: CertificateFiles, tmp_path: Path) -> None:
    own, good = tmp_path / "own.pem", files.certificate("friend").read_text()
    key = good.partition("-----BEGIN CERTIFICATE")[0]
    for text in ("", "nonsense", key, good.removeprefix(key), key + good):
        own.write_text(text)
        own.chmod(0o600)
        with pytest.raises(Misconfigured, match="must hold one private key"):
            read_pair(own, files.authority)
    own.write_text(good)
    own.chmod(0o640)
    with pytest.raises(Misconfigured, match="chmod 600"):
        read_pair(own, files.authority)
    with pytest.raises(Misconfigured, match="cannot be read"):
        read_pair(files.certificate("friend"), tmp_path / "missing.pem")
    with pytest.raises(Misconfigured, match="no certificate of an authority"):
        read_pair(files.certificate("friend"), Path(__file__))


def test_settings_name_the_files_that_mtls_needs() -> None:
    with pytest.raises(ValidationError, match="mtls needs MESH_CERTIFICATE_FILE and MESH_CA_FILE"):
        settings(mesh_auth="mtls")


def test_a_look_at_the_files_costs_little(files: CertificateFiles) -> None:
    """Each call looks whether they have changed; a file that has not changed is not read again."""
    kit: Kit[Any] = Kit(settings(**mtls_settings(files, "friend")))
    certificates = kit.identity.certificates
    assert certificates is not None
    first = certificates.pair()
    assert certificates.pair() is first
    os.utime(files.certificate("friend"), ns=(time.time_ns(), time.time_ns()))
    assert certificates.pair() is not first


def test_the_page_takes_the_operators_token_where_nobody_shows_a_certificate(
    files: CertificateFiles, tmp_path: Path
) -> None:
    tokens = identities(tmp_path / "tokens")
    kit: Kit[Any] = Kit(settings(**mtls_settings(files, "friend"), mesh_callers_file=tokens.callers))
    assert kit.identity.page is not None and kit.identity.presented == ()
    caller = kit.identity.page(dict(presented(tokens, "operator")), None)
    assert caller is not None and caller.name == "operator"
    with pytest.raises(UnknownCaller):
        kit.identity.source(dict(presented(tokens, "operator")), None)
