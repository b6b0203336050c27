"""What sidecars do with calls on their way: time limits, repetition, balancing and the end of a replica that fails.

A route without `retries` is repeated by Istio's default policy, also on UNAVAILABLE, which an executor may answer after an
order went out. So every route says what is repeated, and the last one, for whatever no contract knows, says nothing is.
"""

from collections.abc import Sequence

from meshkit.interceptors.places import PER_CALLER
from meshkit.policy import Effect, Retry
from tools.mesh_policy.documents import Body, Document, manifest
from tools.mesh_policy.table import NAMESPACE, Rpc, of_service
from tradekit.services import PAGE_PORT, SERVICES, Need, ServiceName

_API = "networking.istio.io/v1"
# What never reached the server: nobody accepted the connection, or the server refused the stream before it began.
UNSENT = "connect-failure,refused-stream"
# And what may have: the try was cut (`reset`, which is also the end of its time), or the server said UNAVAILABLE. Not
# RESOURCE_EXHAUSTED: a server that is full says when to come back, and a sidecar comes back at once.
RECEIVED = f"{UNSENT},reset,unavailable"
# Repetitions that one sidecar has under way to a service; further calls fail as they failed first, so that an outage is not
# multiplied by everybody's tries.
_RETRIES_AT_ONCE = 20
_ORDER = (Effect.ONCE, Effect.IDEMPOTENT, Effect.READ)


def virtual_services(rpcs: Sequence[Rpc], services: Sequence[ServiceName] = SERVICES) -> list[Document]:
    """One for each service: a route for each class of RPCs with the same time and the same repetition."""
    return [_virtual_service(service, of_service(rpcs, service)) for service in services]


def destination_rules(rpcs: Sequence[Rpc], services: Sequence[ServiceName] = SERVICES) -> list[Document]:
    """One for each service: how its replicas are chosen, and how much may be under way."""
    return [_destination_rule(service, of_service(rpcs, service)) for service in services]


def host_of(service: ServiceName) -> str:
    """Its whole name. Sidecars answer to the short ones by it; written besides, they would be two owners of one host."""
    return f"{service.name}.{NAMESPACE}.svc.cluster.local"


def _virtual_service(service: ServiceName, rpcs: Sequence[Rpc]) -> Document:
    classes: dict[tuple[Effect, float] | None, list[Rpc]] = {}
    for rpc in rpcs:
        classes.setdefault(_class_of(rpc), []).append(rpc)
    streams = classes.pop(None, [])
    timed = sorted((key for key in classes if key is not None), key=lambda key: (_ORDER.index(key[0]), key[1]))
    routes = [_route(f"{effect.lower()}-{_seconds(time)}", classes[effect, time], time) for effect, time in timed]
    if streams:
        # A time limit of a route would cut a stream in the middle; its caller's holds all the same.
        routes.append(_route("streams", streams, None))
    if Need.PAGE in service.needs:
        # The host has a second port, which the last route would lead to the first.
        page = {"name": "page", "match": [{"port": PAGE_PORT}], "route": _to(service, PAGE_PORT)}
        routes.append({**page, "retries": {"attempts": 0}})
    routes.append({"name": "default", "route": _to(service, service.port), "retries": {"attempts": 0}})
    body = manifest(_API, "VirtualService", service.name, {"hosts": [host_of(service)], "http": routes})
    return Document(f"Time and repetition of the RPCs of {service.full_name}.", body)


def _class_of(rpc: Rpc) -> tuple[Effect, float] | None:
    """What decides about time and repetition; None for a stream of either direction, whose length nobody knows."""
    time = rpc.policy.deadline_seconds
    return None if rpc.policy.streaming or time is None else (rpc.policy.effect, time)


def _route(name: str, rpcs: Sequence[Rpc], time: float | None) -> Body:
    service = rpcs[0].service
    return {
        "name": name,
        "match": [{"uri": {"exact": rpc.path}} for rpc in rpcs],
        "route": _to(service, service.port),
        **({} if time is None else {"timeout": _seconds(time)}),
        "retries": _retries(rpcs[0].policy.retry),
    }


def _retries(retry: Retry) -> Body:
    if not retry.attempts:
        return {"attempts": 0}
    found: Body = {"attempts": retry.attempts}
    if retry.per_try_seconds is not None:
        found["perTryTimeout"] = _seconds(retry.per_try_seconds)
    return {**found, "retryOn": RECEIVED if retry.received else UNSENT}


def _to(service: ServiceName, port: int) -> list[Body]:
    return [{"destination": {"host": host_of(service), "port": {"number": port}}}]


def _destination_rule(service: ServiceName, rpcs: Sequence[Rpc]) -> Document:
    # One server takes so many calls of its methods, and so many streams of its health; it refuses further ones itself, with
    # a reason and a time to come back, so the sidecar's limit lies where all of them are full.
    most = sum(rpc.policy.max_in_flight for rpc in rpcs) + PER_CALLER
    spec = {
        "host": host_of(service),
        "trafficPolicy": {
            "loadBalancer": {"simple": "LEAST_REQUEST", "warmup": {"duration": "30s"}},
            "connectionPool": {
                "tcp": {"connectTimeout": "1s", "tcpKeepalive": {"time": "60s", "interval": "20s"}},
                "http": {"http2MaxRequests": most, "maxRetries": _RETRIES_AT_ONCE, "idleTimeout": "1h"},
            },
            "outlierDetection": _outlier_detection(service),
        },
    }
    why = f"How calls are spread over the replicas of {service.name}."
    if service.pod.alone:
        why += " It is always alone, so it is never taken out: nobody could take over."
    return Document(why, manifest(_API, "DestinationRule", service.name, spec))


def _outlier_detection(service: ServiceName) -> Body:
    """A replica that five times in a row does not answer, or says UNAVAILABLE, is left out for a while; a defect is no reason.

    Where fewer than half are left, all are asked again, so that the only replica of a service is never left out.
    """
    if service.pod.alone:
        return {"consecutiveGatewayErrors": 0, "consecutive5xxErrors": 0}
    return {
        "consecutiveGatewayErrors": 5,
        "consecutive5xxErrors": 0,
        "interval": "5s",
        "baseEjectionTime": "30s",
        "maxEjectionPercent": 50,
        "minHealthPercent": 50,
    }


def _seconds(seconds: float) -> str:
    """A duration as Istio writes it, to the millisecond."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
