"""A run that cannot be seen any more is left going, and found again."""

from __future__ import annotations

from pathlib import Path

from toy_kit import Toy

from dagster_metaflow.backends.protocol import Handle, LaunchError, RunState, RunStatus
from dagster_metaflow.testing import ScriptedBackend, ScriptedStep, scripted_resource


class Veiled(ScriptedBackend):
    """Shows its runs to whoever has signed in."""

    signed_in = True

    def poll(self, handle: Handle) -> RunStatus:
        if not self.signed_in:
            raise LaunchError("AWS refused to tell of the run: sign in again")
        return super().poll(handle)


def test_who_is_signed_out_ends_no_run(tmp_path: Path) -> None:
    steps = [ScriptedStep("start", publishes=["first"]), ScriptedStep("end", publishes=["second"])]
    backend = Veiled(steps)
    toy = Toy(tmp_path)
    resource = scripted_resource(backend, str(tmp_path / "lake"))
    backend.signed_in = False
    with toy.instance() as instance:
        blind = toy.materialize(instance=instance, resource=resource)
        event = blind.failure_data_for_node("toy")
        assert event is not None
        assert event.error is not None
        assert "sign in again" in str(event.error)
        (record,) = toy.launches
        assert record.outcome == "open"

        backend.signed_in = True
        assert backend.poll(record.handle).state is RunState.RUNNING
        assert toy.materialize(instance=instance, resource=resource).success
        assert [request.launch_id for request in backend.requests] == [record.launch_id]
