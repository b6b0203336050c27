"""List requests: query parameters in, database conditions and a page out.

A cursor is the sequence number of the last row of a page, so pages stay whole while new rows
arrive. List parameters come as repeated keys.
"""

from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from exchange_sim.order_request import SUPPORTED
from exchange_sim.orders import Status
from exchange_sim.state import Condition, Sorting, one_of
from exchange_sim.times import parse_iso
from exchange_sim.views import order_type, time_in_force
from exchange_sim.web import invalid_argument

_NEVER = Condition("0", ())
_ORDER_SORTS = {
    "LIMIT_PRICE": "CAST(limit_price AS REAL)",
    "LAST_FILL_TIME": "last_fill_us",
    "LAST_UPDATE_TIME": "updated_us",
}
_FILL_SORTS = {"PRICE": "CAST(price AS REAL)", "TRADE_TIME": "at_us"}


def whole(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) < least:
        raise invalid_argument(f"{name} must be a whole number from {least}")
    return min(int(text), most)


def moment(request: web.Request, name: str) -> int | None:
    text = request.query.get(name, "")
    if not text:
        return None
    try:
        return parse_iso(text)
    except (ValueError, OverflowError) as error:
        raise invalid_argument(f"{name} must be an RFC 3339 time") from error


def order_conditions(request: web.Request, at_work_since: float | None = None) -> list[Condition]:
    """`at_work_since`: what came after this wall time is not in the book yet; None: everything is."""
    conditions = _shared_conditions(request)
    statuses = request.query.getall("order_status", [])
    if Status.OPEN in statuses and len(set(statuses)) > 1:
        raise invalid_argument("order_status OPEN cannot be mixed with other statuses")
    conditions += _with_status(statuses, at_work_since)
    conditions += _variants(request, "order_types", order_type)
    conditions += _variants(request, "time_in_forces", time_in_force)
    return conditions + _between(request, "created_us", "start_date", "end_date")


def fill_conditions(request: web.Request) -> list[Condition]:
    conditions = _shared_conditions(request) + _any_of("trade_id", request.query.getall("trade_ids", []))
    return conditions + _between(request, "at_us", "start_sequence_timestamp", "end_sequence_timestamp")


def _shared_conditions(request: web.Request) -> list[Condition]:
    query = request.query
    conditions = _any_of("order_id", query.getall("order_ids", []))
    conditions += _any_of("product_id", query.getall("product_ids", []))
    conditions += _any_of("side", query.getall("order_side", []))
    conditions += _with_assets(query.getall("asset_filters", []))
    if any(kind != "SPOT" for name in ("product_type", "product_types") for kind in query.getall(name, [])):
        conditions.append(_NEVER)
    # Where rows are sorted otherwise a cursor is a number of rows; see `Sorting`.
    by_creation = request.query.get("sort_by", "") in ("", "UNKNOWN_SORT_BY")
    cursor = whole(request, "cursor", 0, 1, 2**62) if by_creation else 0
    return [*conditions, Condition("sequence < ?", (cursor,))] if cursor else conditions


def order_sorting(request: web.Request) -> Sorting | None:
    """None: by creation, newest first."""
    return _sorting(request, _ORDER_SORTS)


def fill_sorting(request: web.Request) -> Sorting | None:
    return _sorting(request, _FILL_SORTS)


def _sorting(request: web.Request, known: Mapping[str, str]) -> Sorting | None:
    name = request.query.get("sort_by", "")
    if name in ("", "UNKNOWN_SORT_BY"):
        return None
    if name not in known:
        raise invalid_argument(f"sort_by must be one of {', '.join(known)}")
    return Sorting(known[name], whole(request, "cursor", 0, 0, 2**62))


def _with_status(statuses: Sequence[str], at_work_since: float | None) -> list[Condition]:
    """An order whose cancel is queued, or that is not in the book yet, is not OPEN for who asks, though it may still fill."""
    if not statuses:
        return []
    others = {"CANCEL_QUEUED": Condition("(status = 'OPEN' AND cancel_wall_seconds IS NOT NULL)", ())}
    if at_work_since is not None:
        new = "(status = 'OPEN' AND cancel_wall_seconds IS NULL AND created_wall_seconds > ? AND trigger {} '')"
        others["PENDING"] = Condition(new.format("="), (at_work_since,))
        others["QUEUED"] = Condition(new.format("<>"), (at_work_since,))
    plain, hidden = one_of("status", statuses), list(others.values())
    sql = f"({plain.sql} AND NOT ({' OR '.join(one.sql for one in hidden)}))"
    parameters = [*plain.parameters, *(value for one in hidden for value in one.parameters)]
    for name in others.keys() & set(statuses):
        sql = f"({sql} OR {others[name].sql})"
        parameters += others[name].parameters
    return [Condition(sql, tuple(parameters))]


def _any_of(column: str, values: Sequence[str]) -> list[Condition]:
    return [one_of(column, values)] if values else []


def _with_assets(assets: Sequence[str]) -> list[Condition]:
    """Products that have any of the assets on either side."""
    if not assets:
        return []
    either = " OR ".join("instr('-' || product_id || '-', ?)" for _ in assets)
    return [Condition(f"({either})", tuple(f"-{asset}-" for asset in assets))]


def _variants(request: web.Request, name: str, kind: Callable[[str], str]) -> list[Condition]:
    wanted = request.query.getall(name, [])
    return [one_of("variant", [variant for variant in SUPPORTED if kind(variant) in wanted])] if wanted else []


def _between(request: web.Request, column: str, first: str, last: str) -> list[Condition]:
    begin, end = moment(request, first), moment(request, last)
    conditions = [] if begin is None else [Condition(f"{column} >= ?", (begin,))]
    return conditions if end is None else [*conditions, Condition(f"{column} < ?", (end,))]
