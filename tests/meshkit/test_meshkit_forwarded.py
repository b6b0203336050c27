"""MESH_AUTH=xfcc: the last element of x-forwarded-client-cert, from the sidecar alone; and names in SPIFFE IDs."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from refusals import refused

from meshkit import errors
from meshkit.forwarded import HEADER, BadHeader, ForwardedSource, last_element, last_uri
from meshkit.identity import UnknownCaller
from meshkit.spiffe import DEFAULT_PREFIX, NotOfThisMesh, SpiffeNames
from tests.meshkit.toys import Behaviour, all_four, bare, settings, toy_running
from tradekit.settings import TradingSettings

RISK = f"{DEFAULT_PREFIX}risk"
# As a sidecar of Istio writes it.
GOOD = f'By={DEFAULT_PREFIX}executor;Hash={"ab" * 32};Subject="";URI={RISK}'


def envoy(uri: str, subject: str = "") -> str:
    """An element as Envoy writes it: a subject is always quoted, and its quotes are escaped."""
    escaped = subject.replace('"', '\\"')
    return f'By={DEFAULT_PREFIX}toy;Hash={"0" * 64};Subject="{escaped}";URI={uri}'


def test_the_last_element_counts_however_it_is_quoted() -> None:
    assert last_uri(GOOD) == RISK
    assert last_uri(f"{envoy(DEFAULT_PREFIX + 'operator')},{GOOD}") == RISK
    assert last_uri(f'{envoy("spiffe://x/y", "CN=a,O=b;c")},URI="{RISK}";DNS=a.b;DNS=c.d') == RISK
    assert last_element('A="1,2;\\"3";b=x=y') == [("A", '1,2;"3'), ("b", "x=y")]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("", "key=value"),
        ("URI", "key=value"),
        (f"{GOOD},", "key=value"),
        (f"{GOOD};", "key=value"),
        ('URI="spiffe://a', "not closed"),
        ('URI=spi"ffe', "quote stands inside"),
        ('By="a"b;URI=c', "neither a comma nor a semicolon"),
        ("By=a;Hash=b", "has no URI"),
        (f"URI={RISK};URI={DEFAULT_PREFIX}operator", "has 2 URIs"),
        (f"{GOOD},By=a;Hash=b", "has no URI"),
    ],
)
def test_what_is_not_in_envoys_form_is_refused(header: str, words: str) -> None:
    with pytest.raises(BadHeader, match=words):
        last_uri(header)


SIGNS = st.text(alphabet=',;="\\ abURI:/', max_size=40)


@given(st.one_of(SIGNS, SIGNS.map(lambda text: f'URI={DEFAULT_PREFIX}operator;Subject="{text}')))
def test_no_text_of_a_caller_before_the_sidecars_element_changes_who_it_is(sent: str) -> None:
    header = f"{sent},{envoy(RISK)}"
    try:
        assert last_uri(header) == RISK
    except BadHeader:
        pass  # refused is as good


def context(peer: str) -> Any:
    return SimpleNamespace(peer=lambda: peer)


def test_only_the_sidecar_is_believed() -> None:
    source = ForwardedSource(SpiffeNames(known=frozenset({"risk"})))
    for peer in ("ipv4:127.0.0.1:41000", "ipv4:127.0.0.6:41000", "ipv6:[::1]:41000", "ipv6:%5B::1%5D:41000", "unix:"):
        assert source({HEADER: GOOD}, context(peer)).name == "risk", peer
    for peer in ("ipv4:10.0.0.7:41000", "ipv6:[fd00::7]:41000", "ipv6:%5Bfd00::7%5D:1", "", "vsock:1:2"):
        with pytest.raises(UnknownCaller, match="not the sidecar"):
            source({HEADER: GOOD}, context(peer))
    with pytest.raises(UnknownCaller, match="not the sidecar"):
        source({HEADER: GOOD}, None)
    with pytest.raises(UnknownCaller, match="no sidecar says who it is"):
        source({}, context("unix:"))
    with pytest.raises(UnknownCaller, match="no identity of this mesh"):
        source({HEADER: GOOD.replace("sa/risk", "sa/other")}, context("unix:"))


@pytest.mark.parametrize(
    "spiffe_id",
    [
        "risk",
        "spiffe://elsewhere/ns/crypto-trading/sa/risk",
        "spiffe://cluster.local/ns/other/sa/risk",
        DEFAULT_PREFIX,
        f"{DEFAULT_PREFIX}risk/more",
        f"{DEFAULT_PREFIX}../sa/risk",
        f"{DEFAULT_PREFIX}Risk",
        f"{DEFAULT_PREFIX}risk\n",
        f"{DEFAULT_PREFIX}unknown",
    ],
)
def test_an_id_of_nobody_here_names_nobody(spiffe_id: str) -> None:
    with pytest.raises(NotOfThisMesh):
        SpiffeNames(known=frozenset({"risk", "operator"})).name_of(spiffe_id)


async def test_behind_a_sidecar_the_policy_decides_by_what_it_forwards(toy: Any) -> None:
    behaviour = Behaviour()
    async with (
        toy_running(toy, behaviour, mesh_auth="xfcc") as service,
        bare(service.port) as channel,
    ):
        stub = toy.rpc.ToyServiceStub(channel)
        for header in (None, "nonsense", envoy("spiffe://elsewhere/ns/x/sa/friend")):
            metadata = () if header is None else ((HEADER, header),)
            for error in await all_four(stub, toy, timeout=5, metadata=metadata):
                assert isinstance(error, grpc.aio.AioRpcError)
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert behaviour.calls == []
        friend = ((HEADER, f"{envoy(DEFAULT_PREFIX + 'stranger')},{envoy(DEFAULT_PREFIX + 'friend')}"),)
        await stub.Once(toy.pb.Ask(), timeout=5, metadata=friend)
        other = ((HEADER, f"{envoy(DEFAULT_PREFIX + 'friend')},{envoy(DEFAULT_PREFIX + 'stranger')}"),)
        error = await refused(stub.Once(toy.pb.Ask(), timeout=5, metadata=other))
        assert isinstance(error, errors.PermissionDenied) and "stranger may not call" in error.message


async def test_a_stranger_who_passes_the_sidecar_by_is_refused(toy: Any) -> None:
    own = _own_address()
    if own is None:
        pytest.skip("this machine has no address but the loopback")
    async with (
        toy_running(toy, mesh_auth="xfcc", mesh_bind="0.0.0.0") as service,
        grpc.aio.insecure_channel(f"{own}:{service.port}") as channel,
    ):
        forged = ((HEADER, envoy(f"{DEFAULT_PREFIX}operator")),)
        error = await refused(toy.rpc.ToyServiceStub(channel).Read(toy.pb.Ask(), timeout=5, metadata=forged))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNKNOWN")
        assert "is not the sidecar" in error.message


def _own_address() -> str | None:
    """An address of this machine that is not the loopback: where a packet to elsewhere would leave it. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


def test_settings_take_any_address_with_a_sidecar_and_know_who_exists() -> None:
    assert settings(mesh_auth="xfcc", mesh_bind="0.0.0.0").mesh_auth == "xfcc"
    with pytest.raises(ValidationError, match="so MESH_BIND must be loopback"):
        settings(mesh_auth="off", mesh_bind="0.0.0.0")
    with pytest.raises(ValidationError, match=r"mesh_spiffe_prefix"):
        settings(mesh_spiffe_prefix="https://cluster.local/")
    known = TradingSettings(service_name="risk", port=0, mesh_auth="xfcc").spiffe_names.known
    assert {"risk", "operator", "gateway"} < known and "stranger" not in known
