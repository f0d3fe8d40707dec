"""What is done otherwise on Kubernetes, by the runbook and by the page on deployment."""

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
    old = cluster_with_a_key(tmp_path, "old")
    kept = tmp_path / "cluster" / "fraud-api-keys"
    told = shell(tmp_path, procedure("rotate-key-kubernetes"), OLD_KEY="old")
    (new,) = (line for line in told.splitlines() if line.startswith("fk_"))
    ring = mounted(tmp_path, kept)
    found = ring.find(new)
    assert found is not None
    assert found.id == "claims-desk-2"
    assert ring.find(old) is None


def test_prometheus_gets_a_key_and_its_monitor_finds_it(tmp_path: Path) -> None:
    old = cluster_with_a_key(tmp_path, "old")
    shell(tmp_path, procedure("metrics-key-kubernetes", "deployment.md"))
    cluster = tmp_path / "cluster"
    monitor = yaml.safe_load((cluster / "podmonitor.yaml").read_text())
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    named_so = endpoint["authorization"]["credentials"]
    secret = yaml.safe_load((cluster / named_so["name"]).read_text())["data"]
    key = base64.b64decode(secret[named_so["key"]]).decode()
    ring = mounted(tmp_path, cluster / "fraud-api-keys")
    found = ring.find(key)
    assert found is not None
    assert (found.id, found.scopes) == ("prometheus", ("metrics",))
    assert ring.find(old) is not None


def cluster_with_a_key(folder: Path, name: str) -> str:
    """`kubectl` over a folder that has the Secret of the API with this key."""
    (folder / "cluster").mkdir()
    program = folder / "kubectl"
    stand_in = f'{sys.executable} {kubectl.__file__} {folder / "cluster"} "$@"'
    program.write_text(f"#!/bin/sh\nexec {stand_in}\n")
    program.chmod(0o755)
    key = shell(folder, f"python -m api.keys add --file keys.json --id {name}").strip()
    kept = folder / "cluster" / "fraud-api-keys"
    kept.write_text(kubectl.secret(kept.name, folder / "keys.json"))
    return key


def mounted(folder: Path, kept: Path) -> KeyRing:
    """The keys of a Secret, as a pod reads them."""
    data = yaml.safe_load(kept.read_text())["data"]
    assert data.keys() == {"keys.json"}
    (folder / "mounted.json").write_bytes(base64.b64decode(data["keys.json"]))
    return KeyRing(folder / "mounted.json")


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
