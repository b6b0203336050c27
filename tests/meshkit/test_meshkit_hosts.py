"""Hosts have one spelling, and a proxy of the environment gets no password but its own."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_client import ExchangeConfig
from exchange_client.coinbase.transport import NoAnswer, RequestNotSent, Transport
from meshkit.hosts import Host, is_loopback, parse_host


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("api.coinbase.com", Host("api.coinbase.com")),
        ("API.Coinbase.COM.:443", Host("api.coinbase.com")),
        ("127.0.0.1:8443", Host("127.0.0.1", 8443)),
        ("127.0.0.1.:8443", Host("127.0.0.1", 8443)),
        ("[0:0:0:0:0:0:0:1]:8443", Host("::1", 8443)),
        ("localhost:1", Host("localhost", 1)),
    ],
)
def test_spellings_of_one_host_are_one_host(text: str, means: Host) -> None:
    assert parse_host(text) == means
    assert parse_host(str(means)) == means


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "https://api.coinbase.com",
        "127.0.0.1@api.coinbase.com",
        "127.0.0.1:8443@api.coinbase.com",
        "api.coinbase.com/",
        "api.coinbase.com\\@127.0.0.1",
        "api.coinbase.com#127.0.0.1",
        "api.coinbase.com?127.0.0.1",
        "api.coinbase.com..",
        "api..coinbase.com",
        "api.coinbase.com:0443",
        "api.coinbase.com:",
        "api.coinbase.com:65536",
        "api.coinbase.com:443:443",
        "api.coinbase.com ",
        "api.coinbase.com\n",
        "api.coinbase.com%2e",
        "аpi.coinbase.com",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.01",
        "1.2.3.256",
        "[::1",
        "[127.0.0.1]",
        "[::1%lo]",
        "::1",
    ],
)
def test_what_is_no_host_alone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|is no|has (a|no)"):
        parse_host(text)


@given(st.text("aA1.:@/[]%-cobx0", max_size=24))
def test_what_is_read_has_one_form_and_says_truly_whether_it_stays_here(text: str) -> None:
    try:
        host = parse_host(text)
    except ValueError:
        return
    assert parse_host(str(host)) == host
    assert host.is_loopback == is_loopback(host.name)
    assert host.name == host.name.lower() and not host.name.endswith(".") and "@" not in str(host)


@pytest.mark.parametrize("own", ["", "al%40ice:s%2Fecret@"])
async def test_a_proxy_gets_no_password_of_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str) -> None:
    heads: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(b"HTTP/1.1 502 no\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    (tmp_path / ".netrc").write_text(
        "machine 127.0.0.1 login thief password netrc-secret\nmachine exchange.example login thief password x\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{own}127.0.0.1:{port}")
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "elsewhere.example")
    monkeypatch.delenv("no_proxy", raising=False)
    async with server, Transport(ExchangeConfig("exchange.example"), None) as transport:
        with pytest.raises((RequestNotSent, NoAnswer)):
            await transport.public("/api/v3/brokerage/time")
    (head,) = heads
    assert head.startswith("connect exchange.example:443 ")
    if own:
        assert base64.b64encode(b"al@ice:s/ecret").decode().lower() in head
    else:
        assert "authorization" not in head
