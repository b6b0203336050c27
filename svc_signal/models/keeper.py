"""Keeps champion and challenger: looks at every model of the folder, loads what changed, and follows the recorded roles.

A refusal leaves the old model serving; the reason stays readable in GetModel and in the log. Roles live in one row of the
database, so that every process of the service has the same champion, and a promotion anywhere is in force everywhere.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.kit import Kit
from modelkit.loading import LoadedModel, ModelRefused, RefusedBecause, load_folder
from modelkit.model_folders import MOST_FOLDERS, TOP, ModelFolder, file_state, model_folders
from modelkit.signing import Trust, public_key_from_pem
from svc_signal import store
from svc_signal.models import registry
from svc_signal.models.presence import Presence, is_served
from svc_signal.models.roles import Roles, Standing, settle
from svc_signal.settings import SignalSettings


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a candidate was refused."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One folder and what became of it: a model or a refusal."""

    folder: ModelFolder
    key_state: str
    model: LoadedModel | None
    refusal: Refusal | None
    looked_at: datetime


class ModelKeeper:
    """The references to the models in service; whoever decides a bar reads them once for all of it."""

    def __init__(self, settings: SignalSettings, kit: Kit[SignalSettings]) -> None:
        self._settings = settings
        self._kit = kit
        self._turn = asyncio.Lock()
        self._presence = Presence(kit)
        self._recorded: set[str] = set()
        # What an outage of the database cut short is not loaded anew; nor is it in force.
        self._verdicts: tuple[Candidate, ...] = ()
        self.candidates: tuple[Candidate, ...] = ()
        self.left_out = 0
        # What the last look told of the folders as a whole; it may not be in force yet.
        self._left_out = 0
        self._twice: dict[str, list[str]] = {}
        self.roles = Roles()
        self.model: LoadedModel | None = None
        self.challenger: LoadedModel | None = None
        self.loaded_at: datetime | None = None
        self.refusal: Refusal | None = None

    async def run(self) -> None:
        """Looks at a steady pace, and at once when the roles have changed, for ever."""
        try:
            async with self._kit.notifications.subscribe(registry.CHANNEL) as wakeup:
                while True:
                    await self.refresh()
                    await wakeup.wait(self._settings.model_poll_seconds)
        finally:
            await self._presence.end()

    async def refresh(self) -> None:
        """Loads what changed in the folder, settles who has which part, and takes them into service."""
        async with self._turn:
            if self._settings.model_dir is None:
                self._note(Refusal("NO_MODEL", "MODEL_DIR is not set; run `mesh train`"))
                return
            await self._scan()
            found = self._verdicts
            roles = await self._settled(found)
            self._take(roles, found)
            self._note(self._trouble())
            await self._presence.show(self.model.version if self.model else None)

    def loadable(self, version: str) -> LoadedModel | None:
        """The model of this version whose files pass every check now."""
        found = (each.model for each in self.candidates if each.model is not None)
        return next((model for model in found if model.version == version), None)

    async def _scan(self) -> None:
        """Verdicts are kept while nothing that they depend on changes; models with a part are looked at first."""
        root = self._settings.model_dir
        if root is None:
            return
        async with self._kit.autocommit.connect() as connection:
            wanted = (await registry.read_roles(connection)).versions
        wanted |= {each.folder.name for each in self._verdicts if each.model and each.model.version in wanted}
        folders, left_out = await asyncio.to_thread(model_folders, root, wanted)
        key_file = self._settings.model_public_key_file
        key_state = await asyncio.to_thread(file_state, key_file) if key_file else ""
        before = {(each.folder.name, each.folder.state, each.key_state): each for each in self._verdicts}
        found = []
        for folder in folders:
            known = before.get((folder.name, folder.state, key_state))
            found.append(known or await self._examine(folder, key_state))
        self._verdicts = tuple(found)
        self._tell_of_folders(left_out)

    def _tell_of_folders(self, left_out: int) -> None:
        """Puts into the log, once while it is so, what `mesh model list` tells of the folders as a whole."""
        by_version: dict[str, list[str]] = {}
        for each in self._verdicts:
            if each.model is not None:
                by_version.setdefault(each.model.version, []).append(each.folder.shown)
        twice = {version: folders for version, folders in by_version.items() if len(folders) > 1}
        for version, folders in twice.items():
            if self._twice.get(version) != folders:
                self._kit.log.warning("model_version_in_several_folders", model_version=version, folders=folders)
        if left_out and left_out != self._left_out:
            self._kit.log.warning("model_folders_left_out", count=left_out, most=MOST_FOLDERS)
        self._twice, self._left_out = twice, left_out

    async def _examine(self, folder: ModelFolder, key_state: str) -> Candidate:
        try:
            model = await asyncio.to_thread(self._load, folder)
        except ModelRefused as refused:
            refusal = Refusal(refused.reason.value, refused.detail)
            self._kit.log.error("model_refused", folder=folder.shown, reason=refusal.code, detail=refusal.detail)
            return Candidate(folder, key_state, None, refusal, self._kit.clock.now())
        self._kit.log.info("model_loaded", folder=folder.shown, model_version=model.version, engine=model.engine.value)
        return Candidate(folder, key_state, model, None, self._kit.clock.now())

    def _load(self, folder: ModelFolder) -> LoadedModel:
        key_file = self._settings.model_public_key_file
        try:
            key = public_key_from_pem(key_file.read_bytes()) if key_file else None
        except (OSError, ValueError) as error:
            detail = f"MODEL_PUBLIC_KEY_FILE: {type(error).__name__}"
            raise ModelRefused(RefusedBecause.NO_TRUST_CONFIGURED, detail) from error
        trust = Trust(key, self._settings.model_manifest_sha256)
        return load_folder(folder, trust, self._settings.granularity_seconds)

    async def _settled(self, found: tuple[Candidate, ...]) -> Roles:
        """The roles after what this look found; other processes see changes, and the record has them."""
        models = [each.model for each in found if each.model is not None]
        loaded = [model for model in models if model.manifest_sha256 not in self._recorded]
        async with self._kit.engine.begin() as connection:
            for model in sorted(loaded, key=lambda each: each.version):
                await store.record_model(connection, model.version, model.manifest.document, model.manifest_sha256)
            roles = await self._settle(connection, found)
        self._recorded |= {model.manifest_sha256 for model in loaded}
        return roles

    async def _settle(self, connection: AsyncConnection, found: tuple[Candidate, ...]) -> Roles:
        standings = self._standings(found)
        refused = [f"{each.folder.shown} {each.refusal.code} ({each.refusal.detail})" for each in found if each.refusal]
        roles = await registry.read_roles(connection)
        # Files that this process lacks may be whole where another one serves them.
        serving = self.model is not None or (
            roles.champion is not None
            and roles.champion not in {each.version for each in standings}
            and await is_served(connection, roles.champion)
        )
        seen = await registry.versions_with_a_part(connection)
        if not settle(roles, standings, seen, serving, refused)[1]:
            return roles
        # Again under the lock: another process may have settled it meanwhile.
        roles = await registry.read_roles(connection, lock=True)
        seen = await registry.versions_with_a_part(connection)
        roles, changes = settle(roles, standings, seen, serving, refused)
        if changes:
            await registry.change_roles(connection, roles, changes)
            for change in changes:
                self._kit.log.info("model_role", kind=change.kind.value, model_version=change.version, note=change.note)
        return roles

    def _standings(self, found: tuple[Candidate, ...]) -> list[Standing]:
        """Models whose files are good, the top first, and those that serve from memory."""
        tops = {each.model.version for each in found if each.model and each.folder.name == TOP}
        known = {model.version: model for model in (self.model, self.challenger) if model is not None}
        known |= {each.model.version: each.model for each in found if each.model is not None}
        products = set(self._settings.products)
        return [
            Standing(
                version=model.version,
                train_to=model.manifest.train_to,
                created_at=model.manifest.created_at,
                at_top=model.version in tops,
                knows_products=products <= set(model.manifest.products),
            )
            for model in known.values()
        ]

    def _take(self, roles: Roles, found: tuple[Candidate, ...]) -> None:
        """Swaps the references; there is no await between them, so nobody sees one of two."""
        self.candidates, self.left_out = found, self._left_out
        champion = self._in_part(roles.champion, self.model) or self.model
        challenger = self._in_part(roles.challenger, self.challenger)
        if champion is not None and (self.model is None or champion.version != self.model.version):
            self._kit.log.info("model_serves", model_version=champion.version, sha256=champion.manifest_sha256)
            looked_at = (each.looked_at for each in self.candidates if each.model is champion)
            self.loaded_at = next(looked_at, self._kit.clock.now())
        self.roles, self.model, self.challenger = roles, champion, challenger

    def _in_part(self, version: str | None, serving: LoadedModel | None) -> LoadedModel | None:
        """The model that serves already is kept as it is: its files may have gone, and its bits are the same."""
        if version is None:
            return None
        return serving if serving is not None and serving.version == version else self.loadable(version)

    def _trouble(self) -> Refusal | None:
        """What the operator has to know of the folder: nothing there, something refused, or the champion's files gone."""
        if not self.candidates:
            return Refusal("NO_MODEL", f"{self._settings.model_dir} holds no manifest; run `mesh train`")
        for each in self.candidates:
            if each.refusal is not None:
                where = "" if each.folder.name == TOP else f"{each.folder.shown}: "
                return Refusal(each.refusal.code, where + each.refusal.detail)
        champion = self.roles.champion
        if champion is not None and self.loadable(champion) is None:
            here = (
                f"{self.model.version} serves from memory"
                if self.model
                else "another process serves it, this one nothing"
            )
            detail = f"no folder of {self._settings.model_dir} holds the champion {champion}; {here}"
            return Refusal(RefusedBecause.FILE_UNREADABLE.value, detail)
        return None

    def _note(self, refusal: Refusal | None) -> None:
        if refusal is not None and refusal != self.refusal:
            self._kit.log.warning("model_trouble", reason=refusal.code, detail=refusal.detail)
        self.refusal = refusal
