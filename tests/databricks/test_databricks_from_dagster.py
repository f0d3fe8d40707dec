"""A flow of Metaflow's on Databricks, from Dagster, with all that outlives a driver in a bucket.

The bucket's keys are in the secret scope: neither the run's settings nor Dagster's say them.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import requests
from databricks_kit import QUICK, Repository
from workspace_server import LocalWorkspace

from dagster_metaflow import BACKEND_TAG, MetaflowFlow, MetaflowResource, metaflow_assets

pytestmark = pytest.mark.flow
KEYS = {"AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "the-key-of-the-bucket"}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of an S3 on this machine, with a bucket `lake`."""
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1"}.items():
            monkeypatch.setenv(name, value)
        requests.post(f"{url}/moto-api/reset", timeout=10).raise_for_status()
        S3FileSystem.clear_instance_cache()
        S3FileSystem().mkdir("lake")
        yield url
    finally:
        S3FileSystem.clear_instance_cache()
        server.stop()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as found:
        yield found


def test_assets_appear_as_they_are_made_and_a_failed_run_is_repaired(
    workspace: LocalWorkspace,
    endpoint: str,
    repository: Repository,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    flow = MetaflowFlow(repository.root / "flows" / "cloud_toy_flow.py")

    @metaflow_assets(
        flow=flow,
        assets=["first", "second"],
        name="toy",
        retry_policy=dg.RetryPolicy(max_retries=1),
    )
    def toy(context: dg.AssetExecutionContext, metaflow: MetaflowResource) -> Iterator[Any]:
        yield from metaflow.run(context, flow, {"folder": str(tmp_path), "size": 1}).stream()

    scope = "bucket"
    workspace.secrets[scope] = {name.lower().replace("_", "-"): KEYS[name] for name in KEYS}
    environment = {
        **workspace.environment,
        **repository.environment(),
        "METAFLOW_USER": "toy",
        "METAFLOW_S3_ENDPOINT_URL": endpoint,
        "METAFLOW_S3_WORKER_COUNT": "2",
        "AWS_ENDPOINT_URL": endpoint,
    }
    resource = MetaflowResource(
        ledger_root="s3://lake/fraud",
        poll_seconds=0.1,
        databricks={"environment": environment, "secret_scope": scope, **QUICK},
    )
    hold = tmp_path / "hold_join"
    hold.touch()
    (tmp_path / "fail_join").write_text("x\n")
    seen = list[bool]()
    looking = threading.Thread(target=until_made, args=(instance, hold, seen))
    looking.start()
    result = dg.materialize(
        [toy],
        instance=instance,
        resources={"metaflow": resource},
        raise_on_error=False,
        tags={BACKEND_TAG: "databricks"},
    )
    looking.join()
    assert seen == [True]  # while its run was held up in the next step
    assert result.success
    made = [e.asset_key for e in result.get_asset_materialization_events()]
    assert set(made) == {dg.AssetKey("first"), dg.AssetKey("second")}
    (retried,) = [e for e in result.all_events if e.event_type_value == "STEP_UP_FOR_RETRY"]
    told = str(retried.event_specific_data)
    assert "ValueError: the toy breaks in join" in told
    assert f"{workspace.url}/jobs/0/runs/" in told
    assert Counter((tmp_path / "count").read_text().split()) == {"start": 1, "work": 1, "join": 2}
    assert "toy works on part 0" in capfd.readouterr().out
    (run,) = [r for r in workspace.jobs.runs.values() if r.name.startswith("CloudToyFlow ")]
    assert len(run.tries) == 2  # repaired: the same run
    told = "".join(attempt.logs() for attempt in run.tries)
    assert not any(KEYS["AWS_SECRET_ACCESS_KEY"] in text for text in [told, *workspace.bodies])


def until_made(instance: dg.DagsterInstance, hold: Path, seen: list[bool]) -> None:
    """Holds the flow up until its first asset stands in Dagster."""
    deadline = time.monotonic() + 120
    made = None
    while made is None and time.monotonic() < deadline:
        made = instance.get_latest_materialization_event(dg.AssetKey("first"))
        time.sleep(0.1)
    seen.append(made is not None)
    hold.unlink()
