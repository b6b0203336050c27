"""One call to an Ollama server through its official client, and every way it can fail as an outcome.

The client waits for ever by default and raises half a dozen unrelated classes; all of that ends here.
No failure is ever an approval.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
from ollama import AsyncClient, ChatResponse, ListResponse, ResponseError, ShowResponse
from pydantic import BaseModel

from svc_validator.answer import ModelVerdict, NotAnAnswer, parse_answer
from svc_validator.prompt import OPTIONS, SCHEMA, Prompt
from tradekit.states import ReviewOutcome

KEEP_ALIVE = "30m"
MAX_RAW = 4096
_CONNECT_SECONDS = 1.0
_OVERLOAD = (429, 503)
# What client, transport and a strange body raise, apart from our own mistakes.
SERVER_FAULTS = (
    OSError,
    httpx.HTTPError,
    ResponseError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
# Our request or our configuration is wrong: asking again cannot help until an operator acts.
PERMANENT = ("http_400", "http_401", "http_403", "http_404")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one call. `verdict` is set exactly when the outcome is APPROVE or REJECT."""

    outcome: ReviewOutcome
    verdict: ModelVerdict | None = None
    raw_output: str = ""
    error: str = ""
    timings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which model this is: a tag can move, its digest cannot."""

    digest: str
    server_version: str


class ModelMissing(Exception):
    """The server does not have the model, or cannot chat with it; the text says what to do."""


class _Version(BaseModel):
    version: str


class OllamaServer:
    """One server and one model tag; one instance per process."""

    def __init__(self, host: str, model: str) -> None:
        self.model = model
        # A proxy meant for the web, or a redirect, must neither see a question nor answer it.
        self._client: Any = AsyncClient(
            host,
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
            version = await self._client._request(_Version, "GET", "/api/version")
            listed: ListResponse = await self._client.list()
            names = (self.model, f"{self.model}:latest")
            digest = next((found.digest for found in listed.models if found.model in names and found.digest), None)
            if digest is None:
                raise ModelMissing(f"the server has no model {self.model}; run: ollama pull {self.model}")
            shown: ShowResponse = await self._client.show(self.model)
        if shown.capabilities is not None and "completion" not in shown.capabilities:
            raise ModelMissing(f"{self.model} cannot chat; set OLLAMA_MODEL to a model that can")
        return Identity(_kept(digest), _kept(version.version[:64]))

    async def close(self) -> None:
        """Closes connections."""
        await self._client.close()

    async def _chat(self, messages: list[dict[str, str]], schema: dict[str, Any] | None) -> ChatResponse:
        """POST /api/chat by the client's own request method: `chat()` has no way to pass `truncate` and `shift`.

        Both default to true on the server, which then drops the middle of a long prompt without saying so.
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
        response: ChatResponse = await self._client._request(ChatResponse, "POST", "/api/chat", json=body)
        return response


def _read(response: ChatResponse) -> Answer:
    content = response.message.content or ""
    timings = _timings(response)
    try:
        verdict = parse_answer(content, done=response.done, done_reason=response.done_reason)
    except NotAnAnswer as error:
        return Answer(ReviewOutcome.INVALID_OUTPUT, None, _kept(content), str(error), timings)
    return Answer(ReviewOutcome(verdict.verdict.value), verdict, _kept(content), "", timings)


def _kept(text: str) -> str:
    """Text as a table can hold it: no NUL, no half of a surrogate pair, bounded."""
    return text[:MAX_RAW].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _timings(response: ChatResponse) -> dict[str, float]:
    """The server counts in nanoseconds; kept in milliseconds."""
    spans = {
        "total_ms": response.total_duration,
        "load_ms": response.load_duration,
        "prompt_ms": response.prompt_eval_duration,
        "eval_ms": response.eval_duration,
    }
    counts = {"prompt_tokens": response.prompt_eval_count, "eval_tokens": response.eval_count}
    timings = {name: value / 1e6 for name, value in spans.items() if value is not None}
    return timings | {name: float(value) for name, value in counts.items() if value is not None}


def _failure(error: Exception) -> Answer:
    """Every exception of client and transport as an outcome; an unexpected one is a failure too."""
    if isinstance(error, ResponseError):
        outcome = ReviewOutcome.OVERLOADED if error.status_code in _OVERLOAD else ReviewOutcome.UNAVAILABLE
        return Answer(outcome, None, _kept(str(error.error)), f"http_{error.status_code}")
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return Answer(ReviewOutcome.TIMEOUT, error="deadline")
    if isinstance(error, OSError | httpx.HTTPError):
        return Answer(ReviewOutcome.UNAVAILABLE, error=type(error).__name__)
    # A 200 whose body is no JSON, is JSON of another shape, or is nested without end.
    if isinstance(error, ValueError | TypeError | AttributeError | ArithmeticError | RecursionError):
        raw = _kept(str(getattr(error, "doc", "")))
        return Answer(ReviewOutcome.INVALID_OUTPUT, None, raw, f"body:{type(error).__name__}")
    return Answer(ReviewOutcome.UNAVAILABLE, error=type(error).__name__)
