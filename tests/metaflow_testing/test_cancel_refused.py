"""A run's own failure is told also where what it left going may not be ended."""

from __future__ import annotations

from pathlib import Path

from toy_kit import Toy, failure

from dagster_metaflow.backends.protocol import Handle, LaunchError
from dagster_metaflow.testing import ScriptedBackend, ScriptedStep, scripted_resource


class Refused(ScriptedBackend):
    allowed = False

    def cancel(self, handle: Handle) -> None:
        if not self.allowed:
            raise LaunchError("AWS refused to stop the execution: no batch:ListJobs. Give it.")
        super().cancel(handle)


def test_a_run_that_failed_is_told_with_its_cause_and_what_was_refused(tmp_path: Path) -> None:
    work = ScriptedStep("work", prints=["ValueError: column amount is missing"], fails=1)
    backend, toy = (
        Refused([ScriptedStep("start", publishes=["first", "second"]), work]),
        Toy(tmp_path),
    )
    resource = scripted_resource(backend, str(toy.lake))
    with toy.instance() as instance:
        words = failure(toy.materialize(instance=instance, resource=resource))
        (record,) = toy.launches
        assert record.outcome == "open", "the next execution finds what may go on"
        again = failure(toy.materialize(instance=instance, resource=resource))
        assert "AWS refused to stop the execution" in again
        assert len(backend.requests) == 1, "nothing runs beside it"
        backend.allowed = True
        assert toy.materialize(instance=instance, resource=resource).success
    assert "ToyFlow failed in ToyFlow/" in words
    assert "column amount is missing" in words
    assert "What it may have left going was not ended: AWS refused to stop the execution" in words


def test_a_run_that_took_too_long_and_goes_on_is_found_again(tmp_path: Path) -> None:
    backend = Refused([ScriptedStep("start"), ScriptedStep("end", publishes=["first", "second"])])
    backend.held = {"end"}
    toy = Toy(tmp_path)
    resource = scripted_resource(backend, str(toy.lake), timeout_seconds=0.1)
    with toy.instance() as instance:
        words = failure(toy.materialize(instance=instance, resource=resource))
        assert "took longer than timeout_seconds = 0.1 and could not be ended: AWS refused" in words
        (record,) = toy.launches
        assert record.outcome == "open"
        backend.held.clear()
        assert toy.materialize(instance=instance, resource=resource).success
    assert len(backend.requests) == 1
