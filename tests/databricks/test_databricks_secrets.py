"""What is secret comes from a scope, is masked in what a run says, and is not sent."""

from __future__ import annotations

import dataclasses
import json

import pytest
from databricks_kit import ShellRuns, left
from left_behind import leaks

from dagster_metaflow.backends.databricks_driver import Output
from dagster_metaflow.backends.databricks_refused import refuse_credentials
from dagster_metaflow.backends.databricks_settings import variables
from dagster_metaflow.backends.protocol import LaunchError, RunState, UsageError

SCOPE, NOWHERE = "toy", "nowhere"


def test_secrets_come_from_the_scope_and_are_seen_nowhere(stage: ShellRuns) -> None:
    stage.workspace.secrets[SCOPE] = {"toy-secret": "sesame-open"}
    handle = stage.launched(secret_scope=SCOPE)
    assert stage.ended(handle).state is RunState.SUCCEEDED
    assert any("the secret is [REDACTED]" in line for line in stage.log(handle))
    attempt = stage.workspace.jobs.runs[handle["run"]].last
    assert "[REDACTED]" in attempt.logs()
    left = [p.read_text() for p in (stage.folder / "lake").rglob("*") if p.is_file()]
    seen = [*stage.workspace.bodies, attempt.logs(), *left]
    assert not any("sesame-open" in text for text in seen)


@pytest.mark.flow
def test_metaflow_keeps_no_secret_in_its_own_logs_of_tasks(stage: ShellRuns) -> None:
    stage.workspace.secrets[SCOPE] = {"toy-secret": "sesame-open\n"}
    flow = stage.repository.root / "flows" / "telling_flow.py"
    request = dataclasses.replace(stage.request(), flow_file=flow, parameters={})
    backend = stage.backend(secret_scope=SCOPE)
    handle = backend.launch(request, backend.prepare(request))
    assert stage.ended(handle).state is RunState.SUCCEEDED
    logs = [p.read_bytes() for p in (stage.folder / "lake" / "_metaflow").rglob("*.log")]
    for said, times in ((b"start has [REDACTED]\n", 2), (b"\xff part has [REDACTED]\n", 1)):
        assert sum(said in log for log in logs) == times
    assert any(b"run by set-by-the-flow" in log for log in logs)
    marks = {"TOY_SECRET": "sesame-open"}
    assert leaks(stage.folder, marks) + leaks(stage.workspace.machine.folder, marks) == []


def test_a_scope_that_is_not_there_is_named(stage: ShellRuns) -> None:
    status = stage.ended(stage.launched(secret_scope=NOWHERE))
    assert status.state is RunState.FAILED
    assert "Scope nowhere does not exist" in str(status.reason)


def test_a_secret_among_the_variables_is_refused(stage: ShellRuns) -> None:
    stage.variables |= {"AZURE_STORAGE_SAS_TOKEN": "sig=x"}
    with pytest.raises(LaunchError, match=r"AZURE_STORAGE_SAS_TOKEN.*secret scope") as told:
        stage.launched()
    assert "sig=x" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://me:sesame@host/db"),
        ("MODEL_STORE", "https://ghp_sesame@github.com/me"),
        ("LANDING", "https://a.blob.core.windows.net/c?sv=1&sig=sesame"),
        ("STORE", "AccountName=a;AccountKey=sesame"),
        ("CERTIFICATE", "-----BEGIN RSA PRIVATE KEY-----sesame"),
        ("EXTRA", '{"x-api-key": "sesame"}'),
        ("OTHER", "Authorization: Bearer sesame"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "sesame"),
    ],
)
def test_a_credential_in_whatever_is_sent_is_refused_by_its_name(
    stage: ShellRuns, name: str, value: str
) -> None:
    stage.variables |= {name: value}
    with pytest.raises(UsageError, match=rf"^{name}: .*secret scope") as told:
        stage.launched()
    assert "sesame" not in str(told.value)
    assert not stage.workspace.calls["jobs/runs/submit"]


def test_a_credential_among_the_parameters_is_refused(stage: ShellRuns) -> None:
    request = stage.request(source="s3://b/c?X-Amz-Signature=sesame")
    backend = stage.backend()
    with pytest.raises(UsageError, match=r"--source: looks like") as told:
        backend.launch(request, backend.prepare(request))
    assert "sesame" not in str(told.value)


@pytest.mark.parametrize(
    "option",
    ["api-token", "azure-client-secret", "db_pass", "apiKey", "sas", "pgpass", "basic-auth"],
)
def test_a_parameter_that_is_called_a_secret_is_refused(stage: ShellRuns, option: str) -> None:
    request = stage.request(**{option: "sesame"})
    backend = stage.backend()
    with pytest.raises(UsageError, match=rf"--{option}: looks like") as told:
        backend.launch(request, backend.prepare(request))
    assert "sesame" not in str(told.value)


@pytest.mark.parametrize(
    "value",
    [
        "dapi" + "0a" * 16,
        "ghp_" + "a1" * 18,
        "github_pat_" + "a1" * 20,
        "glpat-" + "a1" * 10,
        "AKIA" + "A1" * 8,
        "xoxb-" + "1" * 12,
        ".".join(["eyJ" + "a" * 12, "eyJ" + "b" * 12, "c" * 12]),
        "abc8Q~" + "a1" * 17,
    ],
)
def test_a_token_of_a_known_form_is_refused_whatever_it_is_called(
    stage: ShellRuns, value: str
) -> None:
    backend = stage.backend()
    for request in (stage.request(note=f"with {value}"), stage.request(size=3)):
        with pytest.raises(UsageError, match=r"(--note|NOTE): looks like") as told:
            backend.launch(request, backend.prepare(request))
        assert value not in str(told.value)
        backend = stage.backend(environment={**stage.environment(), "NOTE": value})


