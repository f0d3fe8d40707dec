"""What compose, Kubernetes and Helm files promise: pinned, without privileges, without secrets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from composed import ROOT
from deployment_files import SERVICES, VALUES, compose, example, manifests, named
from jsonschema.validators import validator_for

KUBECONFIG = """
current-context: one
contexts: [{name: one, context: {cluster: one, user: one}}]
clusters: [{name: one, cluster: {server: "https://127.0.0.1:9"}}]
users: [{name: one, user: {}}]
"""
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|PSWD|KEY$|URLS", re.IGNORECASE)
KINDS = {
    "ConfigMap": "V1ConfigMap",
    "Deployment": "V1Deployment",
    "HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler",
    "NetworkPolicy": "V1NetworkPolicy",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
    "Service": "V1Service",
    "ServiceAccount": "V1ServiceAccount",
}


def refused(document: dict[str, Any]) -> list[str]:
    """What the compose specification's schema, which check-jsonschema carries, has against it."""
    schema = get_builtin_schema("vendor.compose-spec")
    return [error.message for error in validator_for(schema)(schema).iter_errors(document)]


def test_the_compose_file_is_one_of_the_specification() -> None:
    assert refused(compose()) == []
    mistyped = compose()
    mistyped["services"]["api"]["health_check"] = {"interval": 5}
    (told,) = refused(mistyped)
    assert "'health_check'" in told


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_no_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":\d+\.\d+", service["image"])  # a version, and not what is latest
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert service["logging"]["options"]["max-size"]
    if name != "admin":
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"


def test_no_secret_stands_in_a_setting() -> None:
    for name, service in SERVICES.items():
        for variable in service.get("environment", {}):
            assert not SECRET.search(variable) or variable.endswith("_FILE"), f"{name}: {variable}"
    assert all(set(one) == {"file"} for one in compose()["secrets"].values())
    assert not [name for name in example() if SECRET.search(name)]


def test_only_the_gateway_is_reached_from_outside() -> None:
    assert [name for name, one in SERVICES.items() if "ports" in one] == ["gateway"]
    networks = compose()["networks"]
    for name in ("webserver", "viewer", "postgres", "metaflow"):
        assert all(networks[network]["internal"] for network in SERVICES[name]["networks"])


def test_images_run_as_nobody_and_read_secrets_from_files() -> None:
    files = ["docker/Dockerfile", "docker/metaflow.Dockerfile", "gateway/Dockerfile"]
    for file in [*files, "api/Dockerfile"]:
        text = (ROOT / "infra" / file).read_text()
        assert "\nUSER 10001\n" in text
        assert 'ENTRYPOINT ["with-secrets"]' in text
        for copied in re.findall(r"^COPY (?:--chmod=\d+ )?(?!--from)(.+)$", text, re.MULTILINE):
            for source in copied.split()[:-1]:
                assert (ROOT / source).exists(), f"{file}: {source}"


def test_images_compile_what_is_ours_and_no_packages() -> None:
    """pip has compiled those, and compileall fails at one: PyTorch has files for later Pythons."""
    for file in (ROOT / "infra").rglob("*Dockerfile"):
        for given in re.findall(r"-m compileall -q (.+)", file.read_text()):
            assert [path for path in given.split() if not (ROOT / path).is_dir()] == [], file


def test_the_image_of_sensors_knows_who_changed_it_last() -> None:
    text = (ROOT / "infra" / "docker" / "Dockerfile").read_text()
    assert "\nARG CHANGED=\nENV FRAUD_CHANGED_BY=$CHANGED\n" in text
    assert "--build-arg CHANGED=" in text


def test_every_variable_of_the_gateway_is_given_by_both() -> None:
    text = (ROOT / "infra" / "gateway" / "gateway.conf").read_text()
    needed = set(re.findall(r"\$\{(\w+)\}", text))
    needed -= {"GATEWAY_RUN", "OIDC_CA_BUNDLE"}  # of the image
    needed -= {"OIDC_CLIENT_SECRET", "OIDC_COOKIE_SECRET"}
    assert set(SERVICES["gateway"]["environment"]) == needed
    (settings,) = (m for m in manifests() if named(m) == ("ConfigMap", "fraud-gateway"))
    assert set(settings["data"]) == needed


