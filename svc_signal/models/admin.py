"""The operator's side of models: which there are, on what evidence, and who decides from now on.

A promotion is judged and made under the lock of the roles in one transaction with its record and the stored answer, so
that it happens once, on the evidence that is recorded with it, and every process takes the same champion.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit import identity
from meshkit.errors import FailedPrecondition, NotFound
from meshkit.kit import Kit
from modelkit.features.definition import NAMES, feature_set_hash
from modelkit.labels import LabelRule
from modelkit.loading import LoadedModel
from schema.requests import once, request_key
from svc_signal.drift.monitor import DriftMonitor
from svc_signal.drift.wire import drift_message
from svc_signal.fees import taker_fee
from svc_signal.models import registry
from svc_signal.models.keeper import Candidate, ModelKeeper
from svc_signal.models.promotion import Evidence, in_words, missing, weigh
from svc_signal.models.roles import Change, ChangeKind, KnownModel, Roles, rolled_back
from svc_signal.models.wire import (
    Promotion,
    Rollback,
    change_message,
    describe_model,
    evidence_message,
    known_info,
    loaded_info,
    refused_info,
)
from svc_signal.settings import SignalSettings
from tradekit import wire
from tradekit.states import Profile
from trading.signal.v1 import signal_service_pb2 as pb

MOST_MODELS = 32
MOST_CHANGES = 50
R = TypeVar("R", pb.PromoteModelResponse, pb.RollbackModelResponse)


class ModelAdmin:
    """GetModel, ListModels, PromoteModel and RollbackModel."""

    def __init__(
        self, settings: SignalSettings, kit: Kit[SignalSettings], keeper: ModelKeeper, drift_monitor: DriftMonitor
    ) -> None:
        self._settings = settings
        self._kit = kit
        self._keeper = keeper
        self._drift_monitor = drift_monitor

    def describe(self) -> pb.GetModelResponse:
        """What this process serves with, from memory."""
        keeper = self._keeper
        profile = self._settings.decision_profile
        response = pb.GetModelResponse(
            feature_set_hash=feature_set_hash(self._settings.granularity_seconds),
            feature_names=NAMES,
            profile=wire.profile_number(profile),
        )
        if keeper.refusal is not None:
            response.refusal_code, response.refusal_detail = keeper.refusal.code, keeper.refusal.detail
        if keeper.challenger is not None:
            response.challenger_version = keeper.challenger.version
        response.previous_version = keeper.roles.previous or ""
        if keeper.model is None:
            return response
        describe_model(response, keeper.model, profile is Profile.EXERCISE)
        if keeper.loaded_at is not None:
            response.load_time.CopyFrom(wire.timestamp_message(keeper.loaded_at))
        report = self._drift_monitor.newest
        if report is not None and report.model_version == keeper.model.version:
            response.suspended = report.suspended
            response.drift.CopyFrom(drift_message(report))
        return response

    async def list(self) -> pb.ListModelsResponse:
        """Champion, challenger, the others by their training; then the refused, and the newest changes."""
        async with self._kit.engine.connect() as connection:
            roles = await registry.read_roles(connection)
            known = await registry.loaded_models(connection, MOST_MODELS)
            seen = await registry.versions_with_a_part(connection)
            changes = await registry.list_changes(connection, MOST_CHANGES)
            evidence = await self._evidence_message(connection, roles)
        serving = {each.version: each for each in (self._keeper.challenger, self._keeper.model) if each is not None}
        models = _infos(self._keeper.candidates, serving, roles, known, seen)
        for info in models:
            if evidence is not None and info.role == pb.MODEL_ROLE_CHALLENGER:
                info.evidence.CopyFrom(evidence)
        return pb.ListModelsResponse(
            models=models,
            changes=[change_message(recorded) for recorded in changes],
            folders_left_out=self._keeper.left_out,
        )

    async def promote(self, order: Promotion, request: Message) -> pb.PromoteModelResponse:
        """Makes the challenger the champion, if its evidence suffices."""
        await self._keeper.refresh()

        async def change(connection: AsyncConnection) -> pb.PromoteModelResponse:
            roles = await registry.read_roles(connection, lock=True)
            model, champion = await self._challenger(connection, roles, order.version)
            evidence = await self._evidence(connection, model, champion)
            reasons = missing(evidence)
            if reasons:
                figures = {each.code: f"{each.observed} (limit {each.limit})" for each in reasons}
                raise FailedPrecondition("PROMOTION_REFUSED", f"{order.version}: {in_words(reasons)}", figures)
            entry = Change(ChangeKind.PROMOTED, model.version, champion.version, "by its evidence")
            after = Roles(champion=model.version, challenger=None, previous=champion.version)
            return pb.PromoteModelResponse(change=await self._record(connection, after, [entry], evidence))

        answer = await self._once(order.request_id, "PromoteModel", request, pb.PromoteModelResponse, change)
        await self._keeper.refresh()
        return answer

    async def roll_back(self, order: Rollback, request: Message) -> pb.RollbackModelResponse:
        """Gives the place back to the champion before; the one that leaves can earn it again as the challenger."""
        await self._keeper.refresh()

        async def change(connection: AsyncConnection) -> pb.RollbackModelResponse:
            roles = await registry.read_roles(connection, lock=True)
            if roles.previous is None:
                raise NotFound("champion before this one", roles.champion or "none")
            if self._keeper.loadable(roles.previous) is None:
                raise NotFound("model that can be loaded", roles.previous)
            entry = Change(ChangeKind.ROLLED_BACK, roles.previous, roles.champion or "", order.note)
            after, again = rolled_back(roles, self._keeper.loadable(roles.champion or "") is not None)
            made = await self._record(connection, after, [entry, *again], None)
            return pb.RollbackModelResponse(change=made, challenger_version=after.challenger or "")

        answer = await self._once(order.request_id, "RollbackModel", request, pb.RollbackModelResponse, change)
        await self._keeper.refresh()
        return answer

    async def _once(
        self,
        request_id: UUID,
        method: str,
        request: Message,
        kind: type[R],
        change: Callable[[AsyncConnection], Awaitable[R]],
    ) -> R:
        """The stored answer of a request_id, or the change, its record and its answer in one transaction."""
        body = hashlib.sha256(method.encode() + request.SerializeToString(deterministic=True)).hexdigest()
        key = request_key(self._settings.service_name, method, request_id, body)
        async with self._kit.engine.begin() as connection:
            answer, new = await once(connection, key, kind, lambda: change(connection))
        if new:
            self._kit.log.warning("model_changed", method=method, change=str(answer.change).replace("\n", " ").strip())
        return answer

    async def _challenger(
        self, connection: AsyncConnection, roles: Roles, version: str
    ) -> tuple[LoadedModel, LoadedModel]:
        """The challenger of this version and the champion it was compared with; raises what stands against it."""
        if version != roles.challenger:
            known = {each.model.version for each in self._keeper.candidates if each.model is not None}
            known |= await registry.versions_with_a_part(connection)
            if version not in known:
                raise NotFound("model", version)
            part = "is the champion already" if version == roles.champion else "is not the challenger"
            raise FailedPrecondition(
                "PROMOTION_REFUSED", f"{version} {part}; the challenger is {roles.challenger or 'nobody'}"
            )
        model, champion = self._keeper.loadable(version), self._keeper.model
        if model is None:
            why = f"{each.code}: {each.detail}" if (each := self._keeper.refusal) else "its files are gone"
            raise FailedPrecondition("PROMOTION_REFUSED", f"{version} passes not every check of its files; {why}")
        if champion is None or champion.version != roles.champion:
            raise FailedPrecondition("PROMOTION_REFUSED", f"the champion {roles.champion} does not serve here")
        return model, champion

    async def _evidence(self, connection: AsyncConnection, model: LoadedModel, champion: LoadedModel) -> Evidence:
        granularity = self._settings.granularity_seconds
        # What once made it the champion is no evidence any more: it was rolled back all the same.
        after = await registry.rolled_back_at(connection, model.version)
        judged = await registry.judged_rows(
            connection, self._settings.run_id, granularity, model.version, champion.version, after
        )
        cost = LabelRule(fee_ratio=await taker_fee(connection, self._settings)).round_trip_cost
        horizon = champion.manifest.label.horizon_bars
        return await asyncio.to_thread(weigh, judged.rows, cost, horizon, judged.period)

    async def _evidence_message(self, connection: AsyncConnection, roles: Roles) -> pb.ModelEvidence | None:
        """The challenger's evidence so far; None if there is no pair in service to compare."""
        model, champion = self._keeper.challenger, self._keeper.model
        if model is None or champion is None or (model.version, champion.version) != (roles.challenger, roles.champion):
            return None
        after = await registry.rolled_back_at(connection, model.version)
        since = await registry.shadow_since(
            connection, self._settings.run_id, self._settings.granularity_seconds, model.version, after
        )
        return evidence_message(await self._evidence(connection, model, champion), since)

    async def _record(
        self, connection: AsyncConnection, roles: Roles, entries: Sequence[Change], evidence: Evidence | None
    ) -> pb.ModelChange:
        """Makes the changes and gives the first as recorded."""
        figures = evidence.as_dict() if evidence else None
        recorded = await registry.change_roles(connection, roles, entries, identity.current_caller().name, figures)
        return change_message(recorded[0])


