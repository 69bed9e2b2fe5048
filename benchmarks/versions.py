"""The version of the code behind a number: the library, and what the cell's class reaches by name in the harness."""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from .grid import Cell

ROOT = Path(__file__).resolve().parent.parent
HARNESS = __name__.split(".")[0]
Place = tuple[str, str]  # a module and a name at its top level; no name: all of the module


@functools.cache
def version_of(kind: type[Cell]) -> str:
    """Hash of the code behind the cells of this class, as this process found it: changing the grid, the report or
    another benchmark recomputes nothing; comments, docstrings and layout do not count.
    """
    digest = hashlib.sha256(_library().encode())
    for (module, _), text in sorted(reached(kind.__module__, kind.__qualname__.split(".")[0]).items()):
        digest.update(f"{module}: {text}\n".encode())
    return digest.hexdigest()[:12]


@functools.cache
def _library() -> str:
    folders = (ROOT / name for name in ("pnp", "operators", "priors"))
    files = sorted({path.resolve() for folder in folders for path in folder.rglob("*.py")})
    kept = [path for path in files if "testing" not in path.parts and path.name != "strategies.py"]
    return "\n".join(f"{path.relative_to(ROOT)}: {_essence(_parsed(path))}" for path in kept)


def reached(module: str, name: str) -> dict[Place, str]:
    """The definitions that one of them names, directly or through others, in its own package and in the harness.

    A name is followed wherever it stands, so that a local variable called like a function only counts too much.
    """
    inside = {HARNESS, module.split(".")[0]}
    found: dict[Place, str] = {}
    waiting: list[Place] = [(module, name)]
    while waiting:
        place = waiting.pop()
        source = _source(place[0]) if place[0].split(".")[0] in inside else None
        if place in found or source is None:
            continue
        if place[1] in source.imported:
            waiting.append(source.imported[place[1]])
            continue
        nodes = source.definitions.get(place[1], []) if place[1] else source.tree.body
        if not nodes and source.package == place[0] and place[1] in source.modules:
            waiting.append((f"{place[0]}.{place[1]}", ""))
        if nodes:
            found[place] = "".join(_essence(node) for node in nodes)
            waiting += [(place[0], name) for name in _names(nodes)]
            waiting += [target for node in nodes for _, target in _imports(node, source.package)]
    return found


@dataclasses.dataclass(frozen=True)
class Source:
    """What a module says at its top level: names that it defines, and where those that it imports come from."""

    tree: ast.Module
    package: str
    modules: set[str]  # of a package
    definitions: dict[str, list[ast.stmt]]
    imported: dict[str, Place]


@functools.cache
def _source(module: str) -> Source | None:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin)
    tree = _parsed(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    definitions: dict[str, list[ast.stmt]] = {}
    imported: dict[str, Place] = {}
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported |= dict(_imports(node, package))
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            definitions.setdefault(node.name, []).append(node)
        else:
            for name in _targets(node):
                definitions.setdefault(name, []).append(node)
    return Source(tree, package, {file.stem for file in path.parent.glob("*.py")}, definitions, imported)


def _imports(tree: ast.AST, package: str) -> Iterator[tuple[str, Place]]:
    """The names that import statements bind, and what they stand for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name, (alias.name, "")
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                yield alias.asname or alias.name, (base, alias.name)


def _targets(node: ast.stmt) -> set[str]:
    """The names that a statement binds; of an assignment those on the left, not the variables of a comprehension."""
    trees: list[ast.AST] = [node]
    if isinstance(node, ast.Assign):
        trees = list(node.targets)
    elif isinstance(node, ast.AnnAssign):
        trees = [node.target]
    parts = (part for tree in trees for part in ast.walk(tree))
    return {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}


def _names(nodes: list[ast.stmt]) -> set[str]:
    loaded = (part for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name))
    return {part.id for part in loaded if isinstance(part.ctx, ast.Load)}


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _essence(tree: ast.AST) -> str:
    """The syntax tree without docstrings, as text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)
