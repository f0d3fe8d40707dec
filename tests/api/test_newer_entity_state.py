"""The entity state that is served does not go back in time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from api_kit import DATASET, Clock, Published, open_server

from fraud_mlops.lakehouse.partitions import Lakehouse, Partition
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.pipeline.ranges import pin_raw
from fraud_mlops.pipeline.scoring import publish_state
from fraud_mlops.registry.pointers import promote, withdraw
from fraud_mlops.serving.champion import ServedModel
from fraud_mlops.serving.entity_state import (
    StateFacts,
    publish_entity_state,
    read_entity_state,
    state_uri,
)

END = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def raw(published: Published, own: Published) -> list[Partition]:
    shutil.copytree(published.root / "raw", own.root / "raw")
    return own.lake.partitions("raw", DATASET)


def facts(own: Published) -> StateFacts:
    state = read_entity_state(own.features.contract, own.lake)
    assert state is not None
    return state.facts


def test_claims_that_land_while_a_run_trains_do_not_end_it_after_its_scores(
    own: Published, raw: list[Partition], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_run(str(own.contract), run="Test/1", output_uri=str(own.root))
    pinned, before = pin_raw(plan), facts(own)
    landed = own.lake.read(raw[-1:]).slice(1)
    place = raw[-1].zone, raw[-1].dataset, raw[-1].key, raw[-1].value
    own.lake.write(*place, landed.to_batches(), landed.schema, own.lake.metadata(raw[-1]))
    assert publish_state(plan, pinned) is None
    told = capsys.readouterr().out
    assert f"publish it: python flows/scoring_flow.py run --dataset {plan.named}" in told
    assert facts(own) == before


@pytest.mark.usefixtures("raw")
def test_a_run_that_looks_back_leaves_the_state_and_says_so(
    own: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    before = facts(own)
    assert before.as_of == END
    back = plan_run(
        str(own.contract), run="Test/back", output_uri=str(own.root), as_of="2024-06-01"
    )
    assert publish_state(back, pin_raw(back)) is None
    assert "one as of a later time than 2024-06-01 00:00 UTC, and stays" in capsys.readouterr().out
    assert facts(own) == before


def test_a_run_that_is_resumed_after_newer_ones_leaves_theirs(
    own: Published, raw: list[Partition]
) -> None:
    contract = own.features.contract
    newer = publish_entity_state(
        contract, own.lake, raw, as_of=END + timedelta(days=60), run="Test/newer"
    )
    assert newer is not None
    old = publish_entity_state(contract, own.lake, raw[:-2], as_of=END, run="Test/resumed")
    assert old is None
    assert facts(own).run == "Test/newer"


class Overtaken(Lakehouse):
    """Another run comes between the look at what stands there and the write."""

    overtake: Callable[[], Any] | None = None

    def write(self, *given: Any, **more: Any) -> Partition:
        overtake, self.overtake = self.overtake, None
        if overtake:
            overtake()
        return super().write(*given, **more)


@pytest.mark.parametrize("stands", ["whole", "damaged", "none"])
def test_of_two_runs_at_once_the_newer_one_wins(
    own: Published, raw: list[Partition], stands: str
) -> None:
    contract = own.features.contract
    state = own.root / state_uri(contract, own.lake)
    if stands == "damaged":
        state.write_bytes(b"PAR1")
    elif stands == "none":
        state.unlink()
    lake = Overtaken(str(own.root))
    lake.overtake = lambda: publish_entity_state(
        contract, own.lake, raw, as_of=END + timedelta(days=1), run="Test/newer"
    )
    assert publish_entity_state(contract, lake, raw, as_of=END, run="Test/older") is None
    assert facts(own).run == "Test/newer"


def test_a_time_to_come_keeps_no_later_run_from_publishing(
    own: Published, raw: list[Partition]
) -> None:
    contract = own.features.contract
    far = datetime(2099, 1, 1, tzinfo=UTC)
    assert publish_entity_state(contract, own.lake, raw, as_of=far, run="Test/far")
    assert publish_entity_state(contract, own.lake, raw, as_of=datetime.now(UTC), run="Test/now")
    assert facts(own).run == "Test/now"


def test_a_damaged_state_is_replaced(own: Published, raw: list[Partition]) -> None:
    contract = own.features.contract
    (own.root / state_uri(contract, own.lake)).write_bytes(b"PAR1")
    assert publish_entity_state(contract, own.lake, raw, as_of=END, run="Test/again")
    assert facts(own).run == "Test/again"


def test_a_state_without_the_labels_of_late_is_told_as_stale(
    own: Published, raw: list[Partition]
) -> None:
    contract = own.features.contract
    (own.root / state_uri(contract, own.lake)).unlink()
    back = datetime(2024, 12, 1, tzinfo=UTC)
    publish_entity_state(contract, own.lake, raw, as_of=back, run="Test/back")
    served = ServedModel(own.models, DATASET, own.lake)
    served.look()
    scorer = served.scorer
    assert scorer is not None
    inputs = scorer.prepare([scorer.reader.read(json.dumps(own.claim()).encode())])
    [told] = [w for w in scorer.warnings(inputs)[0] if w["code"] == "stale_entity_state"]
    assert "until 2024-12-01 00:00 UTC" in told["detail"]


def served_with_bad_promotion(own: Published) -> ServedModel:
    """The first version, with the second pointed at, which is damaged."""
    served = ServedModel(own.models, DATASET, own.lake)
    assert served.look()
    first, second = own.versions["first"], own.versions["second"]
    promote(own.models, DATASET, second, expected=first, by="test", reason="test")
    (own.root / "models" / DATASET / second / "weights.safetensors").write_bytes(b"x")
    assert not served.look()
    assert served.refused
    return served


def test_a_new_state_is_taken_up_while_another_version_is_refused(
    own: Published, raw: list[Partition]
) -> None:
    served, contract = served_with_bad_promotion(own), own.features.contract
    newer = END + timedelta(days=60)
    published = publish_entity_state(contract, own.lake, raw, as_of=newer, run="Test/newer")
    assert published
    assert served.look()
    assert served.scorer
    assert served.scorer.version == own.versions["first"]
    assert served.scorer.histories.data_version == published.data_version
    assert served.refused
    assert "weights.safetensors" in str(served.problem)


def test_a_new_state_is_taken_up_while_the_pointer_cannot_be_read(
    own: Published, raw: list[Partition]
) -> None:
    served, contract = ServedModel(own.models, DATASET, own.lake), own.features.contract
    assert served.look()
    (own.root / "models" / DATASET / "champion.json").write_text("{")
    newer = END + timedelta(days=60)
    published = publish_entity_state(contract, own.lake, raw, as_of=newer, run="Test/newer")
    assert served.look()
    assert served.problem
    assert published
    assert served.scorer
    assert served.scorer.histories.data_version == published.data_version


class Counting(Lakehouse):
    """Counts the tables that are read whole."""

    reads = 0

    def read(self, *given: Any, **more: Any) -> pa.Table:
        self.reads += 1
        return super().read(*given, **more)


@pytest.mark.parametrize("damage", ["other entities", "no Parquet"])
def test_a_state_that_cannot_be_used_is_told_and_not_read_at_every_look(
    own: Published, damage: str, clock: Clock
) -> None:
    lake = Counting(str(own.root))
    served = ServedModel(own.models, DATASET, lake)
    assert served.look()
    path = own.root / state_uri(own.features.contract, own.lake)
    before, kept = served.scorer, path.read_bytes()
    if damage == "no Parquet":
        path.write_bytes(b"PAR1")
    else:
        [partition] = lake.partitions("entity_state", DATASET)
        other = lake.read([partition]).rename_columns({"provider": "vendor"})
        place = ("entity_state", DATASET, "state", "latest")
        lake.write(*place, other.to_batches(), other.schema, lake.metadata(partition))
    lake.reads = 0
    for _ in range(10):
        assert not served.look()
    read = lake.reads
    assert read == (damage == "other entities")
    clock.now += 1
    assert not served.look()
    assert lake.reads == 2 * read
    assert served.state_problem
    assert (served.problem, served.refused) == (None, None)
    assert served.scorer is before
    path.write_bytes(kept)  # another object, by its time; tried at once
    assert served.look()
    assert served.state_problem is None


def test_while_a_version_is_left_alone_the_reason_is_its_own(own: Published, clock: Clock) -> None:
    """And not that of the last look, when the pointer could not be read."""
    assert clock.now == 0
    served = served_with_bad_promotion(own)
    pointer = own.root / "models" / DATASET / "champion.json"
    kept = pointer.read_bytes()
    pointer.write_text("{")
    assert not served.look()
    assert "is no pointer" in str(served.problem)
    pointer.write_bytes(kept)
    assert not served.look()
    assert served.refused
    assert served.problem == served.refused.reason


def test_a_version_that_is_no_longer_pointed_at_is_not_refused(
    own: Published, clock: Clock
) -> None:
    """And is tried at once when it is pointed at again, mended."""
    assert clock.now == 0
    first, second = own.versions.values()
    weights = own.root / "models" / DATASET / second / "weights.safetensors"
    kept = weights.read_bytes()
    served = served_with_bad_promotion(own)
    withdraw(own.models, DATASET, second, by="test", reason="test")
    assert not served.look()
    assert served.scorer
    assert (served.scorer.version, served.refused) == (first, None)
    weights.write_bytes(kept)
    promote(own.models, DATASET, second, expected=None, by="test", reason="test")
    assert served.look()
    assert served.scorer.version == second


def test_a_state_that_cannot_be_used_is_in_readyz_and_in_the_metrics(
    own: Published, tmp_path: Path
) -> None:
    def told(value: int) -> str:
        return f'fraud_entity_state_refused{{role="champion"}} {value}.0'

    with open_server(own, tmp_path) as server:
        assert told(0) in server.get("/metrics").text
        (own.root / state_uri(own.features.contract, own.lake)).write_bytes(b"PAR1")
        server.until(lambda: "problem" in server.get("/readyz").json())
        assert server.score(own.claim()).status_code == 200
        server.until(lambda: told(1) in server.get("/metrics").text)
