"""Rows that a statement is given as arrays, one for each column, as a table that it reads from."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ARRAY, TableValuedAlias, bindparam, column, func, select


def given_rows(kinds: Mapping[str, Any], name: str = "given", place: str | None = None) -> TableValuedAlias:
    """A table of these columns with these types, to whose arrays the statement's parameters of the same names are bound.

    `place` names one more column, the number of a row from 1.
    """
    # Each behind a SELECT of its own, where the planner does not see how long it is. Of an array that it sees it finds that so
    # few rows are cheaper than those it assumes, and plans the statement anew at every call, which takes longer than to run it.
    arrays = (select(bindparam(each, type_=ARRAY(kind))).scalar_subquery() for each, kind in kinds.items())
    columns = (column(each, kind) for each, kind in kinds.items())
    return func.unnest(*arrays).table_valued(*columns, with_ordinality=place, name=name).render_derived(name=name)