@pytest.mark.parametrize("name", ["DB_PASS", "AUTH", "PGPASS", "db-password"])
def test_a_variable_that_is_called_a_secret_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"^{name}: "):
        variables({name: "sesame"})
    with pytest.raises(UsageError, match=f"^{name}: "):
        refuse_credentials([f"--variable={name}=sesame"])


def test_what_only_sounds_like_a_secret_is_sent() -> None:
    driver_s = ["--token=a-run-1", "--secret-scope=mine", "--variable=METAFLOW_USER=me"]
    mine = ["--join-key=claim_id", "--passes=3", "--sigma=2", "--tokens=5", "--no-auth=true",
            "--design=a", "--note=ghp_ and dapi are forms", "--hash=" + "0a" * 32]  # fmt: skip
    refuse_credentials([*driver_s, "--", *mine])


def test_of_this_processs_variables_only_those_go_that_a_driver_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needed = {
        "METAFLOW_SERVICE_URL": "https://metadata.example/",
        "METAFLOW_DATASTORE_SYSROOT_AZURE": "lake/records",
        "AZURE_STORAGE_ACCOUNT_NAME": "account",
    }
    others = {
        "METAFLOW_SERVICE_HEADERS": '{"x-api-key": "sesame"}',
        "METAFLOW_SERVICE_AUTH_KEY": "sesame",
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": "/here",
        "METAFLOW_DEFAULT_DATASTORE": "local",
        "METAFLOW_DEFAULT_SECRET_ROLE": "role",
    }
    for name, value in (needed | others).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("THREADS", "3")
    sent = variables({}, forwarded=["THREADS", "NOT_SET"])
    assert sent.pop("THREADS") == "3"
    assert "NOT_SET" not in sent
    assert needed.items() <= sent.items()
    assert not set(others) & set(sent)
    refuse_credentials([f"--variable={name}={value}" for name, value in sent.items()])
    refuse_credentials(["--output-uri=abfss://lake@account.dfs.core.windows.net/fraud"])


PEM = "-----BEGIN PRIVATE KEY-----\nMIIEsesame1\nsesame2line\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("secret", "printed"),
    [
        ("line-one-sesame\nline-two-sesame", "it says line-two-sesame"),
        (PEM, "key: sesame2line"),
        (json.dumps({"private_key": PEM, "id": 7}), "MIIEsesame1 here"),
        ("AccountName=account1;AccountKey=sesame+key==;x=1", "key sesame+key=="),
        ("postgres://me:sesame-password@host/db", "login sesame-password"),
        (json.dumps({"store": "AccountName=a;AccountKey=sesame+key=="}), "sesame+key=="),
        (json.dumps({"app": {"client_secret": ["sesame-1", "sesame-2"]}}), "or sesame-2"),
        ("SharedAccessSignature=sv=2024&sig=sesame%2Bx;BlobEndpoint=https://a/", "sesame%2Bx"),
        ("https://host/c?sv=1&sig=sesame%2Bx", "signed by sesame%2Bx"),
        ("host = https://here\npassword = 'sesame-password'", "with sesame-password"),
    ],
)
def test_parts_of_a_secret_are_masked_too(
    stage: ShellRuns, secret: str, printed: str, capfd: pytest.CaptureFixture[str]
) -> None:
    attempt = left(stage, stage.launch_id, None)
    output = Output(attempt, [secret])
    output.take(printed)
    output.take("abc")
    output.ship()
    kept = "".join(p.read_text() for p in (stage.folder / "lake").rglob("*.log"))
    for text in (capfd.readouterr().out, kept):
        assert "sesame" not in text
        assert "[REDACTED]" in text
        assert "abc" in text


SERVICE_ACCOUNT = json.dumps(
    {
        "type": "service_account",
        "project_id": "fraud-project",
        "private_key_id": "0123456789",
        "private_key": PEM,
        "client_email": "fraud@fraud-project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
        "token_server": "https://oauth2.googleapis.com/token",
    }
)
CONNECTION = (
    "DefaultEndpointsProtocol=https;AccountName=account1;AccountKey=sesame+key==;"
    "EndpointSuffix=core.windows.net"
)


@pytest.mark.parametrize(
    ("secret", "printed"),
    [
        (CONNECTION, "reads abfss://lake@account1.dfs.core.windows.net/fraud"),
        (CONNECTION, "DefaultEndpointsProtocol"),
        (SERVICE_ACCOUNT, "a service_account of fraud-project, by its key 0123456789"),
        (SERVICE_ACCOUNT, "asks https://oauth2.googleapis.com/token"),
        (SERVICE_ACCOUNT, "fraud@fraud-project.iam.gserviceaccount.com may not read"),
    ],
)
def test_what_is_no_secret_of_it_stays_readable(
    stage: ShellRuns, secret: str, printed: str, capfd: pytest.CaptureFixture[str]
) -> None:
    output = Output(left(stage, stage.launch_id, None), [secret])
    output.take(printed)
    assert capfd.readouterr().out == f"{printed}\n"


@pytest.mark.parametrize("key", ["path", "PYTHONPATH", "ld-preload", "bash-env"])
def test_a_key_of_the_scope_that_would_change_what_runs_is_refused(
    stage: ShellRuns, key: str
) -> None:
    stage.workspace.secrets[SCOPE] = {key: "/evil/sesame"}
    status = stage.ended(stage.launched(secret_scope=SCOPE))
    assert status.state is RunState.FAILED
    assert f"scope toy: {key} would change which code runs" in str(status.reason)
    assert "sesame" not in str(status.reason)
