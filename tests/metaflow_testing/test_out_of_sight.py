"""A run that cannot be seen any more is left going, and found again."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from toy_kit import FILE, MONTHS, Toy, failure

from dagster_metaflow import MetaflowFlow
from dagster_metaflow.backends.protocol import (
    Handle,
    LaunchError,
    LaunchRequest,
    OutOfSightError,
    RunState,
    RunStatus,
)
from dagster_metaflow.ledger import Ledger
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


def test_a_run_of_another_dagster_with_the_same_ledger_is_left_to_it(tmp_path: Path) -> None:
    backend = Veiled([ScriptedStep("start", publishes=["first", "second"])])
    toy = Toy(tmp_path)
    resource = scripted_resource(backend, str(tmp_path / "lake"))
    with dg.DagsterInstance.ephemeral() as theirs, dg.DagsterInstance.ephemeral() as ours:
        backend.signed_in = False
        assert not toy.materialize(instance=theirs, resource=resource).success
        backend.signed_in = True
        assert toy.materialize(instance=ours, resource=resource).success
        assert [record.outcome for record in toy.launches] == ["open", "succeeded"]
        assert toy.materialize(instance=theirs, resource=resource).success
    assert [record.outcome for record in toy.launches] == ["succeeded", "succeeded"]
    assert len(backend.requests) == 2


def of_contract(toy: Toy, folder: str, text: str, dataset: str) -> dg.AssetsDefinition:
    """Assets of a dataset whose contract a release has in a folder of its own."""
    contract = toy.folder / folder / "contract.yaml"
    contract.parent.mkdir()
    contract.write_text(text)
    flow = MetaflowFlow(FILE, inputs=[contract], fixed={"word": str(contract)})
    keys = [dg.AssetKey([dataset, name]) for name in ("first", "second")]
    return toy.assets(flow=flow, assets=[dg.AssetSpec(key) for key in keys], check_specs=[])


@pytest.mark.parametrize(
    ("text", "dataset", "outcomes"),
    [("a", "one", ["succeeded"]), ("b", "two", ["open", "succeeded"])],
    ids=["the next release's", "another dataset's"],
)
def test_a_run_is_found_by_the_same_contract_in_another_folder(
    tmp_path: Path, text: str, dataset: str, outcomes: list[str]
) -> None:
    toy = Toy(tmp_path)
    theirs, ours = of_contract(toy, "1", "a", "one"), of_contract(toy, "2", text, dataset)
    steps = [ScriptedStep("start", publishes=[f"{each}/first" for each in ("one", "two")])]
    steps += [ScriptedStep("end", publishes=[f"{each}/second" for each in ("one", "two")])]
    backend = Veiled(steps)
    resource = scripted_resource(backend, str(toy.lake))
    with toy.instance() as instance:
        backend.signed_in = False
        assert not toy.materialize(instance=instance, resource=resource, assets=theirs).success
        backend.signed_in = True
        assert toy.materialize(instance=instance, resource=resource, assets=ours).success
    assert [record.outcome for record in toy.launches] == outcomes


class Unanswered(ScriptedBackend):
    """Starts its first run, and the answer is lost on its way."""

    def launch(self, request: LaunchRequest, handle: Handle) -> Handle:
        started = super().launch(request, handle)
        if len(self.requests) == 1:
            raise OutOfSightError("a run may be under way")
        return started


def test_a_start_whose_answer_is_lost_is_gone_on_with_and_not_done_again(tmp_path: Path) -> None:
    backend = Unanswered([ScriptedStep("start", publishes=["first", "second"])])
    toy = Toy(tmp_path)
    resource = scripted_resource(backend, str(tmp_path / "lake"))
    with toy.instance() as instance:
        blind = toy.materialize(instance=instance, resource=resource)
        event = blind.failure_data_for_node("toy")
        assert event is not None
        assert "a run may be under way Re-executing finds it." in str(event.error)
        assert toy.materialize(instance=instance, resource=resource).success
    assert len(backend.requests) == 1


class OnAFullDisk(Veiled):
    """Has no room for what it learns of its runs."""

    room_to_look = room_to_read = True

    def poll(self, handle: Handle) -> RunStatus:
        if not self.room_to_look:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().poll(handle)

    def read_log(self, handle: Handle, offset: int) -> tuple[list[str], int]:
        if not self.room_to_read:
            raise OutOfSightError("the run's log cannot be kept")
        return super().read_log(handle, offset)


@pytest.mark.parametrize(
    ("lacks", "told"),
    [("room_to_look", "No space left on device"), ("room_to_read", "the run's log cannot be kept")],
)
def test_a_full_disk_of_dagsters_ends_no_run(tmp_path: Path, lacks: str, told: str) -> None:
    backend, toy = (
        OnAFullDisk([ScriptedStep("start", publishes=["first", "second"])]),
        Toy(tmp_path),
    )
    resource = scripted_resource(backend, str(tmp_path / "lake"))
    setattr(backend, lacks, False)
    with toy.instance() as instance:
        words = failure(toy.materialize(instance=instance, resource=resource))
        assert told in words
        assert "Re-executing finds it." in words
        (record,) = toy.launches
        assert record.outcome == "open"
        setattr(backend, lacks, True)
        assert toy.materialize(instance=instance, resource=resource).success
    assert len(backend.requests) == 1


class FromAnywhere(Veiled):
    """Follows its runs from any machine, each of which has a home for logs that no other sees."""

    home = "of the first"

    def prepare(self, request: LaunchRequest) -> Handle:
        return {**super().prepare(request), "home": self.home}

    def here(self, handle: Handle, folder: Path) -> Handle:
        assert folder.name == handle["launch_id"]
        return {**handle, "home": self.home}

    def poll(self, handle: Handle) -> RunStatus:
        if handle["home"] != self.home:
            raise OutOfSightError(f"the run's log cannot be kept in the home {handle['home']}")
        return super().poll(handle)


def test_a_run_is_gone_on_with_from_another_machine_in_a_folder_of_that_one(tmp_path: Path) -> None:
    backend = FromAnywhere([ScriptedStep("start", publishes=["first", "second"])])
    toy = Toy(tmp_path)
    resource = scripted_resource(backend, str(tmp_path / "lake"))
    with toy.instance() as instance:
        backend.signed_in = False
        assert not toy.materialize(instance=instance, resource=resource).success
        backend.signed_in, backend.home = True, "of the second"
        assert toy.materialize(instance=instance, resource=resource).success
    (record,) = toy.launches
    assert record.handle["home"] == "of the second"


class InPods(ScriptedBackend):
    """Each run is in a pod, which is gone when the run has failed, and with it the run's folder."""

    pod = 1

    def prepare(self, request: LaunchRequest) -> Handle:
        return {**super().prepare(request), "pod": self.pod}

    def poll(self, handle: Handle) -> RunStatus:
        self._look(handle)
        return super().poll(handle)

    def cancel(self, handle: Handle) -> None:
        self._look(handle)
        super().cancel(handle)
        self.pod += 1

    def _look(self, handle: Handle) -> None:
        if handle["pod"] != self.pod:
            raise LaunchError(f"the run was started in pod {handle['pod']}")


