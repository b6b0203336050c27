"""Who decides and who only predicts in shadow, as far as the service settles it by itself.

Pure. A model never takes the champion's place because it is newer: it challenges. Only where nobody can serve, the best
that is there is adopted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

_MOST_REFUSED = 3


class ChangeKind(StrEnum):
    """What was done to a model."""

    ADOPTED = "ADOPTED"
    CHALLENGED = "CHALLENGED"
    PROMOTED = "PROMOTED"
    ROLLED_BACK = "ROLLED_BACK"


@dataclass(frozen=True, slots=True)
class Roles:
    """Versions in their parts; None where nobody has it."""

    champion: str | None = None
    challenger: str | None = None
    previous: str | None = None

    @property
    def versions(self) -> set[str]:
        return {each for each in (self.champion, self.challenger, self.previous) if each is not None}


@dataclass(frozen=True, slots=True)
class Standing:
    """A model that can serve: how new it is, whether it lies at the top of the folder, whether it knows all products."""

    version: str
    train_to: int
    created_at: str
    at_top: bool
    knows_products: bool

    @property
    def age(self) -> tuple[int, str]:
        return self.train_to, self.created_at


@dataclass(frozen=True, slots=True)
class Change:
    """One entry for the record; `previous` is the champion before it."""

    kind: ChangeKind
    version: str
    previous: str
    note: str


@dataclass(frozen=True, slots=True)
class RecordedChange:
    """A change as it was recorded: by whom, and when by machine time. `caller` is empty where the service did it itself."""

    change: Change
    caller: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that was loaded once; its training in market time, its first load in machine time."""

    version: str
    train_from: datetime
    train_to: datetime
    theta_buy: float
    manifest_sha256: str
    first_loaded_at: datetime


def settle(
    roles: Roles, standings: Sequence[Standing], seen: Collection[str], serving: bool, refused: Sequence[str] = ()
) -> tuple[Roles, tuple[Change, ...]]:
    """The roles that follow from the models at hand, with what changes.

    `seen` are the versions that ever had a part: they come back only where an operator rolls back. `serving` is True
    where this process has a model in service; it then goes on with it, whatever became of the champion's files. `refused`
    says in words which folders failed which check, for the record.
    """
    known = {each.version: each for each in standings}
    changes = []
    if standings and not _stays(roles.champion, known, serving):
        best = max(standings, key=lambda each: (each.knows_products, each.at_top, *each.age))
        changes.append(
            Change(ChangeKind.ADOPTED, best.version, roles.champion or "", _why(roles.champion, known, refused))
        )
        challenger = None if roles.challenger == best.version else roles.challenger
        roles = Roles(best.version, challenger, roles.champion)
    fresh = _challenger(roles, known, {*seen, *(change.version for change in changes)})
    if fresh is not None:
        note = "newer than the champion"
        changes.append(Change(ChangeKind.CHALLENGED, fresh.version, roles.champion or "", note))
        roles = replace(roles, challenger=fresh.version)
    return roles, tuple(changes)


def rolled_back(roles: Roles, leaving_is_loadable: bool) -> tuple[Roles, tuple[Change, ...]]:
    """The roles once the champion before is the champion again, with what follows from it.

    The one that leaves may prove itself once more in shadow, unless another model does so already: that one is newer.
    """
    challenger = None if roles.challenger == roles.previous else roles.challenger
    again: tuple[Change, ...] = ()
    if challenger is None and roles.champion is not None and leaving_is_loadable:
        challenger = roles.champion
        again = (
            Change(ChangeKind.CHALLENGED, challenger, roles.previous or "", "may prove itself after the rollback"),
        )
    return Roles(champion=roles.previous, challenger=challenger, previous=None), again


def _stays(champion: str | None, known: dict[str, Standing], serving: bool) -> bool:
    if champion is None:
        return False
    if serving:
        return True
    if champion not in known:
        return False
    return known[champion].knows_products or not any(each.knows_products for each in known.values())


def _why(champion: str | None, known: dict[str, Standing], refused: Sequence[str]) -> str:
    if champion is None:
        return "there was no champion"
    if champion in known:
        return "the champion does not know all products"
    if refused:
        # What a refused folder says of itself is nobody's word, so it cannot be told which of them was the champion's.
        return f"the champion is in no folder that passes the checks; refused: {'; '.join(refused[:_MOST_REFUSED])}"
    return "the champion's files are gone; where `mesh up` trained over them, logs/supervisor.log says why"


def _challenger(roles: Roles, known: dict[str, Standing], seen: Collection[str]) -> Standing | None:
    """The newest model that never had a part, newer than champion and challenger and as fit; None if there is none."""
    champion = known.get(roles.champion or "")
    if champion is None:
        return None
    limit = max(champion.age, known[roles.challenger].age) if roles.challenger in known else champion.age
    fit = (each for each in known.values() if each.knows_products or not champion.knows_products)
    fresh = [each for each in fit if each.version not in seen and each.age > limit]
    return max(fresh, key=lambda each: each.age, default=None)
