"""No module is imported in a circle, so that each can be the first that a process imports.

Imports inside functions and for type checkers alone run when all is loaded, and do not count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"src": ("fraud_mlops", "dagster_metaflow"), ".": ("fraud_assets", "api")}
Graph = dict[str, set[str]]


def modules(root: Path, packages: dict[str, tuple[str, ...]]) -> dict[str, Path]:
    found = {}
    for folder, names in packages.items():
        for name in names:
            for path in (root / folder / name).rglob("*.py"):
                parts = path.relative_to(root / folder).with_suffix("").parts
                found[".".join(parts).removesuffix(".__init__")] = path
    return found


def statements(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that run when the module is loaded."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from statements(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ("body", "orelse", "finalbody"):
                yield from statements(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from statements(handler.body)


def graph_of(known: dict[str, Path]) -> Graph:
    """What is loaded before each module is: what it names, and the packages that is in."""
    graph: Graph = {}
    for module, path in known.items():
        named = set()
        for node in statements(ast.parse(path.read_text()).body):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            else:
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                named |= {name if name in known else str(node.module) for name in inside}
        parents = {
            ".".join(name.split(".")[:n]) for name in named for n in range(name.count(".") + 1)
        }
        begun = {name for name in parents if f"{module}.".startswith(f"{name}.")}
        graph[module] = {name for name in named | (parents - begun) if name in known} - {module}
    return graph


def circle(graph: Graph) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(name) for name in error.args[1]]
    return []


def test_no_module_is_imported_in_a_circle() -> None:
    graph = graph_of(modules(ROOT, PACKAGES))
    assert len(graph) > 300
    assert sum(map(len, graph.values())) > 1000
    assert circle(graph) == []


@pytest.mark.parametrize(
    ("landing", "found"),
    [
        ("from made.claims.files import rows", True),
        ("from made.claims import files", True),
        ("import made.claims.files", True),
        ("try:\n    import made.claims.files\nexcept ImportError:\n    pass", True),
        ("def later():\n    import made.claims.files", False),
        ("if TYPE_CHECKING:\n    import made.claims.files", False),
        ("from made.other import rows", False),
    ],
)
def test_a_circle_through_a_package_is_found(tmp_path: Path, landing: str, found: bool) -> None:
    """The package is loaded before what is in it, and may load what is not ready yet."""
    for name, text in {
        "made/__init__": "",
        "made/other": "rows = 1",
        "made/claims/__init__": "from made.claims.ingest import ingest",
        "made/claims/ingest": "from made.landing import look",
        "made/claims/files": "rows = 1",
        "made/landing": landing,
    }.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert bool(circle(graph_of(modules(tmp_path, {".": ("made",)})))) is found
