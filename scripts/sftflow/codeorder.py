"""Where the order of a module's statements, or that one is there, can't change what it does.

Functions that stand beside each other may change places: to define one runs nothing. What a
module imports from Python itself and does not use, or uses for annotations alone, may be left out.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Decorators that do nothing but wrap.
WRAPPING = {"cache", "lru_cache", "contextmanager", "property", "staticmethod", "classmethod"}
PLAIN = (ast.Constant, ast.Name, ast.Attribute, ast.UnaryOp, ast.unaryop, ast.Tuple, ast.Load)


def decorator_name(node: ast.expr) -> str | None:
    """Return the last name of a decorator or of a base class, called or not."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)


def ordered(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return statements with the functions of each row of them by name, where that is the same."""
    names = Counter(node.name for node in body if isinstance(node, (*FUNCTIONS, ast.ClassDef)))
    done: list[ast.stmt] = []
    row: list[ast.stmt] = []
    for node in [*body, None]:
        if node is not None and _runs_nothing(node) and names[node.name] == 1:
            row.append(node)
            continue
        done += sorted(row, key=lambda one: one.name) if _are_apart(row) else row
        done += [node] if node is not None else []
        row = []
    return done


def _runs_nothing(node: ast.stmt) -> bool:
    """Return whether a statement defines a function and does nothing else."""
    if not isinstance(node, FUNCTIONS):
        return False
    wrapped = all(decorator_name(one) in WRAPPING for one in node.decorator_list)
    return wrapped and all(isinstance(part, PLAIN) for part in _parts_of_defaults(node))


def _parts_of_defaults(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    defaults = (*node.args.defaults, *node.args.kw_defaults)
    return (part for default in defaults if default for part in ast.walk(default))


def _are_apart(row: list[ast.stmt]) -> bool:
    """Return whether no function of a row is a default of another one, which must come later."""
    asked = {n.id for f in row for n in _parts_of_defaults(f) if isinstance(n, ast.Name)}
    return asked.isdisjoint(f.name for f in row)


def is_for_annotations(node: ast.AST) -> bool:
    """Return whether a node is an ``if TYPE_CHECKING:``, whose body never runs."""
    return isinstance(node, ast.If) and decorator_name(node.test) == "TYPE_CHECKING"


def that_run(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree as ast.walk does, without those that are for annotations alone."""
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        todo += node.orelse if is_for_annotations(node) else ast.iter_child_nodes(node)


def without_idle_imports(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return a module's statements without imports for annotations, and of Python that idle.

    What is imported from Python itself comes first, by name: it does not matter when it is.
    """
    kept: list[ast.stmt] = []
    for node in body:
        kept += node.orelse if is_for_annotations(node) else [node]
    used = {n.id for node in kept for n in ast.walk(node) if isinstance(n, ast.Name)}
    first: dict[str, ast.stmt] = {}
    rest: list[ast.stmt] = []
    for node in kept:
        if not _is_pythons(node):
            rest.append(node)
            continue
        for alias in node.names:
            if imported_name(alias) in used:
                one = _import_of(node, alias)
                first[ast.dump(one)] = one
    return [*(first[said] for said in sorted(first)), *rest]


def without_idle_imports_inside(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return a function's statements without what they import of Python and never use."""
    nodes = [node for part in body for node in ast.walk(part)]
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    for node in nodes:
        if isinstance(node, ast.Global | ast.Nonlocal):
            used.update(node.names)
    kept: list[ast.stmt] = []
    for node in body:
        if not _is_pythons(node):
            kept.append(node)
        elif names := [alias for alias in node.names if imported_name(alias) in used]:
            node.names = names
            kept.append(node)
    return kept


def imported_name(alias: ast.alias) -> str:
    """Return the name that an import binds."""
    return (alias.asname or alias.name).split(".")[0]


def _is_pythons(node: ast.stmt) -> bool:
    """Return whether a statement imports from the standard library, and no star."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level and node.names[0].name != "*":
        names = [node.module]
    else:
        return False
    standard = sys.stdlib_module_names - {"__future__"}
    return all(name.split(".")[0] in standard for name in names)


def _import_of(node: ast.stmt, alias: ast.alias) -> ast.stmt:
    if isinstance(node, ast.Import):
        return ast.Import([alias])
    return ast.ImportFrom(node.module, [alias], 0)
