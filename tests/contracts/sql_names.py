"""Which tables, views and SQL functions a source names: in its SQL, in SQLAlchemy expressions, and by what it imports.

A source whose SQL is put together so that the name of a table cannot be read off is refused, or anything could hide there.
"""

import ast
import importlib
import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType

from sqlalchemy import MetaData, Table

from schema.ownership import FUNCTIONS
from schema.tables import metadata
from schema.views import views

RELATIONS = frozenset({*metadata.tables, *views.tables})
KNOWN = RELATIONS | set(FUNCTIONS)
# What they name, whoever imports them names.
SHARED_CODE = ("schema", "modelkit", "tradekit", "meshkit")
# They name everything, to give rights on it or to ask the catalogue whether it is there, and read no row of it.
NAMES_ALL = ("schema.grants", "schema.roles", "schema.presence")
# The names of what these calls are given first or second are tables.
TAKES_NAME = {"table", "Table", "copy_in", "copy_to_table", "copy_from_table", "copy_records_to_table"}
BEFORE_TABLE = r"\b(?:FROM|JOIN|INTO|UPDATE|ONLY|TABLE|COPY)\s*"
IS_SQL = re.compile(
    r"\b(?:SELECT|FROM|JOIN|INTO|UPDATE|DELETE|COPY|TRUNCATE|MERGE)\b"
    r"|(?i:\bselect\b.+\bfrom\b|\binsert\s+into\b|\bdelete\s+from\b|\bupdate\s+\S+\s+set\b)",
    re.DOTALL,
)
UNREADABLE = re.compile(rf"{BEFORE_TABLE}(?:[\x00%{{]|$)")
CONTINUED = "\x00"


@dataclass
class Named:
    """What a source names, and each place where that cannot be read off."""

    names: set[str] = field(default_factory=set)
    unreadable: list[str] = field(default_factory=list)

    def add(self, other: "Named") -> None:
        self.names |= other.names
        self.unreadable += other.unreadable


def named_in_folder(folder: Path) -> Named:
    """All sources of a package together."""
    found = Named()
    for path in sorted(folder.rglob("*.py")):
        one = named_in_source(path.read_text())
        found.names |= one.names
        found.unreadable += [f"{path.name}: {where}" for where in one.unreadable]
    return found


def named_in_source(source: str) -> Named:
    tree = ast.parse(source)
    return named_in_parts(tree.body, constants_of(tree), "sqlalchemy" in imported_modules(tree))


def named_in_parts(parts: Sequence[ast.AST], constants: Mapping[str, ast.expr], builds_sql: bool) -> Named:
    """What statements of a source name; `builds_sql` where `table` and `Table` are those of SQLAlchemy."""
    found = Named()
    for part in parts:
        for text in strings(part, constants):
            found.add(named_in_sql(text))
        for node in ast.walk(part):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    found.add(named_by_module(alias.name))
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                for alias in node.names:
                    found.add(named_by_import(node.module, alias.name))
            elif isinstance(node, ast.Call):
                found.add(named_by_call(node, builds_sql))
    return found


def constants_of(tree: ast.Module) -> dict[str, ast.expr]:
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def imported_modules(tree: ast.Module) -> set[str]:
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return {name.partition(".")[0] for name in imported}


def strings(tree: ast.AST, constants: Mapping[str, ast.expr]) -> Iterator[str]:
    """Every string that is not a docstring; of an f-string the whole, with the constants of its module put in."""
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inner.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in ast.walk(node)} - {id(node)}
    for node in ast.walk(tree):
        if id(node) not in inner and isinstance(node, ast.JoinedStr | ast.Constant):
            yield written(node, constants)


def written(node: ast.expr, constants: Mapping[str, ast.expr]) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(written(part, constants) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        name = node.value
        known = constants.get(name.id) if isinstance(name, ast.Name) else None
        if isinstance(known, ast.Constant | ast.JoinedStr):
            return written(known, constants)
    return CONTINUED


def named_in_sql(text: str) -> Named:
    """A name counts wherever it stands as a word of its own: not in quotes, not a parameter, not a column of an alias."""
    if not IS_SQL.search(text):
        return Named()
    sql = re.sub(r"--[^\n]*|'[^']*'", " ", text).replace("public.", "")
    words = set(re.findall(r'(?<![\w.:$])"?([a-z_]\w*)', sql))
    unreadable = [f"{text.strip()[:60]!r} continues with a name" for _ in UNREADABLE.findall(sql.rstrip(" \n"))]
    return Named(words & KNOWN, unreadable)


def named_by_call(node: ast.Call, builds_sql: bool) -> Named:
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) and node.func.value.id == "func":
        return Named({called} & set(FUNCTIONS))
    if called not in TAKES_NAME:
        return Named()
    given = [part.value for part in node.args[:2] if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    hidden = called in ("table", "Table") and builds_sql and not given
    return Named(set(given) & RELATIONS, [f"{called}() of a name that is not written out"] if hidden else [])


def named_by_import(module: str, name: str) -> Named:
    """A table by its name is named alone; a function of our shared code names what it, and what it calls there, names."""
    if module.partition(".")[0] not in SHARED_CODE:
        return Named()
    value = getattr(importlib.import_module(module), name, None)
    if isinstance(value, Table):
        return Named({value.name})
    if isinstance(value, MetaData):
        return Named(unreadable=[f"{module}.{name} has every table"])
    if isinstance(value, ModuleType) or (value is None and importlib.util.find_spec(f"{module}.{name}")):
        return named_by_module(f"{module}.{name}")
    if module in NAMES_ALL:
        return Named()
    return named_by_definition(module, name)


@cache
def named_by_module(module: str) -> Named:
    """What a module of our shared code names."""
    if module.partition(".")[0] not in SHARED_CODE:
        return Named()
    return named_in_source(source_of(module))


@cache
def named_by_definition(module: str, name: str) -> Named:
    """What one function, class or constant of a module names, with all of the module that it needs."""
    tree = ast.parse(source_of(module))
    parts: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            parts |= {(alias.asname or alias.name): imported_alone(node, alias) for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            parts[node.name] = node
    parts |= constants_of(tree)
    needed, waiting = set[str](), [name]
    while waiting:
        one = waiting.pop()
        if one in parts and one not in needed:
            needed.add(one)
            waiting += [node.id for node in ast.walk(parts[one]) if isinstance(node, ast.Name)]
    found = [parts[one] for one in sorted(needed)]
    return named_in_parts(found, constants_of(tree), "sqlalchemy" in imported_modules(tree))


def imported_alone(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.AST:
    if isinstance(node, ast.Import):
        return ast.Import(names=[alias])
    return ast.ImportFrom(module=node.module, names=[alias], level=node.level)


def source_of(module: str) -> str:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, module
    return Path(spec.origin).read_text()
