"""Each JSON file of the Power BI project is as Microsoft's public schema of it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "validate_powerbi.py"
sys.path.append(str(SCRIPT.parent))
from validate_powerbi import ADDRESS, PROJECT, SCHEMAS, complaints, json_files  # noqa: E402

VISUAL = Path("FraudMetrics.Report/definition/pages/overview/visuals/card_claims/visual.json")


def validator(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        env=os.environ | variables,
    )


def test_the_project_keeps_every_schema() -> None:
    done = validator()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"{len(json_files())} files, 0 complaints\n"
    assert len(json_files()) > 30


def test_every_copy_of_a_schema_is_needed_and_says_whose_it_is() -> None:
    named = {json.loads(path.read_text())["$schema"] for path in json_files()}
    assert all(address.startswith(f"{ADDRESS}fabric/") for address in named)
    copies = {f"{ADDRESS}{p.relative_to(SCHEMAS).as_posix()}" for p in SCHEMAS.rglob("*.json")}
    referred = "".join(path.read_text(encoding="utf-8-sig") for path in SCHEMAS.rglob("*.json"))
    parts = {address: "/".join(address.split("/")[-3:]) for address in copies - named}
    assert not [address for address, part in parts.items() if part not in referred]
    assert named <= copies
    assert "MIT License" in (SCHEMAS / "LICENSE").read_text()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"visal": {}}, "'visal' was unexpected"),
        ({"position": {"x": "left", "y": 0, "width": 1, "height": 1}}, "$.position.x: 'left'"),
        ({"$schema": f"{ADDRESS}fabric/none.json"}, "is none of the schemas"),
    ],
)
def test_what_a_schema_does_not_know_is_told(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    project = tmp_path / "powerbi"
    shutil.copytree(PROJECT, project)
    path = project / VISUAL
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    [complaint] = complaints(project=project)
    assert complaint.startswith(str(VISUAL))
    assert told in complaint


def test_a_file_that_is_no_json_is_told(tmp_path: Path) -> None:
    project = tmp_path / "powerbi"
    shutil.copytree(PROJECT, project)
    (project / VISUAL).write_text("{")
    [complaint] = complaints(project=project)
    assert complaint.startswith(f"{VISUAL}: is no JSON: Expecting")


def test_a_missing_package_is_told_with_the_command_that_brings_it(tmp_path: Path) -> None:
    (tmp_path / "jsonschema.py").write_text("raise ModuleNotFoundError(name='jsonschema')")
    done = validator(PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: jsonschema is not installed; pip install jsonschema\n"


def test_a_schema_that_is_not_there_is_told(tmp_path: Path) -> None:
    shutil.copytree(SCHEMAS, tmp_path / "schemas")
    inner = next(p for p in (tmp_path / "schemas").rglob("*.json") if "semanticQuery" in p.parts)
    inner.unlink()
    done = validator(str(tmp_path / "schemas"))
    assert (done.returncode, done.stderr) == (1, "")
    assert f"its schema refers to what is not in {tmp_path}/schemas: Unresolvable" in done.stdout


def test_the_validator_says_how_it_is_used(tmp_path: Path) -> None:
    for arguments in ([str(tmp_path)], ["one", "two"]):
        done = validator(*arguments)
        assert done.returncode == 2
        assert "github.com/microsoft/json-schemas" in done.stderr
