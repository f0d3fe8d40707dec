"""Of a task that publishes, dies and is run again, what its last attempt published is the asset."""

from __future__ import annotations

import threading

import dagster as dg
import psutil
import pytest
from toy_kit import Toy, materialized

pytestmark = pytest.mark.flow

RETRIED = {"METAFLOW_DEFAULT_DECOSPECS": "retry:times=1,minutes_between_retries=0"}


@pytest.fixture
def toy(toy: Toy) -> Toy:
    toy.tell("anew")
    toy.fail("published_second")
    return toy


def versions(instance: dg.DagsterInstance, asset: str) -> list[str]:
    made = [event.asset_materialization for event in materialized(instance, asset)]
    return [(one.tags or {})["dagster/data_version"] for one in made if one is not None]


def test_of_a_task_that_metaflow_retries(toy: Toy, instance: dg.DagsterInstance) -> None:
    local = {**toy.local, "environment": {**toy.local["environment"], **RETRIED}}
    assert toy.materialize(instance=instance, resource=toy.resource(local=local)).success
    assert toy.published == {"first None": 1, "second None": 2}
    assert versions(instance, "first") == ["1-toy-2-0.5-None"]
    assert versions(instance, "second") == ["2-toy-2-0.5-None"]


def test_of_a_run_that_dagster_retries(toy: Toy, instance: dg.DagsterInstance) -> None:
    assets = toy.assets(retry_policy=dg.RetryPolicy(max_retries=1))
    assert toy.materialize(instance=instance, assets=assets).success
    assert len(toy.metaflow_runs) == 2, "the second goes on where the first ended"
    assert toy.published == {"first None": 1, "second None": 2}
    assert set(versions(instance, "first")) == {"1-toy-2-0.5-None"}
    assert versions(instance, "second") == ["2-toy-2-0.5-None"]


def test_of_a_run_that_fails_for_good_what_ended_well_is_there(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    assert not toy.materialize(instance=instance).success
    assert versions(instance, "first") == ["1-toy-2-0.5-None"]
    assert versions(instance, "second") == []


def test_of_a_run_that_is_killed_before_the_task_that_published_has_ended(
    toy: Toy, instance: dg.DagsterInstance
) -> None:
    """Nobody knows how it would have gone on: the log says so, and who resumes it makes it good."""
    (toy.folder / "fail_published_second").unlink()
    toy.hold("published_second")

    def kill() -> None:
        task = psutil.Process(toy.wait_held("published_second"))
        toy.scheduler().kill()
        psutil.wait_procs([task], timeout=30)
        toy.release("published_second")

    killing = threading.Thread(target=kill)
    killing.start()
    assets = toy.assets(retry_policy=dg.RetryPolicy(max_retries=1))
    result = toy.materialize(instance=instance, assets=assets)
    killing.join()
    assert result.success
    first, _ = toy.metaflow_runs
    said = [entry.message for entry in instance.all_logs(result.run_id)]
    words = f"second was published by ToyFlow/{first}/join/4, of which no good end was seen"
    assert len([message for message in said if words in message]) == 1
    assert versions(instance, "second") == ["2-toy-2-0.5-None"]
