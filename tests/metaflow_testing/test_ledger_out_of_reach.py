"""A ledger on S3 that does not answer for a while, as its server is stopped and started again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from s3_kit import KEYS, ONCE, ROOT, S3, s3, silence
from toy_kit import Toy, failure, materialized

from dagster_metaflow.backends.protocol import Handle, RunStatus
from dagster_metaflow.following import ReportFollower
from dagster_metaflow.ledger import Ledger
from dagster_metaflow.listing import list_reports
from dagster_metaflow.reports import Materialization, write_report
from dagster_metaflow.testing import ScriptedBackend, ScriptedStep, scripted_resource

GOES_ON = [ScriptedStep(f"wait{number}") for number in range(3)]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    with s3(monkeypatch) as made:
        yield made


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


AZURE = "DefaultEndpointsProtocol=http;AccountName=lake;AccountKey=a2V5;BlobEndpoint={address}/lake"


@pytest.mark.parametrize("root", ["s3://silent", "abfs://silent"])
def test_a_store_that_is_silent_is_not_waited_for_longer_than_is_set(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client would: an hour and more for S3's tries by s3fs's, five minutes for Azure's."""
    monkeypatch.setenv("DAGSTER_METAFLOW_STORE_SECONDS", "0.3")
    with silence() as address:
        for name, value in {**KEYS, **ONCE, "AWS_ENDPOINT_URL": address}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", AZURE.format(address=address))
        for look in (
            ReportFollower(Ledger(root), "ToyFlow", "one").new,
            lambda: Ledger(root).of_identity("ToyFlow", "one"),
            lambda: Ledger(root).record("ToyFlow", "one"),
            lambda: list_reports(root),
            lambda: write_report(root, "ToyFlow", "one", ["first"], [], run="ToyFlow/1"),
        ):
            began = time.monotonic()
            with pytest.raises(TimeoutError, match=rf"{root}/_\S*: no answer in (0\.3|1\.2) s"):
                look()
            assert time.monotonic() - began < 5


@pytest.mark.parametrize("seconds", ["a while", "0", "-1", "inf", "nan"])
def test_a_time_that_is_none_is_refused_in_words(
    seconds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_METAFLOW_STORE_SECONDS", seconds)
    with pytest.raises(OSError, match="is no number of seconds: correct or unset it"):
        list_reports(ROOT)


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
