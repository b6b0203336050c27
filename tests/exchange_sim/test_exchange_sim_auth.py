"""Every way a request can fail to prove its key, and the doors that need none."""

import base64
import hmac
import json
import secrets
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import requests
from coinbase.rest import RESTClient
from cryptography.hazmat.primitives.asymmetric import ec

PATH = "/api/v3/brokerage/accounts"


def token(
    sim: Any, *, key: str = "trader", secret: Any = None, alg: str = "ES256", kid: str = "", **claims: Any
) -> str:
    now, name = int(time.time()), sim.keys[key].name
    payload = {"sub": name, "iss": "cdp", "nbf": now, "exp": now + 120, "uri": f"GET {sim.host}{PATH}"} | claims
    payload = {name: value for name, value in payload.items() if value is not None}
    headers = {"kid": kid or name, "nonce": secrets.token_hex()}
    return jwt.encode(payload, secret or sim.keys[key].secret, algorithm=alg, headers=headers)


def hmac_token(claims: dict[str, Any], key: Any) -> str:
    """Made by hand, because the library refuses a PEM as a shared secret."""

    def part(content: bytes) -> bytes:
        return base64.urlsafe_b64encode(content).rstrip(b"=")

    header = {"alg": "HS256", "typ": "JWT", "kid": key.name}
    signed = part(json.dumps(header).encode()) + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.digest(key.public.encode(), signed, "sha256"))).decode()


def get(sim: Any, authorization: str | None, path: str = PATH) -> requests.Response:
    headers = {} if authorization is None else {"Authorization": authorization}
    return sim.session().get(f"https://{sim.host}{path}", headers=headers, timeout=10)


def test_good_tokens_pass(sim: Any) -> None:
    assert get(sim, f"Bearer {token(sim)}").status_code == 200
    assert get(sim, f"Bearer {token(sim, key='edwards', alg='EdDSA')}").status_code == 200
    assert get(sim, f"Bearer {token(sim)}", f"{PATH}?limit=1").status_code == 200, "the query is not part of uri"


def test_what_other_clients_send_passes(sim: Any) -> None:
    """The issuer of before, an audience, a list of requests for newer keys, and the exchange's own time for the stamp."""
    older = token(sim, iss="coinbase-cloud", aud=["retail_rest_api_proxy"], iat=int(time.time()))
    newer = token(sim, key="edwards", alg="EdDSA", aud=["cdp_service"], uri=None, uris=[f"GET {sim.host}{PATH}"])
    exchange = int(sim.session().get(f"https://{sim.host}/v2/time", timeout=10).json()["data"]["epoch"])
    assert abs(exchange - time.time()) > 86_400, "the market's clock stands elsewhere"
    stamped = token(sim, nbf=exchange, exp=exchange + 120)
    for good in (older, newer, stamped):
        assert get(sim, f"Bearer {good}").status_code == 200
    for begins in (exchange - 121, exchange + 180):
        assert get(sim, f"Bearer {token(sim, nbf=begins, exp=begins + 120)}").status_code == 401


def test_a_head_needs_the_scope_of_a_get(sim: Any) -> None:
    signed = token(sim, key="viewer", uri=f"HEAD {sim.host}{PATH}")
    answer = sim.session().head(f"https://{sim.host}{PATH}", headers={"Authorization": f"Bearer {signed}"}, timeout=10)
    assert answer.status_code == 200
    assert sim.session().head(f"https://{sim.host}{PATH}", timeout=10).status_code == 401


def test_official_client_with_an_ed25519_key(sim: Any) -> None:
    assert sim.client("edwards").get_accounts().accounts[0].currency == "USD"


