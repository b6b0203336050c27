"""What GetLimits says about a reason: the row of its rule, and the number that a row's formula gives for recorded figures."""

import ast
import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_FUNCTIONS = {"max": max, "sqrt": math.sqrt}


def result(formula: str, figures: Mapping[str, float]) -> float:
    """The number that a formula of GetLimits gives."""

    def of(node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name):
                return float(figures[name])
            case ast.BinOp(left=left, op=op, right=right):
                return _OPERATORS[type(op)](of(left), of(right))
            case ast.Call(func=ast.Name(id=name), args=args):
                return _FUNCTIONS[name](*map(of, args))
        raise AssertionError(f"{formula} is none of the formulas that the contract promises")

    return of(ast.parse(formula, mode="eval").body)


def explained(reason: Any, rows: Iterable[Any], figures: Mapping[str, float]) -> list[Any]:
    """The rows that tell the reason's code and unit and give its limit."""
    return [
        row for row in rows if (row.code, row.unit) == (reason.code, reason.unit) and _same(reason.limit, row, figures)
    ]


def _same(limit: str, row: Any, figures: Mapping[str, float]) -> bool:
    if "(" not in row.value and row.value not in figures:
        return limit == row.value
    # A reason tells six significant digits of a statistic.
    return math.isclose(float(limit), result(row.value, figures), rel_tol=1e-5)
