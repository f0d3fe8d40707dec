"""One policyholder, erased from everything that a lakehouse keeps, on every store."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from person_kit import DATASET, MONTHS, PERSON, ROWS, contract, fill, sample, write_model

from fraud_mlops.cli import main
from fraud_mlops.errors import StoreError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import exists, list_files, open_input, read_bytes
from fraud_mlops.maintenance import erasure
from fraud_mlops.pipeline.reference import read_reference
from fraud_mlops.registry.bundle import list_versions, load_bundle
from fraud_mlops.registry.going_back import rollback, rollback_target
from fraud_mlops.registry.pointers import (
    promote,
    read_pointer,
    set_challenger,
)
from fraud_mlops.serving.entity_state import read_entity_state
from fraud_mlops.serving.logged import read_predictions

THEIRS = {f"C{month}-{i}" for month in MONTHS for i in (7, 27)}


on_a_folder = pytest.mark.parametrize("root", ["local"], indirect=True)
everywhere = pytest.mark.parametrize("root", ["local", "s3", "adls"], indirect=True)


@pytest.fixture
def models(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "landing").mkdir()
    return fill(root, tmp_path / "landing")


def erase(root: str, *options: str) -> Result:
    command = ["erase", "--dataset", DATASET, "--value", PERSON, "--output-uri", root, "--yes"]
    return CliRunner().invoke(main, [*command, *options])


def without_theirs(table: pa.Table) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table["age"], pa.array([7.0, 27.0]))))


def everything(root: str) -> dict[str, int]:
    return {file.path: file.bytes for file in list_files(root)}


@on_a_folder
def test_a_dry_run_says_what_would_go_and_changes_nothing(
    root: str, models: tuple[str, str]
) -> None:
    before = everything(root)
    result = erase(root, "--dry-run")
    assert result.exit_code == 0, result.output
    assert everything(root) == before
    for place in ("raw", "ml_outputs", "features", "quarantine", "reports", "set aside", "model",
                  "entity_state", "predictions", "metrics"):  # fmt: skip
        assert place in result.stdout
    assert "would be erased" in result.stdout


@everywhere
def test_nothing_of_the_person_is_left_and_all_else_is(root: str, models: tuple[str, str]) -> None:
    lake = Lakehouse(root)
    result = erase(root, "--request", "case-12", "--by", "dpo")
    assert result.exit_code == 0, result.output

    for zone, column in (("raw", "claim_id"), ("ml_outputs", "claim_id")):
        ids = lake.read(lake.partitions(zone, DATASET), [column])[column].to_pylist()
        assert len(ids) == len(MONTHS) * (ROWS - 2)
        assert not THEIRS & set(ids)
    [state] = lake.partitions("entity_state", DATASET)
    lake.verify(state)
    assert PERSON not in lake.read([state])["policyholder"].to_pylist()
    assert state.rows == len(MONTHS) * (ROWS - 2)
    assert read_predictions(lake, DATASET)["claim_id"].to_pylist() == ["C1-8", "C9-7", None]
    assert len(list_files(lake.uri("prediction_log", DATASET))) == 1, "an empty file goes"
    assert not exists(lake.uri("features", DATASET, "one", "train.parquet"))
    assert exists(lake.uri("features", DATASET, "two", "train.parquet"))
    assert not exists(lake.uri("quarantine", DATASET, "two.parquet"))
    with open_input(lake.uri("quarantine", DATASET, "one.parquet")) as stream:
        assert pq.read_table(stream)["record"].to_pylist() == [
            json.dumps({"claim": "x2", "insured": "P-77"})]  # fmt: skip
    report = json.loads(read_bytes(lake.uri("_reports/F/one/motor.raw_zone.json")))
    assert report["messages"][0]["sample"] == [{"claim_id": "***", "note": "of ***, P-77"}]
    page = read_bytes(lake.uri("_reports/F/one/page.html")).decode()
    assert page.startswith("<p class='***'>*** and C1-77</p><img src='data:image/png;base64,iVBOR")
    assert not exists(lake.uri("_reports/F/one/card-theirs.html"))
    assert exists(lake.uri("_reports/F/one/card-others.html"))
    assert PERSON not in read_bytes(lake.uri("_landing", DATASET, "aside", "1.json")).decode()
    for partition in lake.partitions("raw", DATASET):
        lake.verify(partition)
        assert lake.metadata(partition)["run"] == "IngestFlow/1"

    assert "a.csv" in result.stdout, "the source still has it"
    record = json.loads(read_bytes(lake.uri("_erasures", DATASET, "case-12.json")))
    assert record["runs"][0]["by"] == "dpo"
    assert PERSON not in json.dumps(record)
    rows: dict[str, int] = {}
    for found in record["runs"][0]["erased"]:
        rows[found["place"]] = rows.get(found["place"], 0) + found["rows"]
    assert {"raw": 6, "ml_outputs": 6, "entity_state": 6, "predictions": 2}.items() <= rows.items()


@everywhere
def test_models_lose_the_rows_of_their_sample_and_go_on_leading(
    root: str, models: tuple[str, str]
) -> None:
    uri = f"{root}/models"
    dry, done = erase(root, "--dry-run"), erase(root)
    assert done.exit_code == 0
    champion, challenger = (read_pointer(uri, DATASET, role) for role in ("champion", "challenger"))
    assert champion is not None
    assert challenger is not None
    for role, new in (("champion", champion.version), ("challenger", challenger.version)):
        assert f"would be erased; the version is then {role} {new}" in dry.stdout
        assert f"erased; the version is now {role} {new}" in done.stdout
    assert "Models keep their weights" in done.stdout
    assert sorted(list_versions(uri, DATASET)) == sorted([champion.version, challenger.version])
    assert not set(models) & {champion.version, challenger.version}
    for pointer, before in ((champion, models[0]), (challenger, models[1])):
        bundle = load_bundle(uri, DATASET, pointer.version)
        assert bundle.manifest.derived_from == before
        assert bundle.files["weights.safetensors"] in (b"a", b"b")
        left = read_reference(bundle.files)
        assert left is not None
        theirs = {(100.0 * m + i, float(i)) for m in MONTHS for i in (7, 27)}
        rows = set(zip(left["amount"].to_pylist(), left["age"].to_pylist(), strict=True))
        assert left.num_rows == sample().num_rows - len(theirs)
        assert not theirs & rows


@on_a_folder
def test_a_rollback_knows_what_became_of_a_version(root: str, models: tuple[str, str]) -> None:
    uri, who = f"{root}/models", {"by": "x", "reason": "y"}
    promote(uri, DATASET, models[1], expected=models[0], **who)
    assert erase(root).exit_code == 0
    target = rollback_target(uri, DATASET)
    assert target is not None
    assert rollback(uri, DATASET, **who).version == target
    assert load_bundle(uri, DATASET, target).manifest.derived_from == models[0]


@on_a_folder
def test_a_second_run_finds_nothing(root: str, models: tuple[str, str]) -> None:
    erase(root, "--request", "c")
    before = everything(root)
    again = erase(root, "--request", "c")
    assert again.exit_code == 0
    changed = {path for path, size in everything(root).items() if before.get(path) != size}
    assert changed == {f"_erasures/{DATASET}/c.json"}
    runs = json.loads(read_bytes(f"{root}/_erasures/{DATASET}/c.json"))["runs"]
    assert [e["place"] for e in runs[1]["erased"]] == ["source"]


@on_a_folder
def test_a_run_that_was_killed_is_begun_again(
    root: str, models: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite, calls = Lakehouse.rewrite, []

    def dies(lake: Lakehouse, partition: object, *arguments: object) -> object:
        calls.append(partition)
        if len(calls) == 5:  # the scores are done, and one month of raw
            raise StoreError("the machine went away")
        return rewrite(lake, partition, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Lakehouse, "rewrite", dies)
    assert "the machine went away" in erase(root, "--request", "c").output
    monkeypatch.setattr(Lakehouse, "rewrite", rewrite)
    assert erase(root, "--request", "c").exit_code == 0
    lake = Lakehouse(root)
    for zone in ("raw", "ml_outputs"):
        ids = lake.read(lake.partitions(zone, DATASET))["claim_id"].to_pylist()
        assert not THEIRS & set(ids)


@on_a_folder
def test_the_entity_state_keeps_what_it_says_of_itself(root: str, models: tuple[str, str]) -> None:
    lake, made = Lakehouse(root), contract(Path())
    before = read_entity_state(made, lake)
    assert erase(root).exit_code == 0
    after = read_entity_state(made, lake)
    assert before is not None
    assert after is not None
    assert after.facts == before.facts
    assert after.data_version != before.data_version, "by which the API takes it up"
    theirs = pc.equal(before.claims["policyholder"], PERSON)
    assert after.claims.equals(before.claims.filter(pc.invert(theirs)))


@on_a_folder
def test_a_state_that_was_published_meanwhile_is_found_when_raw_is_gone(
    root: str, models: tuple[str, str]
) -> None:
    lake = Lakehouse(root)
    [state] = lake.partitions("entity_state", DATASET)
    old, told = lake.read([state]), lake.metadata(state)
    assert erase(root).exit_code == 0
    lake.write("entity_state", DATASET, "state", "latest", old.to_batches(), old.schema, told)
    assert erase(root, "--request", "c").exit_code == 0
    runs = json.loads(read_bytes(f"{root}/_erasures/{DATASET}/c.json"))["runs"]
    assert [(e["place"], e["rows"]) for e in runs[0]["erased"]] == [
        ("source", 1), ("entity_state", 6)]  # fmt: skip


@on_a_folder
def test_claims_that_only_the_api_has_seen_go_by_their_ids(
    root: str, models: tuple[str, str]
) -> None:
    assert erase(root, "--claim", "C9-7").exit_code == 0
    assert read_predictions(Lakehouse(root), DATASET)["claim_id"].to_pylist() == ["C1-8", None]


@on_a_folder
def test_a_claim_of_somebody_else_is_refused(root: str, models: tuple[str, str]) -> None:
    before = everything(root)
    result = erase(root, "--claim", "C2-8")
    assert result.exit_code == 1
    assert "claim 'C2-8' is not of this policyholder; nothing was erased" in result.stderr
    assert everything(root) == before


@on_a_folder
@pytest.mark.parametrize("leads", [0, 1])
def test_models_that_differed_by_the_rows_alone_stay_two(
    root: str, tmp_path: Path, leads: int
) -> None:
    """Both become the same sample; whichever comes first, no old version is left."""
    (tmp_path / "landing").mkdir()
    fill(root, tmp_path / "landing")
    uri, who = f"{root}/twins", {"by": "x", "reason": "y"}
    others = without_theirs(sample())
    for weights in (b"c", b"d"):
        for twin in (sample(), pa.concat_tables([sample().slice(7, 1), others])):
            write_model(uri, weights, table=twin)
    pairs = {}
    for version in list_versions(uri, DATASET):
        weights = load_bundle(uri, DATASET, version).files["weights.safetensors"]
        pairs.setdefault(weights, []).append(version)
    champion, challenger = pairs[b"c"][leads], pairs[b"c"][1 - leads]
    promote(uri, DATASET, pairs[b"d"][0], expected=None, **who)
    promote(uri, DATASET, challenger, expected=pairs[b"d"][0], **who)
    promote(uri, DATASET, champion, expected=challenger, **who)
    set_challenger(uri, DATASET, challenger, **who)
    result = erase(root, "--model-uri", uri)
    assert result.exit_code == 0, result.output
    old = {version for versions in pairs.values() for version in versions}
    left = list_versions(uri, DATASET)
    assert len(left) == 4
    assert not old & set(left)
    target = rollback_target(uri, DATASET)
    assert target is not None
    assert load_bundle(uri, DATASET, target).manifest.derived_from == challenger


@on_a_folder
def test_an_entity_that_there_is_not_is_said(root: str, models: tuple[str, str]) -> None:
    result = erase(root, "--entity", "driver")
    assert result.exit_code == 1
    assert "has no entity 'driver'; its entities are policyholder" in result.stderr


@everywhere
def test_rows_that_a_run_replaces_meanwhile_are_not_overwritten(
    root: str, models: tuple[str, str]
) -> None:
    lake = Lakehouse(root)
    partition = lake.partitions("raw", DATASET)[0]

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        table = lake.read([partition])
        lake.write("raw", DATASET, "month", "2024-01", table.slice(1).to_batches(), table.schema)
        return batch

    with pytest.raises(StoreError):
        lake.rewrite(partition, change)
    assert lake.partition("raw", DATASET, "month", "2024-01").rows == ROWS - 1
    assert erasure.find_person(lake, DATASET, "policyholder", PERSON).claims.num_rows == 6
