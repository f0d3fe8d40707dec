"""Who may import whom, how long a module may be, and what a light command may load."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "flows", "fraud_assets", "api", "scripts")
CODE = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
FLOW_MODULES = {path.stem for path in (ROOT / "flows").glob("*.py")}
HEAVY = (
    *("torch", "sklearn", "scipy", "duckdb", "pandera", "optuna", "matplotlib", "metaflow"),
    "snowflake.connector",
)
MOST_LINES = 300

# Packages that a folder must not know, directly or by name in an import inside a function.
FORBIDDEN = {
    "src/fraud_mlops": {
        *("dagster", "dagster_metaflow", "fraud_assets", "metaflow", "fastapi"),
        *FLOW_MODULES,
    },
    "src/dagster_metaflow": {"fraud_mlops", "fraud_assets", "fastapi", *FLOW_MODULES},
    "src/dagster_metaflow/reports.py": {"dagster", "metaflow"},
    "flows": {"dagster", "fraud_assets", "fastapi"},
    "fraud_assets": {"metaflow", "fastapi", "api", *FLOW_MODULES},
    "api": {"dagster", "dagster_metaflow", "fraud_assets", "metaflow", *FLOW_MODULES},
}


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            yield node.lineno, node.module or ""


@pytest.mark.parametrize("place", FORBIDDEN)
def test_each_layer_imports_only_what_it_may(place: str) -> None:
    paths = [path for path in CODE if path.is_relative_to(ROOT / place)]
    assert paths
    broken = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in paths
        for line, name in imports(ast.parse(path.read_text()))
        if name.partition(".")[0] in FORBIDDEN[place]
    ]
    assert not broken, "\n".join(broken)


def test_flows_take_only_the_report_writer_of_dagster_metaflow() -> None:
    taken = {
        name
        for path in (ROOT / "flows").glob("*.py")
        for _, name in imports(ast.parse(path.read_text()))
        if name.startswith("dagster_metaflow")
    }
    assert taken <= {"dagster_metaflow.reports"}


def test_import_linter_agrees() -> None:
    """Its contracts also follow imports of imports."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_module_is_too_long_to_be_read_at_one_sitting() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in CODE}
    assert {p: n for p, n in lengths.items() if n > MOST_LINES} == {}


LIGHT = {
    "fraud_mlops.cli": (*HEAVY, "numpy", "pandas", "pyarrow", "pydantic"),
    "dagster_metaflow.reports": (*HEAVY, "numpy", "pandas", "pyarrow", "fsspec", "dagster"),
    "fraud_assets.launcher.command": (*HEAVY, "numpy", "pandas", "pyarrow", "dagster"),
    "fraud_assets.definitions": (*HEAVY, "pandas"),
    "dagster_metaflow.component": HEAVY,
    "fraud_mlops.catalog": (*HEAVY, "numpy", "pandas", "pyarrow"),
    "fraud_mlops.registry.pointers": (*HEAVY, "pandas", "pyarrow"),
    "fraud_mlops.lakehouse.partitions": HEAVY,
    "fraud_mlops.warehouse.choice": HEAVY,
    "fraud_mlops.claims": (*HEAVY, "pandas"),
    "fraud_mlops.synthetic": HEAVY,
}


@pytest.mark.parametrize("module", LIGHT)
def test_what_is_light_loads_nothing_heavy(module: str) -> None:
    """A step, a command and a remote reporter pay only for what they use."""
    heavy = LIGHT[module]
    script = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def tracked_texts() -> Iterator[tuple[Path, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and path.suffix not in {".png", ".svg", ".parquet"}:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")


def test_only_the_real_data_beside_the_checkout_is_named() -> None:
    """Nothing else of that folder may be needed to understand or to run the project."""
    outside = re.compile(r"\.\./shared(?!/data\b)")
    found = [
        f"{path}:{number}"
        for path, text in tracked_texts()
        if path.name != Path(__file__).name
        for number, line in enumerate(text.splitlines(), 1)
        if outside.search(line)
    ]
    assert not found
