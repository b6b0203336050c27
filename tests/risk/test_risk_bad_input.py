"""The risk engine over a real socket with a real database: bad requests, bad keys, bad settings."""

import os
import subprocess
import sys

import grpc
import pytest
from sqlalchemy import text, update

from meshkit.errors import Misconfigured, from_rpc_error
from schema.market import products
from schema.tables import metadata
from svc_risk.ticket import load_signer
from tests.risk.risk_calls import codes, refused
from tests.risk.risk_world import AS_OF, World, write_key
from tradekit import wire
from tradekit.ids import new_request_id
from tradekit.recommendation import Recommendation
from trading.common.v1 import decimal_pb2, recommendation_pb2
from trading.risk.v1 import risk_service_pb2 as pb


def spoiled(recommendation: Recommendation, **changes) -> pb.AssessRecommendationRequest:
    request = pb.AssessRecommendationRequest(
        request_id=str(new_request_id()), recommendation=wire.recommendation_message(recommendation)
    )
    for path, value in changes.items():
        target, *rest = path.split("__")
        if target == "request_id":
            request.request_id = value
            continue
        node = request.recommendation
        for name in [target, *rest][:-1]:
            node = getattr(node, name)
        setattr(node, [target, *rest][-1], value)
    return request


BAD = [
    ({"request_id": "x"}, {"request_id"}),
    ({"recommendation_id": ""}, {"recommendation.recommendation_id"}),
    ({"product_id": "btc usd"}, {"recommendation.product_id"}),
    ({"side": 9}, {"recommendation.side"}),
    ({"quote_size__value": "NaN"}, {"recommendation.quote_size"}),
    ({"quote_size__value": "1e5"}, {"recommendation.quote_size"}),
    ({"quote_size__value": "0"}, {"recommendation.quote_size"}),
    ({"quote_size__value": "-5"}, {"recommendation.quote_size"}),
    ({"quote_size__value": "9999999999999999999"}, {"recommendation.quote_size"}),
    ({"reference_price__value": "0"}, {"recommendation.reference_price"}),
    ({"priority": float("inf")}, {"recommendation.priority"}),
    ({"evidence__confidence": float("nan")}, {"recommendation.evidence.confidence"}),
    ({"expire_time__seconds": int(AS_OF.timestamp()), "life_clock": recommendation_pb2.LIFE_CLOCK_MARKET},
     {"recommendation.expire_time"}),
    ({"as_of__seconds": 10**15}, {"recommendation.as_of"}),
    ({"note": "x" * 201}, {"recommendation.note"}),
    ({"life_clock": 0, "origin": 7, "request_id": ""},
     {"recommendation.life_clock", "recommendation.origin", "request_id"}),
]  # fmt: skip


async def test_bad_requests_are_told_all_their_faults_and_store_nothing(world: World):
    before = await _rows(world)
    for changes, fields in BAD:
        error = await refused(_call(world.stub.AssessRecommendation, spoiled(world.recommendation(), **changes)))
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"), changes
        assert fields <= {violation.field for violation in error.violations}, changes
    mixed = spoiled(world.recommendation())
    mixed.recommendation.base_size.CopyFrom(decimal_pb2.Decimal(value="1"))  # a BUY sized like a SELL
    empty = pb.AssessRecommendationRequest()
    for request in (mixed, empty):
        assert (await refused(_call(world.stub.AssessRecommendation, request))).reason == "INVALID_REQUEST"
    state = await refused(_call(world.stub.SetTradingState, pb.SetTradingStateRequest(state=17, note="x" * 201)))
    assert {violation.field for violation in state.violations} == {"request_id", "state", "note"}
    assert await _rows(world) == before
    assert (await world.ask(world.recommendation())).decision == pb.DECISION_APPROVE


async def test_products_nobody_knows_or_trades_are_rejected_with_a_reason(world: World):
    await world.run(
        update(products).where(products.c.product_id == "SOL-USD").values(tradable=False, status="delisted")
    )
    assert codes(await world.ask(world.recommendation(product="XYZ-USD")))[0] == "UNKNOWN_PRODUCT"
    assert codes(await world.ask(world.recommendation(product="BTC-EUR")))[0] == "UNKNOWN_PRODUCT"
    assert codes(await world.ask(world.recommendation(product="SOL-USD")))[0] == "TRADING_DISABLED"


async def test_a_huge_request_is_cut_not_failed(world: World):
    found = await world.ask(world.recommendation(size="999999999999999.99"))
    assert (found.decision, found.adjusted_size.value) == (pb.DECISION_REDUCE, "250")
    assert codes(found)[0] == "MAX_ORDER_NOTIONAL"


async def _call(method, request):
    try:
        return await method(request, timeout=5)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None


async def _rows(world: World) -> dict[str, int]:
    names = ["risk_assessments", "risk_reservations", "risk_locks", "stored_requests"]
    assert set(names) <= set(metadata.tables)
    return {name: (await world.run(text(f"SELECT count(*) FROM {name}")))[0][0] for name in names}


def test_a_key_that_others_can_read_is_refused(tmp_path):
    file, _ = write_key(tmp_path, mode=0o640)
    with pytest.raises(Misconfigured, match="chmod 600"):
        load_signer(file)
    file.chmod(0o600)
    assert load_signer(file).key_id
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_signer(tmp_path / "absent.pem")
    file.write_bytes(b"no key")
    with pytest.raises(Misconfigured, match="no unencrypted private key"):
        load_signer(file)


def test_the_process_names_every_configuration_fault_and_exits_2(tmp_path):
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    wrong = {"RISK_WEIGHT_HEAT": "0.5", "RISK_SCORE_SOFT": "0.9", "TICKET_SIGNING_KEY_FILE": str(tmp_path / "absent")}
    found = subprocess.run(
        [sys.executable, "-m", "svc_risk"], env=environment | wrong, capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 2
    assert "weights must sum to 1" in found.stderr
    assert "RISK_SCORE_SOFT = 0.9, RISK_SCORE_HARD = 0.8: the first must be below the second" in found.stderr
