"""Puts the validator together: the review service, the model if one is configured, its tasks, and what must be true to serve."""

from functools import partial

from meshkit.kit import Kit
from meshkit.serve import Check, Registration, ServiceSpec, Task
from schema.presence import schema_check
from svc_validator.concurrency_limiter import ConcurrencyLimiter
from svc_validator.decision import Plan
from svc_validator.review_service import ReviewService, keep_opinion
from svc_validator.reviewers.reviewer import Resources
from svc_validator.reviewers.rules import RulesReviewer
from svc_validator.reviewers.table import outside_reviewer
from svc_validator.rules import Limits
from svc_validator.service import ValidatorServicer
from svc_validator.settings import ValidatorSettings
from svc_validator.shadow import Shadow
from tradekit import services
from tradekit.states import ReviewMode
from trading.validator.v1 import validator_service_pb2_grpc as pb_grpc


def build(settings: ValidatorSettings, kit: Kit[ValidatorSettings]) -> ServiceSpec:
    """The validator as meshkit serves it."""
    limiter = ConcurrencyLimiter(settings.llm_max_inflight, settings.llm_max_queue)
    model = outside_reviewer(settings, Resources(limiter, kit.clock, kit.log, settings.llm_deadline_ms / 1000))
    tasks: list[Task] = []
    shadow: Shadow | None = None
    if model is not None:
        tasks.append(Task("self_test", lambda: model.keep_fit(settings.llm_self_test_seconds)))
    if model is not None and settings.llm_mode is ReviewMode.SHADOW:
        shadow = Shadow(model, kit.clock, kit.log, settings.llm_max_queue, partial(keep_opinion, kit))
        tasks.append(Task("shadow", shadow.run))
    rules = RulesReviewer(Limits(), frozenset(settings.products), kit.clock)
    review_service = ReviewService(kit, rules, model, shadow)

    async def database_answers() -> None:
        await kit.check_database()

    async def somebody_decides() -> None:
        if review_service.plan() is Plan.REFUSE:
            raise RuntimeError("no fit model, and LLM_ON_FAILURE is not rules: entries are refused")

    async def stop() -> None:
        if shadow is not None:
            await shadow.skip_waiting()
        if model is not None:
            await model.close()

    return ServiceSpec(
        servicers=[
            Registration(
                pb_grpc.add_ValidatorServiceServicer_to_server,
                ValidatorServicer(kit, review_service, model),
                services.VALIDATOR.full_name,
            )
        ],
        background=tasks,
        ready=[Check("database", database_answers), schema_check(kit)],
        entries=[Check("reviewer", somebody_decides)],
        on_stop=stop,
    )
