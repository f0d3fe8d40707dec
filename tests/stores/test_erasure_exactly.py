"""What an erasure takes and what it leaves: other datasets, numbers and times, damaged objects."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from person_kit import DATASET, MONTHS, PERSON, ROWS, contract, fill, write_model, write_raw
from registry_kit import UNTIL, files, manifest

from fraud_mlops.claims import ingest
from fraud_mlops.cli import main
from fraud_mlops.contract import Contract
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.registry.bundle import bundle_version, list_versions, read_manifest, write_bundle
from fraud_mlops.registry.lineage import now_called, resolved_version
from fraud_mlops.registry.pointers import promote
from fraud_mlops.reporting.told import published_partitions
from fraud_mlops.synthetic import truth_schema

THEIRS = {f"C{month}-{i}" for month in MONTHS for i in (7, 27)}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "landing").mkdir()
    return tmp_path / "lake"


def erase(root: Path, *options: str, value: str = PERSON) -> Result:
    command = ["erase", "--dataset", DATASET, "--value", value, "--output-uri", str(root), "--yes"]
    return CliRunner().invoke(main, [*command, *options])


def ids(root: Path, zone: str, month: int) -> set[str]:
    lake = Lakehouse(str(root))
    partition = lake.partition(zone, DATASET, "month", f"2024-{month:02}")
    return set(lake.read([partition])["claim_id"].to_pylist())


def write_small_raw(root: Path, person: str, claim: str) -> None:
    """One claim of a person whose id is a number, as everybody's ages and times have."""
    made = contract(root)
    lake = Lakehouse(str(root))
    write_raw(lake, made, 1)
    (partition,) = lake.partitions("raw", DATASET)
    rows = lake.read([partition]).slice(0, 1).to_pylist()
    rows[0] |= {"policyholder": person, "claim_id": claim}
    table = pa.Table.from_pylist(rows, schema=lake.read([partition]).schema)
    told = lake.metadata(partition)
    lake.write("raw", DATASET, "month", "2024-01", table.to_batches(), table.schema, told)


