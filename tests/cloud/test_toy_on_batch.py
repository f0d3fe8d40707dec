"""A flow of Metaflow's with its steps on AWS Batch, from Dagster."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from aws import LocalAws
from cloud_kit import CloudToy, failures, made

pytestmark = pytest.mark.flow


@pytest.fixture
def toy(aws: LocalAws, tmp_path: Path) -> Iterator[CloudToy]:
    found = CloudToy(aws, tmp_path)
    yield found
    found.instance.dispose()


def kill_the_first(toy: CloudToy, step: str) -> None:
    """The machine goes away that a task of the step runs on."""
    held = toy.folder / f"held_{step}"
    while not held.exists() or not held.read_text():
        time.sleep(0.05)
    psutil.Process(int(held.read_text())).kill()
    (toy.folder / f"hold_{step}").unlink()


def test_a_killed_job_a_broken_download_and_a_failed_task_are_tried_again(toy: CloudToy) -> None:
    toy.hold("start")
    toy.fail("join")
    toy.aws.fail("s3", "GetObject", "InternalError", status=500, times=2, key="AKIDJOB")
    killer = threading.Thread(target=kill_the_first, args=(toy, "start"), daemon=True)
    killer.start()
    retried = {"decorators": ["retry:times=1,minutes_between_retries=0"]}
    resource = toy.resource(common=retried)
    result = toy.materialize("batch", resource, retries=1)
    assert result.success, failures(result)
    (record,) = toy.launches
    assert toy.steps_run == {"start": 2, "work": 2, "join": 2}
    assert len(record.run_ids) == 1  # Metaflow's own @retry was enough
    assert "second" in made(result)
    assert (toy.folder / "python_work").read_text() == str(toy.aws.image)
