"""Keeps the serving model: loads it at start, looks for a newer or mended one, and never serves a refused one.

A refusal leaves the old model serving; the reason stays readable in GetModel and in the log.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from meshkit.kit import Kit
from svc_signal import store
from svc_signal.loading import LoadedModel, ModelRefused, load_model
from svc_signal.manifest import MANIFEST_NAME, canonical
from svc_signal.settings import SignalSettings
from svc_signal.signing import Trust, public_key_from_pem


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the newest candidate was refused."""

    code: str
    detail: str


class ModelKeeper:
    """The one reference to the serving model."""

    def __init__(self, settings: SignalSettings, kit: Kit[SignalSettings]) -> None:
        self._settings = settings
        self._kit = kit
        self._seen = ""
        self._turn = asyncio.Lock()
        self.model: LoadedModel | None = None
        self.loaded_at: datetime | None = None
        self.refusal: Refusal | None = None

    async def run(self) -> None:
        """Looks for a changed manifest at a steady pace, for ever."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._settings.model_poll_seconds)

    async def refresh(self) -> None:
        """Loads the model of the folder if its manifest changed since the last look."""
        async with self._turn:
            await self._look()

    async def _look(self) -> None:
        folder = self._settings.model_dir
        if folder is None:
            self.refusal = Refusal("NO_MODEL", "MODEL_DIR is not set; run `mesh train`")
            return
        seen = await asyncio.to_thread(_fingerprint, folder)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            model = await asyncio.to_thread(self._load, folder)
        except ModelRefused as refused:
            self.refusal = Refusal(refused.reason.value, refused.detail)
            self._kit.log.error("model_refused", reason=refused.reason.value, detail=refused.detail, folder=str(folder))
            return
        await self._take(model)

    def _load(self, folder: Path) -> LoadedModel:
        key_file = self._settings.model_public_key_file
        key = public_key_from_pem(key_file.read_bytes()) if key_file else None
        return load_model(folder, Trust(key, self._settings.model_manifest_sha256), self._settings.granularity_seconds)

    async def _take(self, model: LoadedModel) -> None:
        manifest = model.manifest
        sha256 = hashlib.sha256(canonical(manifest.document)).hexdigest()
        async with self._kit.engine.begin() as connection:
            await store.record_model(connection, manifest.model_version, manifest.document, sha256)
        self.model, self.refusal, self.loaded_at = model, None, self._kit.clock.now()
        self._kit.log.info("model_loaded", model_version=manifest.model_version, sha256=sha256)


def _fingerprint(folder: Path) -> str:
    try:
        return hashlib.sha256((folder / MANIFEST_NAME).read_bytes()).hexdigest()
    except OSError as error:
        return f"unreadable: {error}"
