"""What a syntax tree means: itself without all that can't change what the code does.

Comments and layout are not in a tree. Removed here are docstrings, annotations (of the fields
of a class their types, where nothing asks for these) and what is there for annotations alone;
local variables get names by the order in which they appear, and functions that stand beside each
other an order (codeorder.py). What may be asked for by name stays: parameters, attributes,
functions, classes, everything at module level.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from sftflow.codeorder import (
    decorator_name,
    imported_name,
    ordered,
    without_idle_imports,
    without_idle_imports_inside,
)

# A function that asks for its variables by name keeps them.
ASKS_BY_NAME = {"locals", "vars", "eval", "exec", "dir"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
# Classes that ask whether a field is annotated and not by what, but for these marks.
FIELDS = {"dataclass", "NamedTuple", "Protocol"}
MARKS = {"ClassVar", "InitVar", "KW_ONLY"}


def bound_names(nodes: Iterable[ast.AST]) -> tuple[list[str], set[str]]:
    """Return the variables that code binds in its own scope, in order, and names that must stay.

    Those are names of functions, classes and imports, and what is declared global or nonlocal.
    """
    free: dict[str, None] = {}
    announced: dict[str, None] = {}  # by an annotation alone
    fixed: set[str] = set()
    todo = list(nodes)
    while todo:
        node = todo.pop(0)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            free[node.id] = None
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            free[node.name] = None
        elif isinstance(node, ast.MatchMapping) and node.rest:
            free[node.rest] = None
        elif isinstance(node, ast.Global | ast.Nonlocal):
            fixed.update(node.names)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            fixed.update(imported_name(alias) for alias in node.names)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            fixed.add(node.name)
        elif isinstance(node, COMPREHENSIONS):  # what := binds in one belongs to this scope
            inner = [n for n in ast.walk(node) if isinstance(n, ast.NamedExpr)]
            free.update((n.target.id, None) for n in inner)
        elif not isinstance(node, ast.Lambda):
            todo[:0] = _parts(node, announced)
    free.update(announced)
    return [name for name in free if name not in fixed], fixed


def _parts(node: ast.AST, announced: dict[str, None]) -> Iterable[ast.AST]:
    """Return the parts of a node that may bind variables; keep a name that is only announced."""
    if not isinstance(node, ast.AnnAssign):
        return ast.iter_child_nodes(node)
    if node.value is not None:
        return [node.target, node.value]
    if isinstance(node.target, ast.Name):
        announced[node.target.id] = None
    return []


class _Meaning(ast.NodeTransformer):
    """Rewrite a tree in place; scopes are (new names, names that end the search)."""

    def __init__(self) -> None:
        self.scopes: list[tuple[dict[str, str], set[str]]] = []
        self.within = "code"  # or a class that asks for the annotations of its fields

    def _renamed(self, name: str) -> str:
        for renamed, fixed in reversed(self.scopes):
            if name in renamed:
                return renamed[name]
            if name in fixed:
                return name
        return name

    def _enter(self, free: list[str], fixed: set[str]) -> None:
        depth = len(self.scopes)
        names = {name: f"local {depth}.{i}" for i, name in enumerate(free) if name not in fixed}
        self.scopes.append((names, fixed))

    def _function(self, node):
        args = node.args
        for part in ("defaults", "kw_defaults"):
            setattr(args, part, [value and self.visit(value) for value in getattr(args, part)])
        parameters = [*args.posonlyargs, *args.args, *args.kwonlyargs]
        parameters += [extra for extra in (args.vararg, args.kwarg) if extra]
        for parameter in parameters:
            parameter.annotation = None
        body = node.body if isinstance(node.body, list) else [node.body]
        named = {n.id for part in body for n in ast.walk(part) if isinstance(n, ast.Name)}
        by_name = named & ASKS_BY_NAME
        if isinstance(node.body, list) and not by_name:
            node.body = body = without_idle_imports_inside(body)
        free, fixed = bound_names(body)
        if by_name:
            free, fixed = [], fixed | set(free)
        # declared nonlocal: the name of the scope outside, so the search must go on there
        outside = {
            name
            for part in body
            for n in ast.walk(part)
            if isinstance(n, ast.Nonlocal)
            for name in n.names
        }
        self._enter(free, (fixed - outside) | {parameter.arg for parameter in parameters})
        within, self.within = self.within, "code"
        if isinstance(node.body, list):
            visited = (self.visit(part) for part in node.body)
            node.body = self._bare([part for part in visited if part])
        else:
            node.body = self.visit(node.body)
        self.scopes.pop()
        self.within = within
        return node

    @staticmethod
    def _bare(body: list) -> list:
        first = body[0] if body else None
        said = first.value if isinstance(first, ast.Expr) else None
        if isinstance(said, ast.Constant) and isinstance(said.value, str):
            body = body[1:]
        return [part for part in body if not isinstance(part, ast.Pass)] or [ast.Pass()]

    def visit_FunctionDef(self, node):
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        node.returns = None
        return self._function(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node):
        return self._function(node)

    def visit_Module(self, node):
        self.generic_visit(node)
        node.body = ordered(self._bare(node.body))
        return node

    def visit_ClassDef(self, node):
        free, fixed = bound_names(node.body)
        known = {decorator_name(part) for part in (*node.decorator_list, *node.bases)}
        within, self.within = self.within, "fields" if known & FIELDS else "types"
        self.scopes.append(({}, fixed | set(free)))  # attributes: asked for by name
        self.visit_Module(node)
        self.scopes.pop()
        self.within = within
        return node

    def visit_AnnAssign(self, node):
        if self.within == "code":
            said = node.value and ast.Assign([node.target], node.value)
            return said and self.generic_visit(said)
        asked = {n.id for n in ast.walk(node.annotation) if isinstance(n, ast.Name)}
        asked |= {n.attr for n in ast.walk(node.annotation) if isinstance(n, ast.Attribute)}
        if self.within == "fields" and not asked & MARKS:
            node.annotation = ast.Constant(value=None)
        return self.generic_visit(node)

    def _comprehension(self, node):
        node.generators[0].iter = self.visit(node.generators[0].iter)  # belongs to the outside
        first = node.generators[0].iter
        node.generators[0].iter = ast.Constant(value=None)
        self._enter(bound_names([g.target for g in node.generators])[0], set())
        self.generic_visit(node)
        self.scopes.pop()
        node.generators[0].iter = first
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815

    def visit_Name(self, node):
        node.id = self._renamed(node.id)
        return node

    def visit_Nonlocal(self, node):
        node.names = [self._renamed(name) for name in node.names]
        return node

    def _named(self, node):
        if node.name:
            node.name = self._renamed(node.name)
        return self.generic_visit(node)

    visit_ExceptHandler = visit_MatchAs = visit_MatchStar = _named  # noqa: N815

    def visit_MatchMapping(self, node):
        if node.rest:
            node.rest = self._renamed(node.rest)
        return self.generic_visit(node)


def bare(tree: ast.Module) -> ast.Module:
    """Return a module's tree without what can't change what it does; the tree is used up."""
    tree = _Meaning().visit(tree)
    tree.body = without_idle_imports(tree.body) or [ast.Pass()]
    return tree


def meaning(tree: ast.Module) -> str:
    """Return text that is equal for modules that mean the same; the tree is used up."""
    return ast.dump(bare(tree), annotate_fields=False)
