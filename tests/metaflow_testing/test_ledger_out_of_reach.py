"""A ledger on S3 that does not answer for a while, as its server is stopped and started again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import requests
from toy_kit import Toy, failure, materialized

from dagster_metaflow.backends.protocol import Handle, RunStatus
from dagster_metaflow.following import ReportFollower
from dagster_metaflow.ledger import Ledger
from dagster_metaflow.listing import list_reports
from dagster_metaflow.reports import Materialization, write_report
from dagster_metaflow.testing import ScriptedBackend, ScriptedStep, scripted_resource

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
ONCE = {
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
ROOT = "s3://ledger"
GOES_ON = [ScriptedStep(f"wait{number}") for number in range(3)]


@dataclass
class S3:
    """At one address, whenever it is up."""

    port: int = 0

    def start(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer("127.0.0.1", port=self.port)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    from s3fs import S3FileSystem

    made = S3()
    made.start()
    address = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{made.port}"}
    for name, value in {**KEYS, **ONCE, **address}.items():
        monkeypatch.setenv(name, value)
    requests.post(f"{address['AWS_ENDPOINT_URL']}/moto-api/reset", timeout=10).raise_for_status()
    S3FileSystem.clear_instance_cache()
    S3FileSystem().mkdir("ledger")
    yield made
    S3FileSystem.clear_instance_cache()
    made.stop()


class Eventful(ScriptedBackend):
    """The world around the runs changes as they go on."""

    def __init__(self, *steps: ScriptedStep) -> None:
        super().__init__(steps)
        self.looks = 0
        self.after: dict[int, Callable[[Handle], object]] = {}
        self.cancelled: list[str] = []

    def poll(self, handle: Handle) -> RunStatus:
        status = super().poll(handle)
        self.looks += 1
        self.after.get(self.looks, lambda _: None)(handle)
        return status

    def cancel(self, handle: Handle) -> None:
        self.cancelled.append(str(handle["launch_id"]))
        super().cancel(handle)


def versions(instance: dg.DagsterInstance, asset: str) -> list[str]:
    made = [event.asset_materialization for event in materialized(instance, asset)]
    return [(one.tags or {})["dagster/data_version"] for one in made if one is not None]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def test_a_run_goes_on_while_the_ledger_does_not_answer(store: S3, toy: Toy) -> None:
    first, second = ScriptedStep("start", ["first"]), ScriptedStep("end", ["second"])
    backend = Eventful(first, *GOES_ON, second)
    backend.after = {1: lambda _: store.stop(), 4: lambda _: store.start()}
    with toy.instance() as instance:
        made = toy.materialize(instance=instance, resource=scripted_resource(backend, ROOT))
        assert made.success
        assert len(versions(instance, "first")) == len(versions(instance, "second")) == 1
        said = [entry.message for entry in instance.all_logs(made.run_id)]
        assert len([line for line in said if "The ledger does not answer" in line]) == 1
    assert backend.cancelled == []
    record = Ledger(ROOT).record("ToyFlow", backend.requests[0].launch_id)
    assert record is not None
    assert record.outcome == "succeeded"


def test_an_attempt_that_failed_is_not_recorded_for_a_ledger_that_did_not_answer(
    store: S3, toy: Toy
) -> None:
    """The log says already that the task has ended well, whose report cannot be read yet."""
    backend = Eventful(ScriptedStep("start", ["first"]), *GOES_ON, ScriptedStep("end", ["second"]))
    backend.held = {"start"}

    def first_attempt(handle: Handle) -> None:
        launch = str(handle["launch_id"])
        made = [Materialization(data_version="of the attempt that failed")]
        run = f"ToyFlow/{launch}.1/start/1"
        write_report(ROOT, "ToyFlow", launch, ["first"], made, run=run)

    backend.after = {
        1: first_attempt,
        2: lambda _: backend.held.clear(),
        3: lambda _: store.stop(),
        5: lambda _: store.start(),
    }
    with toy.instance() as instance:
        made = toy.materialize(instance=instance, resource=scripted_resource(backend, ROOT))
        assert made.success
        assert versions(instance, "first") == ["scripted"]


def test_what_is_not_there_at_the_end_is_taken_by_the_next_execution(store: S3, toy: Toy) -> None:
    backend = Eventful(ScriptedStep("start", ["first"]), ScriptedStep("end", ["second"]))
    backend.after = {2: lambda _: store.stop()}
    resource = scripted_resource(backend, ROOT)
    with toy.instance() as instance:
        ended = toy.materialize(instance=instance, resource=resource)
        assert "ended, but its reports cannot be read" in failure(ended)
        store.start()
        assert toy.materialize(instance=instance, resource=resource).success
        assert versions(instance, "second") == ["scripted"]
    assert len(backend.requests) == 1


def test_without_credentials_no_run_is_started_and_the_reason_is_said(
    store: S3, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3fs import S3FileSystem

    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(toy.folder / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(toy.folder / "none"))
    S3FileSystem.clear_instance_cache()
    backend = Eventful(ScriptedStep("start", ["first", "second"]))
    said = failure(toy.materialize(resource=scripted_resource(backend, ROOT)))
    assert f"the ledger under {ROOT} cannot be used: Unable to locate credentials" in said
    assert "Traceback" not in said
    assert backend.requests == []


def test_whoever_looks_is_told_by_an_error_of_the_operating_systems_kind(store: S3) -> None:
    store.stop()
    for look in (
        ReportFollower(Ledger(ROOT), "ToyFlow", "one").new,
        lambda: list_reports(ROOT),
        lambda: write_report(ROOT, "ToyFlow", "one", ["first"], [], run="ToyFlow/1"),
    ):
        with pytest.raises(OSError, match="Could not connect to the endpoint URL"):
            look()
    store.start()


def test_a_store_that_nobody_can_open_is_said_in_words() -> None:
    with pytest.raises(OSError, match="Protocol not known: moon"):
        Ledger("moon://ledger").of_identity("ToyFlow", "a")


def test_what_was_read_before_a_look_broke_off_is_read_again(tmp_path: Path) -> None:
    names = [f"asset{number}" for number in range(9)]
    for name in names:
        made = [Materialization(data_version="v")]
        write_report(str(tmp_path), "ToyFlow", "one", [name], made, run="ToyFlow/1/start/1")
    folder = tmp_path / "_reports" / "ToyFlow" / "one"
    (folder / "asset9.json").mkdir()  # a file that cannot be read now
    follower = ReportFollower(Ledger(str(tmp_path)), "ToyFlow", "one")
    with pytest.raises(OSError, match="asset9"):
        follower.new()
    (folder / "asset9.json").rmdir()
    assert [published.asset_key.path[-1] for published in follower.new()] == names
    assert follower.new() == []
