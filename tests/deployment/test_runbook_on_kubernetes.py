"""What the runbook does otherwise on Kubernetes."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import kubectl
import yaml
from deployment_files import VALUES, manifests, named
from deployment_kit import ROOT, procedure

from api.keys import KeyRing


def test_a_key_of_the_api_is_replaced_in_the_secret_that_its_pods_read(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    program = tmp_path / "kubectl"
    stand_in = f'{sys.executable} {kubectl.__file__} {tmp_path / "cluster"} "$@"'
    program.write_text(f"#!/bin/sh\nexec {stand_in}\n")
    program.chmod(0o755)
    old = shell(tmp_path, "python -m api.keys add --file keys.json --id old").strip()
    kept = tmp_path / "cluster" / "fraud-api-keys"
    kept.write_text(kubectl.secret(kept.name, tmp_path / "keys.json"))
    told = shell(tmp_path, procedure("rotate-key-kubernetes"), OLD_KEY="old")
    (new,) = (line for line in told.splitlines() if line.startswith("fk_"))
    data = yaml.safe_load(kept.read_text())["data"]
    assert data.keys() == {"keys.json"}
    (tmp_path / "mounted.json").write_bytes(base64.b64decode(data["keys.json"]))
    ring = KeyRing(tmp_path / "mounted.json")
    found = ring.find(new)
    assert found is not None
    assert found.id == "claims-desk-2"
    assert ring.find(old) is None


def shell(folder: Path, script: str, **variables: str) -> str:
    path = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {"PATH": path, "HOME": str(folder), "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=given | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_pods_and_the_secret_that_it_names_are_those_of_the_manifests() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    (location,) = VALUES["dagster-user-deployments"]["deployments"]
    assert f"deploy/dagster-dagster-user-deployments-{location['name']} --" in text
    (api,) = (m for m in manifests() if named(m) == ("Deployment", "fraud-api"))
    volumes = {v["name"]: v for v in api["spec"]["template"]["spec"]["volumes"]}
    assert volumes["keys"]["secret"]["secretName"] == "fraud-api-keys"