# -- Kubernetes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("manifest", [*manifests()], ids=lambda m: "/".join(named(m)))
def test_a_manifest_is_one_of_kubernetes(manifest: dict[str, Any]) -> None:
    """Each field, by the models that Kubernetes' client is generated with."""
    from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict
    from kubernetes import client

    model = getattr(client, KINDS[manifest["kind"]])
    k8s_model_from_dict(model, k8s_snake_case_dict(model, manifest))
    if manifest["kind"] == "Deployment":
        pod = manifest["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["limits"]
            for one in container.get("env", ()):
                assert not SECRET.search(one["name"]) or "valueFrom" in one
    if manifest["kind"] == "ConfigMap":
        assert not [n for n in manifest["data"] if SECRET.search(n) and not n.endswith("_FILE")]


def test_webservers_are_reached_through_the_gateway_only() -> None:
    (policy,) = (
        m["spec"] for m in manifests() if named(m) == ("NetworkPolicy", "dagster-webserver")
    )
    (source,) = policy["ingress"][0]["from"]
    assert source["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "fraud-gateway"}
    published = [m for m in manifests() if m["kind"] == "Service" and "type" in m["spec"]]
    assert [m["metadata"]["name"] for m in published] == ["fraud-gateway"]
    assert VALUES["dagsterWebserver"]["service"]["type"] == "ClusterIP"
    assert VALUES["dagsterWebserver"]["enableReadOnly"] is True


def admits(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a pod with these labels is one that a network policy means."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", ())
    )


@pytest.mark.parametrize("policy", ["metaflow", "dagster-code"])
def test_the_pods_of_runs_reach_what_they_need(policy: str) -> None:
    """With the labels that dagster-k8s gives them."""
    from dagster_k8s.job import DagsterK8sJobConfig, construct_dagster_k8s_job

    job = construct_dagster_k8s_job(
        DagsterK8sJobConfig(job_image="image"), ["dagster"], "run-1", component="run_worker"
    )
    labels = job.to_dict()["spec"]["template"]["metadata"]["labels"]
    (found,) = (m["spec"] for m in manifests() if named(m) == ("NetworkPolicy", policy))
    (rule,) = found["ingress"]
    assert any(admits(source["podSelector"], labels) for source in rule["from"])
    other = {"app.kubernetes.io/name": "other"}
    assert not any(admits(source["podSelector"], other) for source in rule["from"])


def test_webservers_listen_where_they_may_and_where_the_gateway_asks() -> None:
    webserver = VALUES["dagsterWebserver"]
    port = webserver["service"]["port"]
    assert port >= 1024  # nobody may bind a lower one without a capability
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        assert webserver[probe]["httpGet"]["port"] == port
    (settings,) = (m["data"] for m in manifests() if named(m) == ("ConfigMap", "fraud-gateway"))
    for name in ("DAGSTER_WEBSERVER", "DAGSTER_VIEWER"):
        assert settings[name].endswith(f":{port}")


def test_the_chart_gets_what_dagster_yaml_says() -> None:
    ours = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert VALUES["additionalInstanceConfig"]["concurrency"] == ours["concurrency"]
    assert VALUES["additionalInstanceConfig"]["nux"] == ours["nux"]
    theirs = {"sensor": "sensor", "schedule": "schedule", "autoMaterialize": "auto_materialize"}
    for chart, instance in theirs.items():
        days = ours["retention"][instance]["purge_after_days"]
        assert VALUES["retention"][chart]["purgeAfterDays"] == days
    assert VALUES["dagsterDaemon"]["runRetries"]["maxRetries"] == ours["run_retries"]["max_retries"]
    monitoring = VALUES["dagsterDaemon"]["runMonitoring"]
    assert monitoring["cancelTimeoutSeconds"] == ours["run_monitoring"]["cancel_timeout_seconds"]
    assert VALUES["telemetry"] == ours["telemetry"]


def test_the_chart_is_of_the_dagster_that_is_installed() -> None:
    (pinned,) = re.findall(
        r"^dagster==(.+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE
    )
    for name in ("docs/deployment.md", "infra/helm/values.yaml", ".github/workflows/checks.yml"):
        assert re.findall(r"--version ([\d.]+)", (ROOT / name).read_text()) == [pinned], name


def test_a_run_has_its_own_resources_and_the_settings_and_secrets_of_the_code_location(
    tmp_path: Path,
) -> None:
    (location,) = VALUES["dagster-user-deployments"]["deployments"]
    launcher = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    config = launched_with(location, launcher, tmp_path)
    container = config.container_config
    assert container["resources"]["limits"] == launcher["resources"]["limits"] == {"memory": "16Gi"}
    assert container["resources"]["limits"] != location["resources"]["limits"]
    assert {"config_map_ref": {"name": "fraud-mlops"}} in container["env_from"]
    assert {"secret_ref": {"name": "fraud-mlops"}} in container["env_from"]
    assert location["envConfigMaps"] == launcher["envConfigMaps"]
    assert location["envSecrets"] == launcher["envSecrets"]
    assert config.job_spec_config["ttl_seconds_after_finished"] == 86400


def launched_with(location: dict[str, Any], launcher: dict[str, Any], folder: Path) -> Any:
    """What a run's job is made of: the launcher's part, and over it what the chart gives the code
    location for its runs (`dagsterUserDeployments.k8sContainerContext`), merged by dagster-k8s.
    """
    from dagster._core.code_pointer import ModuleCodePointer
    from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
    from dagster._core.storage.dagster_run import DagsterRun
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.container_context import K8sContainerContext

    (folder / "kubeconfig").write_text(KUBECONFIG)
    part = {
        "env_config_maps": names(location["envConfigMaps"]),
        "env_secrets": names(location["envSecrets"]),
        "image_pull_policy": location["image"]["pullPolicy"],
        "resources": location["resources"],
    }
    context = {"k8s": part} if location["includeConfigInLaunchedRuns"]["enabled"] else None
    pointer = ModuleCodePointer("fraud_assets.definitions", "defs")
    repository = RepositoryPythonOrigin("python", pointer, container_context=context)
    run = DagsterRun(job_name="job", job_code_origin=JobPythonOrigin("job", repository))
    keys = {"podSpecConfig": "pod_spec_config", "jobSpecConfig": "job_spec_config"}
    made = K8sRunLauncher(
        service_account_name=VALUES["global"]["serviceAccountName"],
        instance_config_map="instance",
        dagster_home=VALUES["global"]["dagsterHome"],
        load_incluster_config=False,
        kubeconfig_file=str(folder / "kubeconfig"),
        env_config_maps=names(launcher["envConfigMaps"]),
        env_secrets=names(launcher["envSecrets"]),
        resources=launcher["resources"],
        run_k8s_config={keys[key]: value for key, value in launcher["runK8sConfig"].items()},
    )
    merged = K8sContainerContext.create_for_run(run, made, include_run_tags=True)
    return merged.run_k8s_config


def names(references: list[dict[str, str]]) -> list[str]:
    return [one["name"] for one in references]


def test_the_chart_stores_no_password() -> None:
    assert VALUES["generatePostgresqlPasswordSecret"] is False
    assert "postgresqlPassword" not in VALUES["postgresql"]
    for part in ("dagsterWebserver", "dagsterDaemon"):
        assert VALUES[part]["podSecurityContext"]["runAsNonRoot"] is True
        assert VALUES[part]["resources"]["limits"]
    (location,) = VALUES["dagster-user-deployments"]["deployments"]
    assert location["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert (
        Path(ROOT / location["dagsterApiGrpcArgs"][1].replace(".", "/")).with_suffix(".py").exists()
    )
