"""Manifests, image and settings page fit the server that they start."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from api_kit import ROOT

from api.app import app
from api.service import BODIES
from api.settings import ApiSettings
from fraud_mlops.serving import prediction_log, shadow, watching
from fraud_mlops.settings import Settings

KUBERNETES = ROOT / "infra" / "kubernetes"
OTLP_COLLECTOR = "http://localhost:4318"  # as its specification has it
SPOOL = "/tmp"  # noqa: S108 - of a container
HEADER = "| variable | default | what for |\n|---|---|---|\n"


def manifests() -> list[dict[str, Any]]:
    files = [KUBERNETES / f"{name}.yaml" for name in ("configmap", "deployment", "service")]
    return [part for file in files for part in yaml.safe_load_all(file.read_text())]


def the(kind: str) -> dict[str, Any]:
    (found,) = [m for m in manifests() if m["kind"] == kind]
    return found


def container() -> dict[str, Any]:
    found: dict[str, Any] = the("Deployment")["spec"]["template"]["spec"]["containers"][0]
    return found


def test_every_manifest_has_a_kind_a_version_and_a_name() -> None:
    for manifest in manifests():
        assert manifest["apiVersion"]
        assert manifest["metadata"]["name"].startswith("fraud-api")


def test_selectors_find_the_pods() -> None:
    labels = the("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        the("Deployment")["spec"]["selector"]["matchLabels"],
        the("Service")["spec"]["selector"],
        the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        the("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels for selector in selectors)
    assert the("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "fraud-api"


def test_probes_ask_what_the_server_answers() -> None:
    paths = {getattr(route, "path", "") for route in app.routes}
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container()[probe]["httpGet"]
        assert asked["path"] in paths
        assert asked["port"] in ports
    assert container()["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container()["readinessProbe"]["httpGet"]["path"] == "/readyz"
    image = (ROOT / "infra" / "api" / "Dockerfile").read_text()
    assert f"EXPOSE {ports['http']}" in image
    assert f"--port {ports['http']}" in image


def test_prometheus_is_told_where_and_signs_in() -> None:
    """An annotation carries no key, so that what it makes Prometheus do ends in 401."""
    pod = the("Deployment")["spec"]["template"]
    assert "prometheus.io" not in json.dumps(pod["metadata"])
    monitor = yaml.safe_load((KUBERNETES / "prometheus" / "podmonitor.yaml").read_text())
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in container()["ports"]}
    assert endpoint["path"] in {getattr(route, "path", "") for route in app.routes}
    assert endpoint["authorization"]["credentials"]["name"]


def test_what_is_set_is_a_setting() -> None:
    known = {f.alias for m in (ApiSettings, Settings) for f in m.model_fields.values()}
    assert set(the("ConfigMap")["data"]) <= known
    image = (ROOT / "infra" / "api" / "Dockerfile").read_text()
    assert set(re.findall(r"FRAUD_[A-Z_]+", image)) <= known
    mounts = [mount["mountPath"] for mount in container()["volumeMounts"]]
    assert str(Path(the("ConfigMap")["data"]["FRAUD_API_KEYS_FILE"]).parent) in mounts


def test_containers_run_without_privileges() -> None:
    pod = the("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    inner = container()["securityContext"]
    assert inner["readOnlyRootFilesystem"] is True
    assert inner["capabilities"] == {"drop": ["ALL"]}
    grace = pod["terminationGracePeriodSeconds"]
    stop = re.search(
        r"--timeout-graceful-shutdown (\d+)", (ROOT / "infra/api/Dockerfile").read_text()
    )
    assert stop is not None
    before = int(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    log = prediction_log.CLOSE_SECONDS + prediction_log.LAST_TRY_SECONDS
    after = watching.CLOSE_SECONDS + shadow.CLOSE_SECONDS + log
    assert grace >= before + int(stop[1]) + after
    compose = yaml.safe_load((ROOT / "infra" / "compose" / "compose.yaml").read_text())
    assert int(compose["services"]["api"]["stop_grace_period"].removesuffix("s")) >= (
        int(stop[1]) + after
    )


def test_docs_say_how_long_requests_in_flight_have_when_a_server_is_told_to_stop() -> None:
    option = r"--timeout-graceful-shutdown[ =](\d+)"
    files = ("infra/api/Dockerfile", "infra/compose/compose.yaml")
    given = {re.findall(option, (ROOT / file).read_text())[0] for file in files}
    page = (ROOT / "docs" / "api.md").read_text()
    (sentence,) = re.findall(r"- SIGTERM:.*?`--timeout-graceful-shutdown`", page, re.DOTALL)
    assert set(re.findall(r"(\d+) seconds", sentence)) == given


def test_what_workers_count_lies_where_a_container_may_write() -> None:
    """Whoever starts them, with however many: nobody has to set a variable."""
    text = (ROOT / "infra" / "api" / "Dockerfile").read_text()
    (folder,) = re.findall(r"PROMETHEUS_MULTIPROC_DIR=(\S+)", text)
    assert mounted(folder)["emptyDir"]["medium"] == "Memory"
    assert not {"command", "args"} & container().keys()
    compose = yaml.safe_load((ROOT / "infra" / "compose" / "compose.yaml").read_text())
    service = compose["services"]["api"]
    assert str(Path(folder).parent) in service["tmpfs"]
    assert service["command"][:3] == ["python", "-m", "api.serve"]


def test_the_image_has_what_sends_traces_and_its_pods_reach_a_collector() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / "infra" / "requirements.lock").read_text()
    for needed in project["optional-dependencies"]["otel"]:
        assert re.search(rf"^{re.split('[<>=]', needed)[0]}==", lock, re.MULTILINE), needed
    ports = {to["port"] for rule in the("NetworkPolicy")["spec"]["egress"] for to in rule["ports"]}
    assert urlsplit(OTLP_COLLECTOR).port in ports


def test_bodies_fill_neither_what_workers_count_in_nor_what_waits_for_the_lakehouse() -> None:
    """A file that is mapped and has no room ends its process; a log without room ends scoring."""
    image = (ROOT / "infra" / "api" / "Dockerfile").read_text()
    (metrics,) = re.findall(r"PROMETHEUS_MULTIPROC_DIR=(\S+)", image)
    (waiting,) = re.findall(r"FRAUD_API_LOG_FOLDER=(\S+)", image)
    assert len({mounted(folder)["name"] for folder in (SPOOL, metrics, waiting)}) == 3
    assert "TMPDIR" not in image
    assert gibibytes(mounted(metrics)) < 0.25  # of the pod's memory
    most = ApiSettings.model_fields["max_batch_bytes"].default
    assert gibibytes(mounted(SPOOL)) > BODIES * most / (1 << 30)


def gibibytes(volume: dict[str, Any]) -> float:
    """The limit of a volume that ends with its pod."""
    size = volume["emptyDir"]["sizeLimit"]
    return float(size[:-2]) / {"Mi": 1024, "Gi": 1}[size[-2:]]


def mounted(folder: str) -> dict[str, Any]:
    """The pod's volume for a folder."""
    mounts = {mount["mountPath"]: mount["name"] for mount in container()["volumeMounts"]}
    volumes = {one["name"]: one for one in the("Deployment")["spec"]["template"]["spec"]["volumes"]}
    found: dict[str, Any] = volumes[mounts[folder]]
    return found


