"""Terminating Dagster's run ends Metaflow's, all of it, or leaves it to the next execution."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from served import Served
from toy_kit import HERE, Toy, materialized, wait_for

pytestmark = pytest.mark.flow


# Dagster is held up where it stores the first materialization, in none of our code; and the error
# keeps what was interrupted until Python takes itself down.
SCRIPT = """
import dagster as dg
from toy_defs import defs, toy

def hold_up(entry):
    if entry.dagster_event and entry.dagster_event.is_step_materialization:
        toy.wait_while_held("dagster")

run = "11111111-1111-1111-1111-111111111111"
instance = dg.DagsterInstance.ephemeral()
instance.add_event_listener(run, hold_up)
try:
    defs.resolve_job_def("toy_job").execute_in_process(instance=instance, run_id=run)
except BaseException as error:
    kept = error
    raise
"""


@pytest.mark.parametrize("job", ["toy_job", "process_job"])
def test_nothing_of_the_run_is_left_ten_seconds_after_it_is_terminated(
    served: Served, job: str
) -> None:
    served.hold("work")
    run = served.launch(job)
    served.wait_held("work")
    served.terminate(run)
    served.wait_gone(10)
    assert served.wait_end(run, 15) == "CANCELED"
    [launch] = served.launches
    assert launch.outcome == "cancelled"


def test_tasks_that_hear_no_interrupt_are_ended_too(served: Served) -> None:
    served.tell("deaf")
    served.tell("daemon")
    served.hold("work")
    run = served.launch()
    served.wait_held("work")
    served.terminate(run)
    served.wait_gone(10)
    assert served.wait_end(run, 15) == "CANCELED"


def test_a_run_that_is_terminated_while_it_is_being_started_leaves_nothing(served: Served) -> None:
    """A launch is noted before it is started: this is the moment between."""
    run = served.launch()
    wait_for(lambda: served.launches, "the launch to be noted")
    served.terminate(run)
    assert served.wait_end(run, 20) == "CANCELED"
    served.wait_gone(10)
    [launch] = served.launches
    assert launch.outcome == "cancelled"


@pytest.mark.parametrize("job", ["toy_job", "process_job"])
def test_termination_while_the_assets_own_code_is_busy_ends_the_run_too(
    served: Served, job: str
) -> None:
    """It is not the stream then that is interrupted."""
    served.hold("dagster")
    served.hold("work")
    run = served.launch(job)
    served.wait_held("dagster")
    served.terminate(run)
    served.wait_gone(10)
    assert served.wait_end(run, 15) == "CANCELED"
    [launch] = served.launches
    assert launch.outcome == "cancelled"


def test_what_was_published_stays_whole_and_the_rest_is_made_when_it_is_resumed(
    served: Served,
) -> None:
    served.hold("join")
    run = served.launch()
    served.wait_held("join")
    served.terminate(run)
    served.wait_gone(10)
    served.wait_end(run)
    assert [path.name for path in served.lake.glob("first/*")] == ["None.txt"]
    assert not list(served.lake.glob("second/*"))
    assert len(materialized(served.history, "first")) == 1
    served.release("join")
    assert served.wait_end(served.retry(run)) == "SUCCESS"
    assert served.steps_run == {"start": 1, "work": 2, "join": 2, "end": 1}
    assert served.published == {"first None": 1, "second None": 1}


def test_a_run_that_is_to_go_on_does_and_the_next_execution_adopts_it(served: Served) -> None:
    served.hold("work")
    left = served.launch(config=left_going(served))
    served.wait_held("work")
    served.terminate(left)
    assert served.wait_end(left) == "CANCELED"
    assert served.processes()
    assert [launch.outcome for launch in served.launches] == ["detached"]
    adopter = served.launch()
    served.wait_log(adopter, "which Dagster had lost sight of")
    served.release("work")
    assert served.wait_end(adopter) == "SUCCESS"
    assert len(served.metaflow_runs) == 1
    assert served.steps_run == {"start": 1, "work": 2, "join": 1, "end": 1}
    assert len(materialized(served.history, "second")) == 1


def test_a_run_that_was_left_and_has_ended_well_is_taken_and_not_run_again(served: Served) -> None:
    served.hold("work")
    left = served.launch(config=left_going(served))
    served.wait_held("work")
    served.terminate(left)
    served.wait_end(left)
    served.release("work")
    served.wait_gone(60)
    assert served.wait_end(served.launch()) == "SUCCESS"
    assert served.steps_run == {"start": 1, "work": 2, "join": 1, "end": 1}
    assert len(materialized(served.history, "second")) == 1


@pytest.mark.parametrize("held", ["work", "dagster"])
def test_ctrl_c_in_a_script_ends_the_run_wherever_dagster_is(toy: Toy, held: str) -> None:
    toy.hold("work")
    toy.hold(held)
    variables = {"TOY_FOLDER": str(toy.folder), "PYTHONPATH": str(HERE)}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=toy.folder,
        env=os.environ | variables,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    toy.wait_held(held)
    process.send_signal(signal.SIGINT)
    toy.release("dagster")
    assert process.wait(15) != 0
    assert not toy.processes()
    [launch] = toy.launches
    assert launch.outcome == "cancelled"


def left_going(served: Served) -> dict[str, Any]:
    """Run config under which a terminated run leaves Metaflow's going."""
    settings = {
        "ledger_root": str(served.lake),
        "local": served.local,
        "forward_termination": False,
    }
    return {"resources": {"metaflow": {"config": settings}}}
