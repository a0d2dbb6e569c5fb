"""What counts as a change of code, and what does not."""

import ast
import textwrap
from pathlib import Path

import pytest

from sftflow.meaning import meaning

SCRIPTS = Path(__file__).parents[2] / "scripts"


def said(code: str) -> str:
    """Return the meaning of a piece of code."""
    return meaning(ast.parse(textwrap.dedent(code)))


SAME = {
    "comment": ("x = 1", "x = 1  # one"),
    "nothing": ("", "pass"),
    "a pass beside others": ("def f():\n  a()", "def f():\n  a()\n  pass"),
    "unused import within a function": (
        "def f():\n  return json",
        "def f():\n  import secrets\n  from random import seed, sample\n  return json",
    ),
    "layout": ("x = f(1, 2)", "x = f(\n    1,\n    2,\n)"),
    "module docstring": ("x = 1", '"""Doc."""\nx = 1'),
    "docstring": ("def f():\n  return 1", 'def f():\n  "Doc."\n  return 1'),
    "class docstring": ("class A:\n  x = 1", 'class A:\n  "Doc."\n  x = 1'),
    "annotation": ("def f(a):\n  return a", "def f(a: int) -> int:\n  return a"),
    "local": ("def f(a):\n  b = a\n  return b", "def f(a):\n  kept = a\n  return kept"),
    "loop": ("def f(a):\n  for i in a:\n    g(i)", "def f(a):\n  for row in a:\n    g(row)"),
    "comprehension": ("x = [i for i in y]", "x = [row for row in y]"),
    "two closures": (
        "def f():\n  a = 1\n  z = 2\n  return lambda: (a, z)",
        "def f():\n  q = 1\n  b = 2\n  return lambda: (q, b)",
    ),
    "nonlocal": (
        "def f():\n  n = 0\n  def g():\n    nonlocal n\n    n += 1\n  return g",
        "def f():\n  k = 0\n  def g():\n    nonlocal k\n    k += 1\n  return g",
    ),
    "except": (
        "def f():\n  try: g()\n  except E as e: h(e)",
        "def f():\n  try: g()\n  except E as error: h(error)",
    ),
    "walrus": (
        "def f(a):\n  return [b for i in a if (b := g(i))]",
        "def f(a):\n  return [c for k in a if (c := g(k))]",
    ),
    "annotation of a variable": (
        "x = 1\ndef f(a):\n  c = 0\n  b = a\n  a.n = b\n  return b, c",
        "x: int = 1\ny: int\n"
        "def f(a):\n  b: A\n  c: int = 0\n  b: B = a\n  a.n: B = b\n  return b, c",
    ),
    "type of a dataclass's field": (
        "@dataclass(frozen=True)\nclass A:\n  x: int\n  y: str = ''",
        "@dataclass(frozen=True)\nclass A:\n  x: int | None\n  y: B = ''",
    ),
    "type of a named field": ("class A(NamedTuple):\n  x: int", "class A(NamedTuple):\n  x: str"),
    "what annotations import": (
        "from __future__ import annotations\ndef f(a):\n  return a",
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING, Any\n"
        "from collections.abc import Iterable\nif TYPE_CHECKING:\n  import jinja2\n"
        "def f(a: Iterable[Any]) -> jinja2.Template:\n  return a",
    ),
    "unused import": ("import json\nx = json", "import json\nimport os\nimport re\nx = json"),
    "imports in one line": ("import re\nimport os\nx = os, re", "import os, re\nx = os, re"),
    "functions change places": (
        "X = 1\ndef f(a=None):\n  return g(a)\n@cache\ndef g(a=X):\n  return a",
        "X = 1\n@cache\ndef g(a=X):\n  return a\n\ndef f(a=None):\n  return g(a)",
    ),
    "methods change places": (
        "class A:\n  x = 1\n  def f(self): 1\n  @property\n  def g(self): 2",
        "class A:\n  x = 1\n  @property\n  def g(self): 2\n  def f(self): 1",
    ),
    "match": (
        "def f(a):\n  match a:\n    case [x, *y]: return x, y",
        "def f(a):\n  match a:\n    case [p, *q]: return p, q",
    ),
}