def _infos(
    candidates: Iterable[Candidate],
    serving: Mapping[str, LoadedModel],
    roles: Roles,
    known: Iterable[KnownModel],
    seen: Iterable[str],
) -> list[pb.ModelInfo]:
    """One entry per version, and one per refused folder; champion, challenger, the others, the refused."""
    by_version = {each.version: each for each in known}
    parts = {roles.challenger: pb.MODEL_ROLE_CHALLENGER, roles.champion: pb.MODEL_ROLE_CHAMPION}
    served: dict[str, pb.ModelInfo] = {}
    refused = []
    holders: dict[str, list[tuple[LoadedModel, str]]] = {}
    for each in candidates:
        if each.model is not None:
            holders.setdefault(each.model.version, []).append((each.model, each.folder.shown))
        elif each.refusal is not None:
            refused.append(refused_info(each.folder.shown, each.refusal.code, each.refusal.detail))
    for version, found in holders.items():
        first = by_version[version].first_loaded_at if version in by_version else None
        model, folder = _used(found, serving.get(version))
        info = loaded_info(model, folder, parts.get(version, pb.MODEL_ROLE_RETIRED), first)
        info.other_folders.extend(name for _, name in found if name != folder)
        served[version] = info
    for version, each_known in by_version.items():
        if version not in served and (version in seen or version in parts):
            served[version] = known_info(each_known, parts.get(version, pb.MODEL_ROLE_RETIRED))
    order = sorted(served.values(), key=lambda info: (info.role, -info.train_end_time.seconds, info.model_version))
    kept = order[: MOST_MODELS - len(refused)]
    return kept + refused


def _used(found: Sequence[tuple[LoadedModel, str]], serving: LoadedModel | None) -> tuple[LoadedModel, str]:
    """Which of the folders of one version is meant: the one that what serves was loaded from, or would be, the first.

    What serves from memory alone has no folder.
    """
    if serving is None:
        return found[0]
    own = [each for each in found if each[0] is serving]
    same = [each for each in found if each[0].manifest_sha256 == serving.manifest_sha256]
    return next(iter((*own, *same)), (serving, ""))
