"""A model of an Ollama server as a reviewer: its settings, one call, and every way it can fail as an outcome.

Its replies are read here, field by field: what is not needed may be missing or of any form, as versions of the server differ
in it, and what is needed must be exactly what it should be.
"""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import Field, field_validator

from svc_validator.answer import NotAnAnswer, parse_answer
from svc_validator.model_reviewer import ModelReviewer
from svc_validator.prompt import OPTIONS, SCHEMA, Prompt
from svc_validator.reviewers.model_server import Answer, Identity, ModelMissing
from svc_validator.reviewers.reviewer import Resources
from tradekit.settings import TradingSettings
from tradekit.states import ReviewOutcome

KEEP_ALIVE = "30m"
MAX_RAW = 4096
DEFAULT_PORT = 11434
_LARGEST_REPLY = 4 * 1024 * 1024
_CONNECT_SECONDS = 1.0
_OVERLOAD = (429, 503)


class HttpRefusal(OSError):
    """The server answered with a status other than 200; `text` is what it said."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text[:200]}")
        self.status = status
        self.text = text


class BadReply(ValueError):
    """A 200 whose body is not what it should be; `doc` is the body."""

    def __init__(self, why: str, doc: str = "") -> None:
        super().__init__(why)
        self.doc = doc


# What transport and a strange body raise, apart from our own mistakes.
SERVER_FAULTS = (
    OSError,
    httpx.HTTPError,
    httpx.InvalidURL,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
# Our request or our configuration is wrong.
_PERMANENT = (400, 401, 403, 404)


class OllamaSettings(TradingSettings):
    """Environment of this reviewer."""

    ollama_host: str | None = Field(
        None, description="address of an Ollama server such as http://127.0.0.1:11434; unset lets the rules decide"
    )
    ollama_model: str = Field(
        "qwen3:8b", min_length=1, max_length=128, description="tag of a model that the server already has"
    )

    @field_validator("ollama_host")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        address = urlsplit(value if "://" in value else f"http://{value}")
        try:
            good = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
        except ValueError:
            good = False
        if not good:
            raise ValueError("must look like http://127.0.0.1:11434")
        return value


class OllamaServer:
    """One server and one model tag; one instance per process."""

    label = "ollama"
    faults: tuple[type[Exception], ...] = SERVER_FAULTS

    def __init__(self, host: str, model: str) -> None:
        self.model = model
        # A proxy meant for the web, or a redirect, must neither see a question nor answer it.
        self._client = httpx.AsyncClient(
            base_url=server_url(host),
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=False,
        )

    async def ask(self, prompt: Prompt, seconds: float) -> Answer:
        """The model's verdict within `seconds`, or the failure as an outcome."""
        messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
        try:
            async with asyncio.timeout(seconds):
                return _read(await self._chat(messages, dict(SCHEMA)))
        except Exception as error:
            return _failure(error)

    async def load(self, seconds: float) -> None:
        """Makes the server load the model, with the options of every later call; raises what `ask` would map."""
        async with asyncio.timeout(seconds):
            await self._chat([], None)

    async def identify(self, seconds: float) -> Identity:
        """Digest and server version; ModelMissing if this server cannot serve the model."""
        async with asyncio.timeout(seconds):
            version = _text(await self._call("GET", "/api/version"), "version")
            names = (self.model, f"{self.model}:latest")
            digest = next((found for name, found in await self._models() if name in names and found), None)
            if digest is None:
                raise ModelMissing(f"the server has no model {self.model}; run: ollama pull {self.model}")
            # Older servers name the model in `name`, newer in `model`, and only newer ones tell capabilities.
            capabilities = (await self._call("POST", "/api/show", {"model": self.model, "name": self.model})).get(
                "capabilities"
            )
        if isinstance(capabilities, list) and capabilities and "completion" not in capabilities:
            raise ModelMissing(f"{self.model} cannot chat; set OLLAMA_MODEL to a model that can")
        return Identity(_kept(digest), _kept(version[:64]))

    async def _models(self) -> list[tuple[str, str]]:
        """Name and digest of each model."""
        listed = (await self._call("GET", "/api/tags")).get("models")
        if not isinstance(listed, list):
            raise BadReply("models is no list")
        return [
            (str(one.get("model") or one.get("name") or ""), str(one.get("digest") or ""))
            for one in listed
            if isinstance(one, dict)
        ]

    async def _call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The JSON object of a 200, whose body is bounded; HttpRefusal, BadReply, or what the transport raises."""
        async with self._client.stream(method, path, json=body) as response:
            raw = bytearray()
            async for part in response.aiter_bytes():
                raw += part
                if len(raw) > _LARGEST_REPLY:
                    raise BadReply(f"the reply is larger than {_LARGEST_REPLY} bytes")
        text = raw.decode("utf-8", "replace")
        if response.status_code != 200:
            raise HttpRefusal(response.status_code, text)
        found = json.loads(text)
        if not isinstance(found, dict):
            raise BadReply("the body is no object", text)
        return found

    async def close(self) -> None:
        """Closes connections."""
        await self._client.aclose()

    async def _chat(self, messages: list[dict[str, str]], schema: dict[str, Any] | None) -> dict[str, Any]:
        """POST /api/chat. `truncate` and `shift` both default to true on the server, which then drops the middle of a long
        prompt without saying so.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "stream": False,
            "think": False,
            "options": dict(OPTIONS),
            "keep_alive": KEEP_ALIVE,
            "truncate": False,
            "shift": False,
        }
        if schema is not None:
            body["format"] = schema
        return await self._call("POST", "/api/chat", body)