OTHER = {
    "number": ("x = 1", "x = 2"),
    "call": ("def f():\n  a = 1\n  return g(a)", "def f():\n  a = 1\n  return h(a)"),
    "parameter": ("def f(a):\n  return a", "def f(b):\n  return b"),
    "default": ("def f(a=1):\n  return a", "def f(a=2):\n  return a"),
    "module name": ("a = 1", "b = 1"),
    "attribute": ("def f(a):\n  return a.b", "def f(a):\n  return a.c"),
    "class attribute": ("class A:\n  x = 1", "class A:\n  y = 1"),
    "field type": ("class A:\n  x: int", "class A:\n  x: str"),
    "a mark of a field": (
        "@dataclass\nclass A:\n  x: int = 1",
        "@dataclass\nclass A:\n  x: ClassVar[int] = 1",
    ),
    "order of fields": (
        "@dataclass\nclass A:\n  x: int\n  y: int",
        "@dataclass\nclass A:\n  y: int\n  x: int",
    ),
    "a field or none": ("@dataclass\nclass A:\n  x: int = 1", "@dataclass\nclass A:\n  x = 1"),
    "import": ("import json as j\nx = j", "import re as j\nx = j"),
    "import within a function": (
        "def f():\n  import json\n  return json",
        "def f():\n  return json",
    ),
    "import for an inner function": (
        "def f():\n  import json\n  return lambda: json",
        "def f():\n  return lambda: json",
    ),
    "unused import of another's within a function": ("def f():\n  import a", "def f(): 1"),
    "import of another's": ("import a\nimport b", "import b\nimport a"),
    "unused import of another's": ("import a", "import a\nimport b"),
    "import in one of two cases": (
        "if TYPE_CHECKING:\n  import a\nelse:\n  import b",
        "if TYPE_CHECKING:\n  import a\nelse:\n  import c",
    ),
    "order of what registers": (
        "@step('a')\ndef f(): 1\n@step('b')\ndef g(): 2",
        "@step('b')\ndef g(): 2\n@step('a')\ndef f(): 1",
    ),
    "order around a call": ("def f(): 1\nx = f()\ndef g(): 2", "def g(): 2\nx = f()\ndef f(): 1"),
    "one function twice": ("def f(): 1\ndef f(): 2", "def f(): 2\ndef f(): 1"),
    "a default that is a function": (
        "def f(): 1\ndef g(a=f): 2",
        "def g(a=f): 2\ndef f(): 1",
    ),
    "local or only announced": (
        "def f():\n  a: int\n  return lambda: a",
        "def f():\n  return lambda: a",
    ),
    "global": (
        "def f():\n  global a\n  a = 1",
        "def f():\n  global b\n  b = 1",
    ),
    "swapped": (
        "def f():\n  a = 1\n  b = 2\n  return a - b",
        "def f():\n  a = 1\n  b = 2\n  return b - a",
    ),
    "shadowed": (
        "def f(a):\n  b = [a for a in a]\n  return a",
        "def f(a):\n  b = [a for a in a]\n  return b",
    ),
    "asked by name": (
        "def f():\n  a = 1\n  return locals()",
        "def f():\n  b = 1\n  return locals()",
    ),
    "told by f-string": (
        "def f():\n  a = 1\n  return f'{a=}'",
        "def f():\n  b = 1\n  return f'{b=}'",
    ),
    "inner function": ("def f():\n  def g(): 1\n  return g", "def f():\n  def h(): 1\n  return h"),
    "local or global": ("def f():\n  a = 1\n  return a", "def f():\n  a = 1\n  return b"),
}


@pytest.mark.parametrize("name", SAME)
def test_no_change(name):
    first, second = SAME[name]
    assert said(first) == said(second)


@pytest.mark.parametrize("name", OTHER)
def test_change(name):
    first, second = OTHER[name]
    assert said(first) != said(second)


@pytest.mark.parametrize("path", sorted(SCRIPTS.rglob("*.py")), ids=lambda p: p.name)
def test_every_local_of_our_own_code_may_be_renamed(path):
    """Renaming all locals of a function as Python itself sees them changes nothing."""
    import symtable

    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    table = symtable.symtable(source, str(path), "exec")
    functions = {
        (t.get_name(), t.get_lineno()): t
        for t in _tables(table)
        if t.get_type() == "function" and not t.get_children()
    }
    changed = 0
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        line = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        found = functions.get((node.name, line)) or functions.get((node.name, node.lineno))
        if found is None or any(isinstance(n, ast.Import | ast.ImportFrom) for n in ast.walk(node)):
            continue
        names = set(found.get_locals()) - set(found.get_parameters())
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and inner.id in names:
                inner.id = f"renamed_{inner.id}"
                changed += 1
            elif isinstance(inner, ast.ExceptHandler) and inner.name in names:
                inner.name = f"renamed_{inner.name}"
    assert meaning(tree) == meaning(ast.parse(source)), f"{changed} names"


def _tables(table):
    yield table
    for child in table.get_children():
        yield from _tables(child)