def put(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def card(*components: dict[str, Any]) -> str:
    page = {"components": [{"type": "markdown", "source": "x" * 99}, *components]}
    blob = base64.b64encode(json.dumps(page).encode()).decode()
    return f"<p width='7'>07</p><script>window.__MF_DATA__['main'] = \"{blob}\"</script>"


def test_numbers_and_times_and_other_datasets_are_spared(root: Path) -> None:
    """The person is called 7, the claim 11: masked are fields and quotes that mean them."""
    write_small_raw(root, "7", "11")
    left = {
        "event_time": "2022-04-01T07:11:37", "age": 7, "documents": "7", "at": "7:11",
        "reason": "more than 7 of 11 days", "by_column": {"policyholder": 7, "claim_id": 11},
        "uri": "s3://b/'7'/11", "share": 0.7, "policyholder_id": "'77'", "equal": "age = 7",
    }  # fmt: skip
    gone = {
        "claim_id": "11",
        "policyholder": "7",
        "insured": "7",
        "claim": "11",
        "warning": "row 3, column 'insured': '7'; insured=7, claim_id = 11, insured=7.5",
    }
    masked = dict.fromkeys(("claim_id", "policyholder", "insured", "claim"), "***") | {
        "warning": "row 3, column 'insured': '***'; insured=***, claim_id = ***, insured=7.5"
    }
    text = json.dumps({"messages": [{"sample": [left | gone]}]})
    run = root / "_reports" / "F" / "one"
    own = put(run / f"{DATASET}.raw_zone.json", text)
    spared = [
        put(run / ".launch.json", text),
        put(run / f"{DATASET}s.raw_zone.json", text),
        put(root / "_reports" / "F" / "two" / "other.raw_zone.json", text),
        put(root / "_reports" / "F" / "two" / "card-a.html", card({"source": "policyholder '7'"})),
        put(run / "card-b.html", card({"data": [["7", "11"], ["age = 7", "07:11"]]})),
    ]
    theirs = put(run / "card-c.html", card({"data": [["insured = 7", "12"]]}))
    before = [path.read_bytes() for path in spared]
    result = erase(root, value="7")
    assert result.exit_code == 0, result.output
    assert json.loads(own.read_text())["messages"][0]["sample"] == [left | masked]
    assert [path.read_bytes() for path in spared] == before
    assert not theirs.exists()


def test_a_sample_in_a_report_loses_the_rows_of_the_person_and_keeps_those_beside(
    root: Path,
) -> None:
    """Ids are masked there, and all the rest is not."""
    fill(str(root), root.parent / "landing")
    lake = Lakehouse(str(root))
    partition = lake.partitions("raw", DATASET)[0]
    claims = lake.read([partition])
    masked = frozenset({"claim_id", "policyholder", "insured"})
    (told,) = published_partitions(lake, (partition,), claims.schema, {}, masked=masked)
    (first,) = claims.slice(7, 1).to_pylist()
    theirs = (
        told.facts["sample"][0]
        | {n: first[n] for n in ("amount", "age")}
        | {"event_time": first["event_time"].isoformat()}
    )
    later = theirs | {"event_time": "2024-01-01T08:00:00+00:00"}
    other = theirs | {"amount": 108.0}
    rows = [theirs, later, other]
    report = {"messages": [{"sample": {"type": "json", "raw_value": rows}}]}
    path = put(root / "_reports" / "F" / "one" / f"{DATASET}.raw_zone.json", json.dumps(report))
    assert erase(root).exit_code == 0
    left = json.loads(path.read_text())["messages"][0]["sample"]["raw_value"]
    assert left == [later, other]


def test_a_card_beside_no_report_may_be_of_any_dataset_and_is_told(root: Path) -> None:
    write_small_raw(root, "7", "11")
    page = put(root / "_reports" / "F" / "one" / "card-a.html", card({"source": "insured = 7"}))
    result = erase(root, value="7")
    assert "has not told which dataset it was of" in result.stdout
    assert page.exists()


@pytest.mark.parametrize("name", ["../../2026-17", "a/b", "", ".hidden"])
def test_a_request_that_cannot_name_a_record_is_refused_before_anything(
    root: Path, name: str
) -> None:
    write_small_raw(root, "7", "11")
    before = {path: path.read_bytes() for path in root.rglob("*.parquet")}
    result = erase(root, "--request", name, value="7")
    assert result.exit_code == 2
    assert "cannot name a file" in result.stderr
    assert {path: path.read_bytes() for path in root.rglob("*.parquet")} == before


def test_a_record_that_cannot_be_added_to_is_told_before_anything(root: Path) -> None:
    write_small_raw(root, "7", "11")
    put(root / "_erasures" / DATASET / "c.json", "{")
    result = erase(root, "--request", "c", value="7")
    assert "is a damaged record; nothing was erased" in result.stderr
    assert ids(root, "raw", 1) == {"11"}


def test_ids_that_pandas_has_made_floats_are_found_in_quarantine(root: Path) -> None:
    landing = root.parent / "landing"
    day = pd.Timestamp("2024-01-05")
    pd.DataFrame({
        "claim": [1, 2, 2, None, 1, 3, 3], "insured": [49, 50, 49, 49, None, 50, 50],
        "day": day, "fraud": 0, "age": 3.5,
    }).to_parquet(landing / "a.parquet")  # fmt: skip
    made = Contract.model_validate({
        "name": DATASET, "source": {"uri": f"{landing}/*.parquet"}, "claim_id": "claim",
        "event_time": {"column": "day"}, "label": {"column": "fraud", "delay": "30d"},
        "entities": {"policyholder": "insured"}, "numeric": ["age"], "categorical": [],
        "quality": {"max_bad_share": 1.0},
    })  # fmt: skip
    lake = Lakehouse(str(root))
    moment = datetime(2025, 1, 1, tzinfo=UTC)
    report = ingest(made, lake, launch_id="one", as_of=moment, sample_size=None)
    assert report.quarantined == 4
    assert erase(root, value="49").exit_code == 0
    assert ids(root, "raw", 1) == {"2", "3"}
    kept = pq.read_table(root / "quarantine" / DATASET / "one.parquet")["record"].to_pylist()
    assert [json.loads(record)["claim"] for record in kept] == [3.0]


def test_a_person_of_an_earlier_release_is_found_by_either_spelling(root: Path) -> None:
    """Raw has 49.0, as it was once read; sources and quarantine have what was delivered."""
    write_small_raw(root, "49.0", "11.0")
    records = [
        {"claim": "x", "insured": "49.0"}, {"claim": "x", "insured": 49},
        {"claim": "11.0", "insured": ""}, {"claim": 11, "insured": ""},
        {"line": "a;49;b"}, {"line": "a;49.0;b"}, {"claim": "x", "insured": "490"},
    ]  # fmt: skip
    table = pa.table({"record": [json.dumps(record) for record in records]})
    path = put(root / "quarantine" / DATASET / "one.parquet", "")
    pq.write_table(table, path)
    put(root / "a.csv", "claim,insured\n1,49.0\n2,49\n3,50\n")
    result = erase(root, value="49.0")
    assert result.exit_code == 0, result.output
    assert pq.read_table(path)["record"].to_pylist() == [json.dumps(records[-1])]
    (told,) = [line for line in result.stdout.splitlines() if "a.csv" in line]
    assert " 2 " in told


def test_the_truth_of_generated_claims_goes_too(root: Path) -> None:
    fill(str(root), root.parent / "landing")
    rows = [{"claim_id": c, "fraud_probability": 0.1, "kind": "none"} for c in ("C1-7", "C1-8")]
    folder = root / "truth" / DATASET
    folder.mkdir(parents=True)
    for name, some in (("one", rows), ("two", rows[:1])):
        pq.write_table(pa.Table.from_pylist(some, truth_schema()), folder / f"{name}.parquet")
    assert "truth" in erase(root, "--dry-run").stdout
    assert pq.read_table(folder / "one.parquet").num_rows == 2
    assert erase(root).exit_code == 0
    assert pq.read_table(folder / "one.parquet")["claim_id"].to_pylist() == ["C1-8"]
    emptied = pq.read_table(folder / "two.parquet")
    assert emptied.num_rows == 0, "raw partitions name the file"
    assert emptied.schema.equals(truth_schema())


def truncate(root: Path, zone: str, month: int) -> bytes:
    path = root / zone / DATASET / f"month=2024-{month:02}" / "part-0.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return whole


def spoil(root: Path, zone: str, month: int) -> None:
    """The rows are damaged, and the footer is whole."""
    path = root / zone / DATASET / f"month=2024-{month:02}" / "part-0.parquet"
    whole = path.read_bytes()
    path.write_bytes(b"PAR1" + bytes(500) + whole[504:])


@pytest.mark.parametrize(("damage", "month"), [(truncate, 1), (truncate, 3), (spoil, 2)])
def test_a_raw_partition_that_cannot_be_read_stops_nothing(
    root: Path, damage: Callable[[Path, str, int], object], month: int
) -> None:
    fill(str(root), root.parent / "landing")
    damage(root, "raw", month)
    result = erase(root, "--request", "c")
    assert result.exit_code == 1
    assert "could not be looked into" in result.stdout
    assert "1 object could not be looked into" in result.stderr
    for other in {*MONTHS} - {month}:
        assert not THEIRS & (ids(root, "raw", other) | ids(root, "ml_outputs", other))
        assert len(ids(root, "raw", other)) == ROWS - 2
    record = json.loads((root / "_erasures" / DATASET / "c.json").read_text())
    assert [e["uri"] for e in record["runs"][0]["erased"] if e["unread"]] == [
        str(root / "raw" / DATASET / f"month=2024-{month:02}" / "part-0.parquet")]  # fmt: skip


def test_claims_stay_in_raw_until_what_is_found_by_them_is_mended(root: Path) -> None:
    """Else nobody would know any more whose scores those are."""
    fill(str(root), root.parent / "landing")
    whole = truncate(root, "ml_outputs", 2)
    result = erase(root)
    assert result.exit_code == 1
    assert "stays until what could not be looked into is mended" in result.stdout
    assert THEIRS & ids(root, "raw", 2)
    assert not THEIRS & (ids(root, "raw", 1) | ids(root, "raw", 3))
    (root / "ml_outputs" / DATASET / "month=2024-02" / "part-0.parquet").write_bytes(whole)
    assert erase(root).exit_code == 0
    assert not THEIRS & (ids(root, "raw", 2) | ids(root, "ml_outputs", 2))


@pytest.mark.parametrize(
    "name", [f"quarantine/{DATASET}/bad.parquet", f"features/{DATASET}/x/train.parquet",
             f"truth/{DATASET}/bad.parquet", f"prediction_log/{DATASET}/day=2024-01-01/b.parquet",
             f"_reports/F/one/{DATASET}.bad.json", f"_landing/{DATASET}/aside/2.json"],
)  # fmt: skip
def test_no_damaged_file_stops_an_erasure(root: Path, name: str) -> None:
    write_small_raw(root, "7", "11")
    put(root / name, "PAR1 and no more")
    result = erase(root, value="7")
    assert result.exit_code == 1
    assert name in result.stdout
    assert "1 object could not be looked into" in result.stderr


def test_a_model_that_judged_a_slice_named_for_the_person_is_replaced_without_it(
    root: Path,
) -> None:
    fill(str(root), root.parent / "landing")
    content, uri = files(b"sliced"), f"{root}/sliced"
    version = bundle_version(content, UNTIL)
    parts = [{"kind": "category", "feature": "insured", "value": v} for v in (PERSON, "P-77")]
    told = manifest(version, oot={"report": {"rows": 9, "slices": parts}})
    write_bundle(uri, DATASET, version, content, told)
    promote(uri, DATASET, version, expected=None, by="x", reason="y")
    assert erase(root, "--model-uri", uri).exit_code == 0
    (left,) = list_versions(uri, DATASET)
    assert read_manifest(uri, DATASET, left).oot == {"report": {"rows": 9, "slices": parts[1:]}}


def test_a_version_is_found_by_every_name_it_had(root: Path) -> None:
    fill(str(root), root.parent / "landing")
    uri = f"{root}/twice"
    first = write_model(uri, b"c")
    promote(uri, DATASET, first, expected=None, by="x", reason="y")
    names = [first]
    for person in ("P-9", "P-11"):
        assert erase(root, "--model-uri", uri, value=person).exit_code == 0
        names += list_versions(uri, DATASET)
    assert len(set(names)) == 3
    assert now_called(uri, DATASET) == {names[0]: names[2], names[1]: names[2]}
    assert {resolved_version(uri, DATASET, name) for name in names} == {names[2]}
    shown = CliRunner().invoke(
        main, ["models", "show", first, "--dataset", DATASET, "--model-uri", uri]
    )
    assert names[2] in shown.stdout


def test_a_version_that_scores_name_by_its_former_name_does_not_expire(root: Path) -> None:
    champion, _ = fill(str(root), root.parent / "landing")
    uri, who = f"{root}/models", {"by": "x", "reason": "y"}
    assert erase(root).exit_code == 0
    scored = resolved_version(uri, DATASET, champion)
    other = write_model(uri, b"z")
    promote(uri, DATASET, other, expected=scored, **who)
    promote(uri, DATASET, write_model(uri, b"zz"), expected=other, **who)
    expire = ["models", "expire", "--dataset", DATASET, "--output-uri", str(root), "--keep", "0",
              "--older-than", "1d", "--dry-run"]  # fmt: skip
    lines = CliRunner().invoke(main, expire).stdout.splitlines()
    (line,) = [line for line in lines if scored in line]
    assert f"scores of {len(MONTHS)} partitions" in line