def test_the_page_lists_every_variable_of_the_api() -> None:
    rows = [
        f"| `{f.alias}` | {'' if f.default is None or f.default == '' else f'`{f.default}`'} "
        f"| {f.description} |"
        for f in ApiSettings.model_fields.values()
    ]
    expected = HEADER + "\n".join(rows) + "\n"
    page = (ROOT / "docs" / "api.md").read_text()
    assert expected in page, f"docs/api.md should have:\n\n{expected}"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("FRAUD_API_OPEN", "maybe", "FRAUD_API_OPEN='maybe'"),
        ("FRAUD_API_KEYS_FILE", "/nowhere/keys.json", "FRAUD_API_KEYS_FILE=/nowhere/keys.json: "),
        ("FRAUD_API_OIDC_ISSUER", "http://issuer.example", "keys that came over plain HTTP"),
        ("LAKEHOUSE_URI", "gs://claims", "gs: is no store for a lakehouse"),
        ("FRAUD_API_LOG_FOLDER", "/proc/waiting", "nothing can be written to /proc/waiting"),
    ],
)
@pytest.mark.parametrize(
    "start", ["uvicorn api.app:app", "api.serve", "api.serve --workers 2"], ids=str
)
def test_a_wrong_setting_ends_the_server_without_a_stack_trace(
    name: str, value: str, told: str, start: str
) -> None:
    audience = {"FRAUD_API_OIDC_AUDIENCE": "fraud"} if name == "FRAUD_API_OIDC_ISSUER" else {}
    ran = subprocess.run(
        [sys.executable, "-m", *start.split(), "--port", "0"],
        cwd=ROOT, env={**os.environ, **audience, name: value},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert told in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_wrong_setting_in_an_env_file_ends_the_server_too(tmp_path: Path, how: str) -> None:
    file = tmp_path / "api.env"
    file.write_text("LAKEHOUSE_URI=gs://claims\nFRAUD_API_OPEN=maybe\n")
    given = {k: v for k, v in os.environ.items() if k != "LAKEHOUSE_URI"} | {"FRAUD_API_OPEN": "1"}
    options = ["--env-file", str(file)] if how == "option" else []
    if how == "variable":
        given["UVICORN_ENV_FILE"] = str(file)
    ran = subprocess.run(
        [sys.executable, "-m", "api.serve", "--port", "0", *options],
        cwd=ROOT, env=given, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "gs: is no store for a lakehouse" in ran.stderr  # FRAUD_API_OPEN is the environment's
