"""How many requests a second the exchange takes: a bucket for each key on private paths, and for each address on public ones.

What is refused has done nothing. A bucket holds what comes in a second, so a pause is no licence for a burst beyond that.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Middleware

from exchange_sim.access import API_KEY, CONTROL_PREFIX
from exchange_sim.web import Handler, too_many_requests

# Of as many callers the last are remembered; who comes back after so many others begins with a full bucket.
_MOST_BUCKETS = 10_000


@dataclass(slots=True)
class Bucket:
    """Tokens that come back at a rate of so many a second, up to as many."""

    rate: float
    tokens: float
    at: float

    def take(self, now: float) -> bool:
        """Whether there was one to take."""
        self.tokens = min(self.rate, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    @property
    def full_in(self) -> float:
        """Seconds until it is full again."""
        return (self.rate - self.tokens) / self.rate


def throttle(private_rate: float, public_rate: float, monotonic: Callable[[], float]) -> Middleware:
    """A rate of 0 is no limit. Stands behind the door, which says whose key it is."""
    buckets: OrderedDict[str, Bucket] = OrderedDict()

    def bucket_of(request: web.Request) -> Bucket | None:
        key = request.get(API_KEY)
        rate = public_rate if key is None else private_rate
        if not rate or request.path.startswith(CONTROL_PREFIX):
            return None
        name = f"address {request.remote}" if key is None else f"key {key.name}"
        found = buckets.setdefault(name, Bucket(rate, rate, monotonic()))
        buckets.move_to_end(name)
        if len(buckets) > _MOST_BUCKETS:
            buckets.popitem(last=False)
        return found

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        bucket = bucket_of(request)
        if bucket is None:
            return await handler(request)
        taken = bucket.take(monotonic())
        response = await handler(request) if taken else too_many_requests()
        # The official client looks for lower case.
        response.headers["x-ratelimit-limit"] = f"{bucket.rate:g}"
        response.headers["x-ratelimit-remaining"] = str(int(bucket.tokens))
        response.headers["x-ratelimit-reset"] = str(math.ceil(bucket.full_in))
        return response

    return middleware
