"""SIGKILL for any process of a run: what is executed again ends right, and nothing is left over."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import dagster as dg
import psutil
import pytest
from served import Served
from toy_kit import materialized, wait_for

pytestmark = pytest.mark.flow

VICTIMS: Mapping[str, Callable[[Served], psutil.Process]] = {
    "scheduler": Served.scheduler,
    "task": lambda served: psutil.Process(served.is_held("work")),
    "supervisor": Served.supervisor,
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_part_of_the_run_fails_it_and_a_retry_ends_right(
    served: Served, victim: str
) -> None:
    served.hold("work")
    run = served.launch()
    served.wait_held("work")
    VICTIMS[victim](served).kill()
    assert served.wait_end(run, 20) == "FAILURE"
    served.wait_gone(10)
    assert "Re-execute from failure to resume it" in served.message(run)
    served.release("work")
    assert served.wait_end(served.retry(run)) == "SUCCESS"
    assert_made_once(served)


def test_a_task_killed_between_publishing_and_its_end_is_made_good_by_a_retry(
    served: Served,
) -> None:
    """What it published is not recorded; the retry publishes anew, here with another content."""
    served.tell("anew")
    served.hold("published_second")
    run = served.launch("monthly_job", tags={"dagster/partition": "2024-02"})
    psutil.Process(served.wait_held("published_second")).kill()
    assert served.wait_end(run, 20) == "FAILURE"
    served.wait_gone(10)
    assert materialized(served.history, "monthly/second") == []

    served.release("published_second")
    retry = served.retry(run)
    assert served.wait_end(retry) == "SUCCESS"
    assert served.steps_run == {"start": 1, "work": 2, "join": 2, "end": 1}
    assert served.published == {"first 2024-02": 1, "second 2024-02": 2}
    [event] = materialized(served.history, "monthly/second")
    assert (event.run_id, event.partition_key) == (retry, "2024-02")
    [made] = (served.lake / "second").iterdir()
    assert (made.name, made.read_text()) == ("2024-02.txt", "2 toy 2 0.5 2024-02\n")
    assert version(event) == "2-toy-2-0.5-2024-02"
    assert {launch.outcome for launch in served.launches} == {"succeeded"}
    served.wait_gone(10)


def test_a_killed_worker_is_retried_by_the_daemon_which_goes_on_with_the_run(
    served: Served,
) -> None:
    """The Metaflow run never knew: it is adopted, and nothing is run twice."""
    served.hold("work")
    run = served.launch()
    served.wait_held("work")
    served.worker(run).kill()
    assert served.wait_end(run) == "FAILURE"
    retry = served.wait_retry(run)
    served.wait_log(retry, "which Dagster had lost sight of")
    served.release("work")
    assert served.wait_end(retry) == "SUCCESS"
    assert len(served.metaflow_runs) == 1
    assert served.steps_run == {"start": 1, "work": 2, "join": 1, "end": 1}
    assert_made_once(served)


def test_worker_and_supervisor_killed_together_leave_nothing_and_the_retry_resumes(
    served: Served,
) -> None:
    """As of a machine that runs out of memory."""
    served.hold("work")
    run = served.launch()
    served.wait_held("work")
    for process in (served.worker(run), served.supervisor()):
        process.kill()
    served.release("work")
    assert served.wait_end(run) == "FAILURE"
    assert served.wait_end(served.wait_retry(run)) == "SUCCESS"
    assert served.steps_run["start"] == 1
    assert_made_once(served)


def test_all_processes_of_the_run_killed_at_once_are_resumed(served: Served) -> None:
    served.hold("join")
    run = served.launch()
    served.wait_held("join")
    served.worker(run).kill()
    served.stop_all()
    served.release("join")
    assert served.wait_end(served.wait_retry(run)) == "SUCCESS"
    assert served.steps_run == {"start": 1, "work": 2, "join": 2, "end": 1}
    assert_made_once(served)


def test_a_daemon_that_is_killed_takes_nothing_with_it(served: Served) -> None:
    served.hold("work")
    run = served.launch()
    served.wait_held("work")
    with served.without_daemon(alone=True):
        waiting = served.launch("monthly_job", tags={"dagster/partition": "2024-01"})
        served.release("work")
        assert served.wait_end(run) == "SUCCESS"
        assert_made_once(served)
    assert served.wait_end(waiting) == "SUCCESS"
    assert served.published["first 2024-01"] == served.published["second 2024-01"] == 1


def test_daemon_and_workers_killed_at_once_are_made_good_when_the_daemon_is_back(
    served: Served,
) -> None:
    """As of a container that is started anew, when Metaflow's processes are elsewhere."""
    served.hold("work")
    run = served.launch()
    served.wait_held("work")
    with served.without_daemon(alone=False):
        wait_for(lambda: not served.worker_lives(run), "the worker to be gone")
        served.release("work")
        served.wait_gone(60)
    assert served.wait_end(served.wait_retry(run)) == "SUCCESS"
    assert served.wait_end(run) == "FAILURE"
    assert served.steps_run == {"start": 1, "work": 2, "join": 1, "end": 1}
    assert_made_once(served)


def test_two_launches_of_one_partition_are_one_after_the_other_and_agree(served: Served) -> None:
    tags = {"dagster/partition": "2024-02"}
    served.hold("work")
    one = served.launch("monthly_job", tags=tags)
    served.wait_held("work")
    two = served.launch("monthly_job", tags=tags)
    assert len(served.supervisors()) == 1
    assert served.run(two).status.value == "QUEUED"
    served.release("work")
    assert served.wait_end(one) == served.wait_end(two) == "SUCCESS"
    events = materialized(served.history, "monthly/second")
    assert [event.run_id for event in events] == [one, two]
    assert len(list(served.lake.glob("second/*"))) == 1


def test_two_executions_at_once_do_not_take_each_others_run(served: Served) -> None:
    """Without a queue between them: each follows its own, and what they write is the same."""
    served.hold("work")
    one = served.launch()
    served.wait_held("work")
    two = served.launch()
    wait_for(lambda: len(served.supervisors()) == 2, "the second run")
    served.release("work")
    assert served.wait_end(one) == served.wait_end(two) == "SUCCESS"
    assert len(served.metaflow_runs) == 2
    assert len({launch.launch_id for launch in served.launches}) == 2
    assert [path.name for path in served.lake.glob("second/*")] == ["None.txt"]
    assert not served.processes()


def version(event: dg.EventLogRecord) -> str:
    assert event.asset_materialization is not None
    return str((event.asset_materialization.tags or {})["dagster/data_version"])


def assert_made_once(served: Served) -> None:
    """By the flow once each; shown as made, with what is there; and no process is left."""
    assert served.published == {"first None": 1, "second None": 1}
    assert len(materialized(served.history, "second")) == 1
    assert {launch.outcome for launch in served.launches} == {"succeeded"}
    assert not list((served.lake / "_launches").glob("*/*/*"))
    served.wait_gone(10)