BAD_CLAIMS: dict[str, Callable[[float], dict[str, Any]]] = {
    "other subject": lambda now: {"sub": "someone"},
    "no subject": lambda now: {"sub": None},
    "other issuer": lambda now: {"iss": "coinbase"},
    "no issuer": lambda now: {"iss": None},
    "other uris": lambda now: {"uri": None, "uris": ["GET HOST" + PATH + "/x"]},
    "text for uris": lambda now: {"uri": None, "uris": "GET HOST" + PATH},
    "expired": lambda now: {"nbf": now - 121, "exp": now - 1},
    "skewed three minutes ahead": lambda now: {"nbf": now + 180, "exp": now + 300},
    "lives too long": lambda now: {"exp": now + 600},
    "no expiry": lambda now: {"exp": None},
    "no beginning": lambda now: {"nbf": None},
    "text for a time": lambda now: {"exp": "soon"},
    "truth for a time": lambda now: {"nbf": True},
    "no uri": lambda now: {"uri": None},
    "other method": lambda now: {"uri": "POST HOST" + PATH},
    "other path": lambda now: {"uri": "GET HOST/api/v3/brokerage/orders"},
    "other host": lambda now: {"uri": "GET api.coinbase.com" + PATH},
    "query in uri": lambda now: {"uri": f"GET HOST{PATH}?limit=1"},
}


@pytest.mark.parametrize("case", BAD_CLAIMS)
def test_bad_claims_are_refused(sim: Any, case: str) -> None:
    claims = BAD_CLAIMS[case](int(time.time()))
    if claims.get("uri"):
        claims["uri"] = claims["uri"].replace("HOST", sim.host)
    answer = get(sim, f"Bearer {token(sim, **claims)}")
    assert (answer.status_code, answer.text) == (401, "Unauthorized\n")


def test_bad_signatures_are_refused(sim: Any) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    good = token(sim)
    header, _, signature = good.split(".")
    other_body = token(sim, nbf=int(time.time()) - 1).split(".")[1]
    none = jwt.encode(
        jwt.decode(good, options={"verify_signature": False}), None, "none", {"kid": sim.keys["trader"].name}
    )
    claims = jwt.decode(good, options={"verify_signature": False})
    # The public key as an HMAC secret is the classic confusion of algorithms.
    hs256 = hmac_token(claims, sim.keys["trader"])
    for bad in (
        None,
        "",
        "Bearer",
        "Bearer nonsense",
        f"Basic {good}",
        f"Bearer {token(sim, secret=stranger)}",
        f"Bearer {token(sim, kid='unknown')}",
        f"Bearer {token(sim, key='edwards', alg='EdDSA', kid=sim.keys['trader'].name, sub=sim.keys['trader'].name)}",
        f"Bearer {none}",
        f"Bearer {hs256}",
        f"Bearer {header}.{other_body}.{signature}",
    ):
        assert get(sim, bad).status_code == 401, bad


def test_public_paths_need_no_key(sim: Any) -> None:
    anonymous = RESTClient(base_url=sim.host, timeout=10)
    anonymous.session.trust_env, anonymous.session.verify = False, sim.ca
    assert anonymous.get_public_product("BTC-USD").product_id == "BTC-USD"
    assert anonymous.get_unix_time().iso
    assert get(sim, "Bearer nonsense", "/api/v3/brokerage/market/products").status_code == 200
    closed = "products best_bid_ask orders/historical/batch key_permissions marketx time/../accounts %61ccounts nothing"
    for private in closed.split():
        assert get(sim, None, f"/api/v3/brokerage/{private}").status_code == 401
    for outside in ("/", "/api/v3/%62rokerage/accounts", "/api/v3%2Fbrokerage/accounts", "//api/v3/brokerage/accounts"):
        assert get(sim, None, outside).status_code == 401


def test_a_key_without_the_trade_scope_may_only_look(sim: Any) -> None:
    viewer = sim.client("viewer")
    assert viewer.get_accounts().accounts
    with pytest.raises(requests.exceptions.HTTPError, match="Missing Required Scopes") as caught:
        viewer.market_order_buy("viewer-1", "BTC-USD", quote_size="10")
    assert caught.value.response.status_code == 403
    assert "viewer-1" not in {order.client_order_id for order in sim.client().list_orders().orders}


def test_control_has_its_own_token(sim: Any) -> None:
    assert sim.control("GET", "status").status_code == 200
    assert sim.control("GET", "status", token="wrong").status_code == 401
    assert get(sim, f"Bearer {token(sim)}", "/sim/v1/status").status_code == 401
    assert get(sim, "Bearer control-token-for-tests").status_code == 401


def test_certificate_names_the_host(sim: Any) -> None:
    assert sim.session().get(f"https://localhost:{sim.port}/api/v3/brokerage/time", timeout=10).status_code == 200
