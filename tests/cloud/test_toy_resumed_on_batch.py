"""A flow of Metaflow's that failed on Step Functions goes on under mended code, steps on Batch."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from aws import LocalAws
from cloud_kit import FLOW, QUICK, CloudToy

from dagster_metaflow.backends.protocol import Handle, LaunchRequest, RunStatus
from dagster_metaflow.backends.step_functions import StepFunctionsBackend

pytestmark = pytest.mark.flow
RETRY = "retry:times=1,minutes_between_retries=0"


def kill_the_task(toy: CloudToy, step: str) -> None:
    """The machine goes away that the next task of the step runs on."""
    held = toy.folder / f"held_{step}"
    while not held.exists() or not held.read_text():
        time.sleep(0.05)
    psutil.Process(int(held.read_text())).kill()
    (toy.folder / f"hold_{step}").unlink()


def ended(backend: StepFunctionsBackend, handle: Handle) -> tuple[RunStatus, str]:
    while not (status := backend.poll(handle)).state.ended:
        time.sleep(0.1)
    return status, "\n".join(backend.read_log(handle, 0)[0])


def test_finished_steps_are_taken_over_and_faults_are_borne(aws: LocalAws, tmp_path: Path) -> None:
    toy = CloudToy(aws, tmp_path)
    backend = StepFunctionsBackend(
        environment=toy.environment(), working_directory=str(tmp_path), decorators=[RETRY], **QUICK
    )
    request = LaunchRequest(
        launch_id="goes-on",
        flow_file=FLOW.path,
        flow_name=FLOW.name,
        parameters={"folder": str(tmp_path), "output-uri": str(toy.lake), "size": 1},
        tags=("one",),
        folder=tmp_path / "launch",
        code_version="broken",
    )
    (tmp_path / "fail_join").write_text("x\nx\n")  # both times that Batch tries it
    failed, log = ended(backend, backend.launch(request, backend.prepare(request)))
    assert "step join" in str(failed.reason)
    assert log.count("ValueError: the toy breaks in join") >= 2
    assert toy.steps_run == {"start": 1, "work": 1, "join": 2}

    toy.hold("join")
    killer = threading.Thread(target=kill_the_task, args=(toy, "join"), daemon=True)
    killer.start()
    aws.fail("s3", "GetObject", "InternalError", status=500, times=2, key="AKIDJOB")
    mended = replace(request, code_version="mended")
    handle = backend.resume(mended, backend.prepare(mended), str(failed.run_id))
    status, log = ended(backend, handle)
    assert status.reason is None, log
    assert status.run_id != failed.run_id
    assert toy.steps_run == {"start": 1, "work": 1, "join": 4}  # killed once, retried by Metaflow
    assert "code, or what it is deployed with, has changed, and a redrive runs the old one" in log
    assert "the total is 0" in log
    (path,) = aws.failed()  # the download of the code, and nothing else
    assert path in aws.code_packages()
    assert aws.failed()[path] == 2
    toy.instance.dispose()