def test_a_run_that_was_seen_to_fail_is_resumed_from_where_it_cannot_be_seen(
    tmp_path: Path,
) -> None:
    steps = [
        ScriptedStep("start", publishes=["first"]),
        ScriptedStep("end", publishes=["second"], fails=1),
    ]
    backend, toy = InPods(steps), Toy(tmp_path)
    resource = scripted_resource(backend, str(tmp_path / "lake"))
    assets = toy.assets(retry_policy=dg.RetryPolicy(max_retries=1))
    with toy.instance() as instance:
        assert toy.materialize(instance=instance, assets=assets, resource=resource).success
    (record,) = toy.launches
    assert record.handle["pod"] == 2
    assert [step.partition("/")[2] for step in backend.executed] == ["start", "end", "end"]


LANDING = dg.AssetKey("landing")
CLAIMS = dg.AssetSpec("claims", partitions_def=MONTHS)


class Lost:
    """A run of `first`, made of `landing` or a month of `claims`, that was lost sight of."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.backend = Veiled([ScriptedStep("start", publishes=["first"])])
        self.toy, self.instance = Toy(folder), instance
        self.resource = scripted_resource(self.backend, str(self.toy.lake))

    def observe(self, version: str) -> None:
        tags = {"dagster/data_version": version}
        self.instance.report_runless_asset_event(dg.AssetObservation(LANDING, tags=tags))

    def make(self, month: str, version: str) -> None:
        tags = {"dagster/data_version": version}
        made = dg.AssetMaterialization(CLAIMS.key, partition=month, tags=tags)
        self.instance.report_runless_asset_event(made)

    def materialize(self, dependency: str = "landing", month: str | None = None) -> bool:
        parts = None if month is None else MONTHS
        spec = dg.AssetSpec("first", deps=[dependency], partitions_def=parts)
        made = self.toy.assets(assets=[spec], check_specs=[], partitions_def=parts)
        return dg.materialize(
            [made, CLAIMS],
            selection=["first"],
            instance=self.instance,
            partition_key=month,
            resources={"metaflow": self.resource},
            raise_on_error=False,
        ).success

    def lose(self, dependency: str = "landing", month: str | None = None) -> None:
        self.backend.signed_in = False
        assert not self.materialize(dependency, month)
        self.backend.signed_in = True

    @property
    def outcomes(self) -> list[str]:
        return [record.outcome for record in self.toy.launches]


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[Lost]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Lost(tmp_path, instance)


def test_a_lost_run_is_not_gone_on_with_when_what_it_reads_has_changed(lost: Lost) -> None:
    lost.observe("files-v1")
    lost.lose()
    lost.observe("files-v2")
    assert lost.materialize()
    assert lost.outcomes == ["cancelled", "succeeded"]


def test_a_lost_run_is_gone_on_with_while_what_it_reads_says_the_same(lost: Lost) -> None:
    lost.observe("files-v1")
    lost.lose()
    lost.observe("files-v1")
    assert lost.materialize()
    assert lost.outcomes == ["succeeded"]


def test_only_the_partitions_that_are_read_count(lost: Lost) -> None:
    lost.make("2024-01", "a")
    lost.lose("claims", "2024-01")
    lost.make("2024-02", "b")
    assert lost.materialize("claims", "2024-01")
    assert lost.outcomes == ["succeeded"]
    lost.lose("claims", "2024-01")
    lost.make("2024-01", "c")
    assert lost.materialize("claims", "2024-01")
    assert lost.outcomes == ["succeeded", "cancelled", "succeeded"]


def test_a_record_of_old_says_nothing_of_what_was_read(lost: Lost) -> None:
    lost.observe("files-v1")
    lost.lose()
    (record,) = lost.toy.launches
    Ledger(str(lost.toy.lake)).write(record.model_copy(update={"input_versions": None}))
    lost.observe("files-v2")
    assert lost.materialize()
    assert lost.outcomes == ["succeeded"]
