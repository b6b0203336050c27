"""Creates operators' recommendations: entries that come together in one transaction, exits that do in another.

Its statements are as many for one request as for a hundred: what is stored of the requests, what the tables say of their
products, the recommendations, their answers. Each request is decided by itself, as if it had come alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meshkit.batch import Batches
from meshkit.dedicated import Connection, Dedicated
from meshkit.errors import MeshError, RequestIdReused
from schema.recommendation_rows import record_message
from schema.requests import Identity, RequestKey, StoredAnswer, begin_requests, store_answers
from svc_bridge import store
from svc_bridge.fact_store import Facts, read_facts
from svc_bridge.operator_recommendation import OperatorRecommendation, OperatorRules, recommend
from svc_bridge.proposal import NewRecommendation
from svc_bridge.settings import BridgeSettings
from tradekit.states import Side
from trading.bridge.v1 import bridge_service_pb2 as pb

LARGEST_BATCH = 100
Answer = pb.CreateRecommendationResponse | Exception


@dataclass(frozen=True, slots=True)
class CreationRequest:
    """A request as its caller made it; the batch it is worked on in knows no caller."""

    key: RequestKey
    recommendation: OperatorRecommendation


class Creations:
    """The way in for every operator's recommendation."""

    def __init__(self, settings: BridgeSettings, dedicated: Callable[[], Dedicated]) -> None:
        self._settings = settings
        self._rules = OperatorRules(
            settings.entry_quote_size,
            settings.life_clock,
            settings.recommendation_ttl_seconds,
            settings.decision_profile,
            settings.longest_standstill,
        )
        # Apart, so that an exit neither waits for entries nor fails with them.
        self._entries, self._exits = (self._batches(dedicated()) for _ in range(2))

    async def create(self, request: CreationRequest) -> pb.CreateRecommendationResponse:
        """The stored answer, made now if there is none."""
        batches = self._exits if request.recommendation.side is Side.SELL else self._entries
        return await batches.submit(request)

    def _batches(self, dedicated: Dedicated) -> Batches[CreationRequest, pb.CreateRecommendationResponse]:
        return Batches(lambda requests: self._create(dedicated, requests), LARGEST_BATCH)

    async def _create(self, dedicated: Dedicated, requests: Sequence[CreationRequest]) -> list[Answer]:
        """The answer of each request. Two that are the same have one; a refusal is nobody else's."""
        async with dedicated.begin() as connection:
            earlier = await begin_requests(connection, [request.key for request in requests])
            answers: dict[CreationRequest, Answer] = {
                request: _stored_answer(request, earlier[request.key.identity])
                for request in requests
                if request.key.identity in earlier
            }
            new = [request for request in requests if request not in answers]
            if new:
                answers |= await self._make(connection, new)
        return [answers[request] for request in requests]

    async def _make(self, connection: Connection, requests: Sequence[CreationRequest]) -> dict[CreationRequest, Answer]:
        products = sorted({request.recommendation.product_id for request in requests})
        facts = await read_facts(connection, products, self._settings.granularity_seconds)
        accepted, refused = self._decide(requests, facts)
        if not accepted:
            return {**refused}
        stored = await store.insert_recommendations(connection, list(accepted.values()))
        made = {
            request: pb.CreateRecommendationResponse(record=record_message(row))
            for request, row in zip(accepted, stored, strict=True)
        }
        await store_answers(connection, {request.key: answer for request, answer in made.items()})
        return {**refused, **made}

    def _decide(
        self, requests: Sequence[CreationRequest], facts: Facts
    ) -> tuple[dict[CreationRequest, NewRecommendation], dict[CreationRequest, MeshError]]:
        """Recommendations and refusals, as if the requests had come in this order. A request_id of one that is refused is
        free for the next; of one that is accepted it stands for that alone."""
        accepted: dict[CreationRequest, NewRecommendation] = {}
        refused: dict[CreationRequest, MeshError] = {}
        taken: set[Identity] = set()
        for request in requests:
            asked = request.recommendation
            if request in accepted:
                continue
            if request.key.identity in taken:
                refused[request] = RequestIdReused(request.key.request_id)
                continue
            try:
                made = recommend(asked, facts.products[asked.product_id], facts.clocks, facts.market, self._rules)
            except MeshError as error:
                refused[request] = error
            else:
                taken.add(request.key.identity)
                accepted[request] = NewRecommendation(made, self._settings.run_id, request_id=asked.request_id)
        return accepted, refused


def _stored_answer(request: CreationRequest, stored: StoredAnswer) -> Answer:
    try:
        return pb.CreateRecommendationResponse.FromString(stored.to(request.key))
    except RequestIdReused as error:
        return error
