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
from svc_signal.loading import LoadedModel, ModelRefused, RefusedBecause, load_model
from svc_signal.manifest import ARTIFACT_NAME, MANIFEST_NAME, SIGNATURE_NAME, canonical
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
        self._seen: str | None = None
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
        seen = await asyncio.to_thread(self._fingerprint, folder)
        if seen == self._seen:
            return
        if not seen:
            self._refuse(Refusal("NO_MODEL", f"{folder} holds no manifest; run `mesh train`"))
        else:
            try:
                await self._take(await asyncio.to_thread(self._load, folder))
            except ModelRefused as refused:
                self._refuse(Refusal(refused.reason.value, refused.detail))
        # Only now: a look that an outage cut short is no look, and the next one loads the model.
        self._seen = seen

    def _refuse(self, refusal: Refusal) -> None:
        self.refusal = refusal
        self._kit.log.error("model_refused", reason=refusal.code, detail=refusal.detail)

    def _load(self, folder: Path) -> LoadedModel:
        key_file = self._settings.model_public_key_file
        try:
            key = public_key_from_pem(key_file.read_bytes()) if key_file else None
        except (OSError, ValueError) as error:
            detail = f"MODEL_PUBLIC_KEY_FILE: {type(error).__name__}"
            raise ModelRefused(RefusedBecause.NO_TRUST_CONFIGURED, detail) from error
        return load_model(folder, Trust(key, self._settings.model_manifest_sha256), self._settings.granularity_seconds)

    async def _take(self, model: LoadedModel) -> None:
        manifest = model.manifest
        sha256 = hashlib.sha256(canonical(manifest.document)).hexdigest()
        async with self._kit.engine.begin() as connection:
            await store.record_model(connection, manifest.model_version, manifest.document, sha256)
        self.model, self.refusal, self.loaded_at = model, None, self._kit.clock.now()
        self._kit.log.info("model_loaded", model_version=manifest.model_version, sha256=sha256)

    def _fingerprint(self, folder: Path) -> str:
        """What the verdict on the folder depends on: a mended artifact, signature or key changes it too. "" if empty."""
        files = [folder / name for name in (MANIFEST_NAME, SIGNATURE_NAME, ARTIFACT_NAME)]
        if self._settings.model_public_key_file:
            files.append(self._settings.model_public_key_file)
        states = [_state(path) for path in files]
        return "|".join(states) if states[0] else ""


def _state(path: Path) -> str:
    """Identity, length and time of a file; "" if there is none."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_ino}.{found.st_size}.{found.st_mtime_ns}"
