"""MESH_AUTH=token: who is known, what each may call, what is refused and in which words; and the share of each caller."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from identities import identities, presented, token_settings
from pydantic import ValidationError
from refusals import refused

from meshkit import errors
from meshkit.channel import stays_here
from meshkit.errors import Misconfigured
from meshkit.identity import read_callers, read_token
from meshkit.kit import Kit
from meshkit.policy import Effect, Policy
from meshkit.private_file import read_private
from meshkit.settings import effective
from supervisor.identities import IdentityFiles, ensure_identities
from supervisor.keys import UnsafeKey
from tests.meshkit.toys import Behaviour, all_four, bare, settings, toy_running
from tradekit.settings import TradingSettings

KNOWN = ("friend", "operator", "stranger")


@pytest.fixture
def files(tmp_path: Path) -> IdentityFiles:
    made = IdentityFiles(tmp_path / "identity")
    ensure_identities(made, KNOWN)
    return made


async def test_a_kit_proves_itself_on_every_kind_of_call_and_the_policy_decides(toy: Any, files: IdentityFiles) -> None:
    async with toy_running(toy, **token_settings(files, "friend")) as service:
        for name in KNOWN:
            kit: Kit[Any] = Kit(settings(service_name=name, **token_settings(files, name)))
            try:
                stub = toy.rpc.ToyServiceStub(kit.channel(f"127.0.0.1:{service.port}", "toykit.v1.ToyService"))
                assert not [one for one in await all_four(stub, toy, timeout=5) if isinstance(one, Exception)], name
                if name == "stranger":
                    error = await refused(stub.Once(toy.pb.Ask(), timeout=5))
                    assert isinstance(error, errors.PermissionDenied) and "stranger may not call" in error.message
                else:
                    await stub.Once(toy.pb.Ask(), timeout=5)
            finally:
                await kit.close()


async def test_who_is_not_known_is_refused_on_every_kind_of_call_and_told_what_to_do(
    toy: Any, files: IdentityFiles, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = identities(tmp_path / "other")
    good = read_token(files.token("operator"))
    behaviour = Behaviour()
    wrong = {
        "presents no token": (),
        "none of this mesh": presented(other, "operator"),
        "is no bearer token": (("authorization", good),),
        "none of this mesh ": (("authorization", "Bearer "),),
        "none of this  mesh": (("authorization", f"Bearer {good[:-1]}"),),
    }
    async with (
        toy_running(toy, behaviour, **token_settings(files, "friend")) as service,
        bare(service.port) as channel,
    ):
        stub = toy.rpc.ToyServiceStub(channel)
        for words, metadata in wrong.items():
            for error in await all_four(stub, toy, timeout=5, metadata=metadata):
                assert isinstance(error, grpc.aio.AioRpcError), words
                found = errors.from_rpc_error(error)
                assert (found.code, found.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNKNOWN")
                assert " ".join(words.split()) in found.message
                assert "authorization: Bearer TOKEN" in found.message and "operator.token" in found.message
        # Nothing of a refused call reaches a handler, and who looks around needs no token.
        assert behaviour.calls == []
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert answer.status
        look = reflection_pb2.ServerReflectionRequest(list_services="")
        async for listed in reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([look])):
            assert listed.list_services_response.service
        await stub.Read(toy.pb.Ask(), timeout=5, metadata=presented(files, "operator"))
    said = "".join(capfd.readouterr())
    tokens = [read_token(one.token("operator")) for one in (files, other)]
    assert "CALLER_UNKNOWN" in said or "UNAUTHENTICATED" in said
    assert not [token for token in tokens if token in said or token[:-1] in said]


def test_tokens_are_random_private_kept_and_known_to_servers_by_their_digest_only(tmp_path: Path) -> None:
    files, again = identities(tmp_path / "a"), identities(tmp_path / "a")
    tokens = {name: read_token(files.token(name)) for name in ("risk", "operator", "orchestrator")}
    assert len(set(tokens.values())) == 3 and all(len(token) == 43 for token in tokens.values())
    assert tokens["risk"] == read_token(again.token("risk")) != read_token(identities(tmp_path / "b").token("risk"))
    assert files.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in files.folder.iterdir()} == {0o600}
    known = files.callers.read_text()
    assert not [token for token in tokens.values() if token in known]
    assert set(tokens) <= set(read_callers(files.callers).values())
    kit: Kit[Any] = Kit(settings(**token_settings(files, "risk")))
    assert tokens["risk"] not in repr(kit.identity)


def _open(path: Path) -> None:
    path.chmod(0o640)


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _foreign(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to somebody else")
    os.chown(path, 65534, 65534)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_open, "is open to other users (mode 0640). Run: chmod 600"),
        (_link, "is a symbolic link"),
        (_pipe, "is not a file"),
        (_foreign, "belongs to user 65534"),
        (Path.unlink, "cannot be read: No such file"),
        (lambda path: path.write_text(""), "holds no token"),
        (lambda path: path.write_text("short"), "holds no token"),
        (lambda path: path.write_bytes(b"\xff" * 43), "something else than ASCII"),
        (lambda path: path.write_text("x" * 100_000), "larger than"),
    ],
)
def test_a_token_that_others_could_have_touched_is_refused_in_words(tmp_path: Path, harm: Any, words: str) -> None:
    files = identities(tmp_path)
    harm(files.token("risk"))
    with pytest.raises(Misconfigured) as found:
        Kit(settings(**token_settings(files, "risk")))
    assert str(files.token("risk")) in found.value.message and words in found.value.message


def test_mesh_up_refuses_what_a_service_would_refuse(tmp_path: Path) -> None:
    files = identities(tmp_path)
    files.token("market").chmod(0o604)
    with pytest.raises(UnsafeKey, match="open to other users"):
        identities(tmp_path)
    files.token("market").chmod(0o600)
    files.folder.chmod(0o755)
    with pytest.raises(UnsafeKey, match="chmod 700"):
        identities(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"abc": "risk"}', '{"' + "0" * 64 + '": ""}', "{"])
def test_a_callers_file_that_knows_nobody_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "callers.json"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(Misconfigured, match="does not map the SHA-256"):
        read_callers(path)


def test_settings_ask_for_both_files_a_loopback_address_and_proof_where_money_is_real(tmp_path: Path) -> None:
    files = identities(tmp_path)
    given = token_settings(files, "risk")
    with pytest.raises(ValidationError, match="MESH_TOKEN_FILE and MESH_CALLERS_FILE"):
        settings(mesh_auth="token")
    with pytest.raises(ValidationError, match="clear text, so MESH_BIND must be loopback"):
        settings(mesh_bind="0.0.0.0", **given)
    shown = effective(settings(**given))
    # The path is no secret, and an operator needs it.
    assert shown["MESH_TOKEN_FILE"] == str(files.token("risk")) and read_token(files.token("risk")) not in str(shown)
    with pytest.raises(ValidationError, match="MESH_AUTH=off is refused with VENUE=LIVE"):
        TradingSettings(service_name="risk", port=0, venue="LIVE")
    assert TradingSettings(service_name="risk", port=0, venue="LIVE", **given).mesh_auth == "token"


@pytest.mark.parametrize(
    ("target", "here"),
    [
        ("127.0.0.1:8027", True),
        ("localhost:8027", True),
        ("[::1]:8027", True),
        ("dns:///127.0.0.1:8027", True),
        ("unix:/run/risk.sock", True),
        ("10.0.0.7:8027", False),
        ("risk:8027", False),
        ("dns:///risk.mesh:8027", False),
        ("127.0.0.1.evil.example:8027", False),
        ("ipv4:127.0.0.1:8027,127.0.0.1:9027", True),
        ("ipv6:[::1]:8027,[::1]:9027", True),
        ("ipv4:127.0.0.1:8027,10.0.0.7:9027", False),
        ("ipv4:127.0.0.1", False),
    ],
)
async def test_a_token_never_leaves_the_machine(tmp_path: Path, target: str, here: bool) -> None:
    assert stays_here(target) is here
    kit: Kit[Any] = Kit(settings(**token_settings(identities(tmp_path), "risk")))
    try:
        if here:
            kit.channel(target, "toykit.v1.ToyService")
        else:
            with pytest.raises(Misconfigured, match="must be a loopback address"):
                kit.channel(target, "toykit.v1.ToyService")
    finally:
        await kit.close()


def test_read_private_says_which_file() -> None:
    with pytest.raises(Misconfigured, match="/nonexistent/token cannot be read"):
        read_private(Path("/nonexistent/token"))


@pytest.mark.parametrize(
    ("callers", "limit", "caller", "quota"),
    [
        ({"orchestrator", "operator"}, 16, "operator", 12),
        ({"orchestrator", "operator"}, 16, "orchestrator", 16),
        ({"*"}, 64, "operator", 48),
        ({"*"}, 64, "bridge", 48),
        ({"*"}, 3, "bridge", 2),
        ({"*"}, 1, "bridge", 1),
        ({"operator"}, 2, "operator", 2),
        ({"a", "b", "operator"}, 16, "a", 12),
    ],
)
def test_quota_of_a_caller(callers: set[str], limit: int, caller: str, quota: int) -> None:
    policy = Policy(frozenset(callers), Effect.READ, None, limit, streaming=True)
    assert policy.quota(caller) == quota


async def test_idle_streams_of_one_caller_leave_room_for_another(toy: Any, files: IdentityFiles) -> None:
    """Watch takes 100 at once: one caller that holds its streams open for ever gets 75 of them, another the rest."""
    forever = asyncio.Event()

    async def idle(request: Any, context: Any) -> Any:
        yield toy.pb.Answer(key="open")
        await forever.wait()

    async def open_streams(stub: Any, name: str, count: int) -> tuple[list[Any], list[errors.MeshError]]:
        held, refused = [], []
        for _ in range(count):
            call = stub.Watch(toy.pb.Ask(), metadata=presented(files, name))
            try:
                await call.read()
                held.append(call)
            except grpc.aio.AioRpcError as error:
                refused.append(errors.from_rpc_error(error))
        return held, refused

    async with (
        toy_running(toy, Behaviour(watch=idle), **token_settings(files, "friend")) as service,
        bare(service.port) as channel,
    ):
        stub = toy.rpc.ToyServiceStub(channel)
        held, refused = await open_streams(stub, "operator", 80)
        assert (len(held), len(refused)) == (75, 5)
        assert all(isinstance(one, errors.TooManyInFlight) and one.retry_after for one in refused)
        assert "the most that operator may have of 100" in refused[0].message
        others, shut_out = await open_streams(stub, "friend", 25)
        assert (len(others), shut_out) == (25, [])
        # A stream that ends gives its place back to its caller.
        held.pop().cancel()
        async with asyncio.timeout(5):
            while not (await open_streams(stub, "operator", 1))[0]:
                await asyncio.sleep(0.01)
        forever.set()