def reviewer(settings: TradingSettings, resources: Resources) -> ModelReviewer | None:
    """The reviewer, None where no server is named."""
    if not isinstance(settings, OllamaSettings) or settings.ollama_host is None:
        return None
    return ModelReviewer(OllamaServer(settings.ollama_host, settings.ollama_model), resources)


def model_named(settings: TradingSettings) -> str:
    """The tag that the settings name, whether or not there is a server."""
    return settings.ollama_model if isinstance(settings, OllamaSettings) else ""


def server_url(host: str) -> httpx.URL:
    """OLLAMA_HOST as its own programs read it: the scheme is http and the port 11434 unless given."""
    url = httpx.URL(host if "://" in host else f"http://{host}")
    return url if url.port or "://" in host else url.copy_with(port=DEFAULT_PORT)


def _text(found: dict[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str):
        raise BadReply(f"{name} is no text", json.dumps(found)[:MAX_RAW])
    return value


def _read(response: dict[str, Any]) -> Answer:
    message = response.get("message")
    content = _text(message if isinstance(message, dict) else response, "content")
    timings = _timings(response)
    try:
        verdict = parse_answer(content, done=response.get("done"), done_reason=response.get("done_reason"))
    except NotAnAnswer as error:
        return Answer(ReviewOutcome.INVALID_OUTPUT, None, _kept(content), str(error), timings)
    return Answer(ReviewOutcome(verdict.verdict.value), verdict, _kept(content), "", timings)


def _kept(text: str) -> str:
    """Text as a table can hold it: no NUL, no half of a surrogate pair, bounded."""
    return text[:MAX_RAW].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


_SPANS = {
    "total_ms": "total_duration",
    "load_ms": "load_duration",
    "prompt_ms": "prompt_eval_duration",
    "eval_ms": "eval_duration",
}
_COUNTS = {"prompt_tokens": "prompt_eval_count", "eval_tokens": "eval_count"}


def _timings(response: dict[str, Any]) -> dict[str, float]:
    """The server counts in nanoseconds; kept in milliseconds. What is no number is left out."""
    spans = {name: response.get(field) for name, field in _SPANS.items()}
    counts = {name: response.get(field) for name, field in _COUNTS.items()}
    timings = {name: value / 1e6 for name, value in spans.items() if type(value) is int}
    return timings | {name: float(value) for name, value in counts.items() if type(value) is int}


def _failure(error: Exception) -> Answer:
    """Every exception of client and transport as an outcome; an unexpected one is a failure too."""
    if isinstance(error, HttpRefusal):
        outcome = ReviewOutcome.OVERLOADED if error.status in _OVERLOAD else ReviewOutcome.UNAVAILABLE
        permanent = error.status in _PERMANENT
        return Answer(outcome, None, _kept(error.text), f"http_{error.status}", permanent=permanent)
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return Answer(ReviewOutcome.TIMEOUT, error="deadline")
    if isinstance(error, OSError | httpx.HTTPError):
        return Answer(ReviewOutcome.UNAVAILABLE, error=type(error).__name__)
    # A 200 whose body is no JSON, is JSON of another shape, or is nested without end.
    if isinstance(error, ValueError | TypeError | AttributeError | ArithmeticError | RecursionError):
        raw = _kept(str(getattr(error, "doc", "")))
        return Answer(ReviewOutcome.INVALID_OUTPUT, None, raw, f"body:{type(error).__name__}")
    return Answer(ReviewOutcome.UNAVAILABLE, error=type(error).__name__)
