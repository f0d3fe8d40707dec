"""Re-execution from failure, and what is out of date, in a deployment."""

from __future__ import annotations

import pytest
from served import Served
from toy_kit import materialized

from dagster_metaflow.ledger import Ledger
from dagster_metaflow.watcher import Watcher

pytestmark = pytest.mark.flow


def test_re_execution_from_failure_resumes_and_runs_finished_steps_once(served: Served) -> None:
    served.fail("join", times=2)
    first = served.launch()
    assert served.wait_end(first) == "FAILURE"
    assert "the toy breaks in join" in served.message(first)
    second = served.retry(first)
    assert served.wait_end(second) == "FAILURE"
    third = served.retry(second)
    assert served.wait_end(third) == "SUCCESS"
    assert served.steps_run == {"start": 1, "work": 2, "join": 3, "end": 1}
    assert served.published == {"first None": 1, "second None": 1}
    assert len(served.metaflow_runs) == 3
    assert len(materialized(served.history, "second")) == 1


def test_two_retries_of_one_run_at_once_do_not_take_each_others_run(served: Served) -> None:
    served.fail("work")
    failed = served.launch()
    assert served.wait_end(failed) == "FAILURE"
    served.hold("work")
    one = served.retry(failed)
    served.wait_held("work")
    two = served.retry(failed)
    assert served.wait_end(two) == "FAILURE"
    assert f"run {one} of Dagster retries the same already" in served.message(two)
    (launch,) = served.launches
    assert launch.dagster_run_id == one
    served.release("work")
    assert served.wait_end(one) == "SUCCESS"
    assert len(materialized(served.history, "second")) == 1


def test_of_two_retries_in_the_same_instant_one_goes_on(served: Served) -> None:
    served.fail("work")
    failed = served.launch()
    assert served.wait_end(failed) == "FAILURE"
    served.hold("work")
    retries = [served.retry(failed), served.retry(failed)]
    served.wait_held("work")
    refused = served.wait_first_end(*retries)
    (going,) = {*retries} - {refused}
    assert "of Dagster" in served.message(refused)
    assert served.launches[0].dagster_run_id == going
    served.release("work")
    assert served.wait_end(going) == "SUCCESS"
    assert served.steps_run == {"start": 1, "work": 3, "join": 1, "end": 1}


def test_a_retry_that_was_killed_before_it_began_is_no_obstacle(served: Served) -> None:
    served.fail("join")
    failed = served.launch()
    assert served.wait_end(failed) == "FAILURE"
    (launch,) = served.launches
    gone = Watcher.this_process().model_copy(update={"born": "before"})
    taken = launch.model_copy(update={"turn": 1, "dagster_run_id": "gone", "watcher": gone})
    assert Ledger(str(served.lake)).take(taken) is None
    assert served.wait_end(served.retry(failed)) == "SUCCESS"
    assert served.steps_run == {"start": 1, "work": 2, "join": 2, "end": 1}


def test_what_was_made_before_the_failure_is_recorded_with_the_retry_too(served: Served) -> None:
    """The step of the retry has both assets as outputs; the content is the same, and says so."""
    served.fail("join")
    failed = served.launch()
    served.wait_end(failed)
    retried = served.retry(failed)
    assert served.wait_end(retried) == "SUCCESS"
    events = materialized(served.history, "first")
    assert [event.run_id for event in events] == [failed, retried]
    once, again = (event.asset_materialization for event in events)
    assert once is not None
    assert again is not None
    versions = [(made.tags or {})["dagster/data_version"] for made in (once, again)]
    assert versions[0] == versions[1]


def test_a_flow_that_was_mended_is_resumed_with_its_new_code(served: Served) -> None:
    flow = served.folder / "flows" / "toy_flow.py"
    before = flow.read_text()
    flow.write_text(before.replace('begins("join")', 'begins("join"); 1 / 0'))
    served.reload()
    try:
        failed = served.launch()
        assert served.wait_end(failed) == "FAILURE"
        assert "ZeroDivisionError" in served.message(failed)
    finally:
        flow.write_text(before)
        served.reload()
    assert served.wait_end(served.retry(failed)) == "SUCCESS"
    assert served.steps_run == {"start": 1, "work": 2, "join": 2, "end": 1}


def test_a_run_whose_inputs_have_changed_begins_anew(served: Served) -> None:
    """It would go on with what it has read: a contract that was mended would not help."""
    served.fail("join")
    failed = served.launch()
    assert served.wait_end(failed) == "FAILURE"
    contract = served.folder / "flows" / "contract.txt"
    contract.write_text("mended")
    served.reload()
    try:
        assert served.wait_end(served.retry(failed)) == "SUCCESS"
    finally:
        contract.unlink()
        served.reload()
    assert served.steps_run == {"start": 2, "work": 4, "join": 2, "end": 1}


def test_what_was_made_by_the_code_of_today_is_fresh_and_other_code_makes_it_stale(
    served: Served,
) -> None:
    assert served.staleness("second")[0] == "MISSING"
    served.wait_end(served.launch())
    assert served.staleness("second") == ("FRESH", [])
    flow = served.folder / "flows" / "toy_flow.py"
    before = flow.read_text()
    flow.write_text(before + "\n# other code\n")
    served.reload()
    try:
        assert served.staleness("second") == ("STALE", ["has a new code version"])
    finally:
        flow.write_text(before)
        served.reload()
    assert served.staleness("second") == ("FRESH", [])


def test_what_is_made_of_an_asset_is_stale_only_when_its_content_changed(served: Served) -> None:
    served.wait_end(served.launch())
    served.wait_end(served.launch("summary_job"))
    served.wait_end(served.launch())
    assert served.staleness("summary") == ("FRESH", [])
    served.wait_end(served.launch(config={"ops": {"toy": {"config": {"word": "else"}}}}))
    assert served.staleness("summary")[0] == "STALE"


def test_a_backfill_of_many_partitions_is_one_run_of_dagster_and_one_of_metaflow(
    served: Served,
) -> None:
    backfill = served.backfill("2024-02", "2024-03", "2024-04", "2024-05")
    [run] = served.wait_backfill(backfill)
    assert served.wait_end(run) == "SUCCESS"
    assert len(served.metaflow_runs) == 1
    months = {f"2024-0{month}" for month in range(2, 6)}
    events = materialized(served.history, "monthly/second")
    assert {event.partition_key for event in events} == months
    assert set(served.published.values()) == {1}
