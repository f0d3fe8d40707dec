"""`fraud-mlops lake`, and old model versions: what is there, whole, poor, old."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from registry_kit import DATASET, long_ago, publish

from fraud_mlops.claims.raw_zone import partition_metadata
from fraud_mlops.claims.schema import raw_schema
from fraud_mlops.cli import main
from fraud_mlops.contract import Contract
from fraud_mlops.lakehouse.content import ContentWriter
from fraud_mlops.lakehouse.partitions import Listed
from fraud_mlops.lakehouse.stores import list_files
from fraud_mlops.maintenance import expiry
from fraud_mlops.maintenance.expiry import old_partitions
from fraud_mlops.registry.bundle import list_versions
from fraud_mlops.registry.pointers import promote, set_challenger

if TYPE_CHECKING:
    from conftest import Shell

IN = ("--dataset", DATASET)
MOVED = {"by": "x", "reason": "y"}


@pytest.fixture
def lake(ran: Shell) -> Shell:
    """After a run, with raw claims of a contract in two months."""
    made = Contract.model_validate(
        {"name": DATASET, "source": {"uri": "x.csv"}, "claim_id": "claim",
         "event_time": {"column": "day"}, "label": {"column": "fraud", "delay": "30d"},
         "numeric": ["age"], "categorical": []}
    )  # fmt: skip
    schema = raw_schema(made)
    for month in (5, 6):
        moment = datetime(2024, month, 1, tzinfo=UTC)
        rows = [{"claim_id": f"c{i}", "event_time": moment, "age": 1.0} for i in range(100)]
        batches = pa.Table.from_pylist(rows, schema=schema).to_batches()
        value, told = f"2024-0{month}", partition_metadata(made, None)
        ran.lake.write("raw", DATASET, "month", value, batches, schema, told)
    return ran


def test_zones_and_partitions_are_listed(lake: Shell) -> None:
    text = lake.says("lake", "list")
    for zone in ("raw", "ml_outputs", "metrics"):
        assert f"{zone} " in text
    assert "2024-05 to 2024-06" in text
    text = lake.says("lake", "list", *IN, "--zone", "raw")
    assert [line.split()[0] for line in text.splitlines() if line.strip().startswith("2024")] == [
        "2024-05", "2024-06"]  # fmt: skip


def test_a_partition_is_inspected(lake: Shell) -> None:
    text = lake.says("lake", "inspect", "2024-05", *IN)
    for told in ("month=2024-05/part-0.parquet", "data_version", "claim_id", "timestamp", "100"):
        assert told in text
    assert "has no partition '1999-01'" in lake.fails("lake", "inspect", "1999-01", *IN)


def test_whole_partitions_are_said_to_be(lake: Shell) -> None:
    assert "6 of 6 partitions of motor are whole" in lake.says("lake", "verify", *IN)


def test_damage_and_wrong_columns_are_told_apart(lake: Shell) -> None:
    path = lake.root / "raw" / DATASET / "month=2024-05" / "part-0.parquet"
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    schema = pa.schema([("claim_id", pa.string()), ("score", pa.float32()), ("mood", pa.string())])
    lake.lake.write("ml_outputs", DATASET, "month", "2024-05", (), schema)
    result = lake("lake", "verify", *IN)
    assert result.exit_code == 1
    assert "content does not match its data version" in result.stdout
    assert "column 'score' is float, and should be double" in result.stdout
    assert "has a column 'mood' of nobody's" in result.stdout
    assert "2 of 6 partitions cannot be used" in result.stderr


def cut_badly(lake: Shell) -> pa.Table:
    """As a program does that appends: twenty row groups of five rows."""
    (first, _) = lake.lake.partitions("raw", DATASET)
    table, told = lake.lake.read([first]), lake.lake.metadata(first)
    with ContentWriter(first.uri, table.schema, told) as writer:
        for batch in table.to_batches(max_chunksize=5):
            writer._waiting, writer._waiting_rows = [batch], 5
            writer._flush(5)
    return table


def test_poor_row_groups_are_cut_again_and_the_rows_stay(lake: Shell) -> None:
    table = cut_badly(lake)
    path = lake.root / "raw" / DATASET / "month=2024-05" / "part-0.parquet"
    before = path.read_bytes()
    text = lake.says("lake", "compact", *IN, "--dry-run")
    assert "1 partition would be cut again" in text
    assert path.read_bytes() == before

    assert "1 partition was cut again" in lake.says("lake", "compact", *IN)
    assert pq.read_metadata(path).num_row_groups == 1
    (first, _) = lake.lake.partitions("raw", DATASET)
    assert lake.lake.read([first]).equals(table)
    assert "6 of 6" in lake.says("lake", "verify", *IN)
    assert "0 partitions were cut again" in lake.says("lake", "compact", *IN)


def test_old_partitions_go_and_nothing_else(lake: Shell) -> None:
    before = list_files(str(lake.root))
    old = ("lake", "expire", *IN, "--zone", "raw", "--older-than")
    text = lake.says(*old, "1d", "--dry-run")
    assert "2 partitions of raw" in text
    assert "would be removed" in text
    assert list_files(str(lake.root)) == before
    assert "0 partitions" in lake.says(*old, "36500d")
    assert "2 partitions" in lake.says(*old, "1d")
    assert lake.lake.partitions("raw", DATASET) == []
    assert len(lake.lake.partitions("ml_outputs", DATASET)) == 2


def test_a_partition_that_a_run_replaces_meanwhile_does_not_expire(
    lake: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed_before(*asked: Any) -> list[Listed]:
        found = old_partitions(*asked)
        first = lake.lake.partitions("raw", DATASET)[0]
        lake.lake.rewrite(first, lambda batch: batch.slice(1))
        return found

    monkeypatch.setattr(expiry, "old_partitions", listed_before)
    told = lake("lake", "expire", *IN, "--zone", "raw", "--older-than", "1d")
    assert told.exit_code == 1
    assert "1 partition of raw" in told.stdout
    assert "was written anew since it was listed; it stays" in told.stdout
    assert len(lake.lake.partitions("raw", DATASET)) == 1


def test_what_a_killed_writer_left_expires_with_its_partition(lake: Shell) -> None:
    [first] = lake.lake.partitions("raw", DATASET)[:1]
    path = Path(first.uri)
    dead = subprocess.Popen(["true"])
    dead.wait()
    path.with_name(f".{path.name}.{dead.pid}-{'a' * 32}.tmp").write_bytes(b"claims")
    lake("lake", "expire", *IN, "--zone", "raw", "--older-than", "1d")
    assert not path.parent.exists()


def test_an_age_that_is_none_is_a_wrong_usage(lake: Shell) -> None:
    result = lake("lake", "expire", *IN, "--zone", "raw", "--older-than", "30")
    assert result.exit_code == 2
    assert "write 30d" in result.stderr


def test_old_versions_go_that_nothing_refers_to(lake: Shell) -> None:
    uri = str(lake.models)
    (scored,) = list_versions(uri, DATASET)
    back, champion, challenger, loser = (publish(uri, name) for name in ("b", "c", "d", "e"))
    promote(uri, DATASET, back, expected=scored, **MOVED)
    promote(uri, DATASET, champion, expected=back, **MOVED)
    set_challenger(uri, DATASET, challenger, **MOVED)
    for partition in lake.lake.partitions("ml_outputs", DATASET):
        lake.lake.rewrite(partition, lambda batch: batch, {"model_version": scored})
    expire = ("models", "expire", *IN, "--older-than", "8d", "--keep", "0")
    assert "0 of 5 versions" in lake.says(*expire)
    for version in (scored, back, champion, challenger, loser):
        long_ago(uri, version, days=9)

    text = lake.says(*expire, "--dry-run")
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip().startswith("2024")}
    assert "scores of 2 partitions" in lines[scored]
    assert "a rollback goes to it" in lines[back]
    assert "champion" in lines[champion]
    assert "challenger" in lines[challenger]
    assert "would be removed" in lines[loser]
    assert len(list_versions(uri, DATASET)) == 5

    assert "0 of 5 versions" in lake.says("models", "expire", *IN, "--older-than", "36500d")
    assert "0 of 5 versions" in lake.says(*expire[:-1], "5")
    assert "1 of 5 versions removed" in lake.says(*expire)
    assert set(list_versions(uri, DATASET)) == {scored, back, champion, challenger}
    assert not (lake.models / DATASET / loser).exists()


def test_versions_are_as_old_as_their_manifests_on_the_store(lake: Shell) -> None:
    """The end of training is one for all, and labels are as of whatever day a run was given."""
    uri, moments = str(lake.models), [datetime(2027 - i, 1, 1, tzinfo=UTC) for i in range(5)]
    made = [publish(uri, f"v{i}", labels_as_of=moment) for i, moment in enumerate(moments)]
    ages = dict(zip(made, (400, 300, 200, 100, 1), strict=True))
    for version, days in ages.items():
        long_ago(uri, version, days=days)

    def kept(*options: str) -> dict[str, str]:
        text = lake.says("models", "expire", *IN, "--dry-run", *options)
        rows = [line.split(maxsplit=3) for line in text.splitlines()]
        return {row[0]: row[-1].strip() for row in rows if row and row[0] in made}

    assert list(found := kept("--older-than", "8d", "--keep", "4")) == made
    gone = "would be removed"
    assert list(found.values()) == [gone, gone, "among the newest", "among the newest", "young"]
    assert set(kept("--older-than", "150d", "--keep", "0").values()) == {gone, "young"}
    newest = kept("--older-than", "0d", "--keep", "0")[made[-1]]
    assert newest == "young", "a run may be about to point at it"
    text = lake.says("models", "list", *IN)
    order = [v for line in text.splitlines() for v in line.split()[:1] if v in made]
    assert order == made


@pytest.mark.parametrize(
    "command",
    [("list",), ("verify",), ("compact",), ("expire", "--zone", "raw", "--older-than", "1d")],
)
def test_a_dataset_that_nobody_knows_is_told_with_those_there_are(
    lake: Shell, command: tuple[str, ...]
) -> None:
    told = lake.fails("lake", *command, "--dataset", "nosuch")
    assert "no dataset is called 'nosuch'" in told
    assert DATASET in told
    assert "vehicle_claims" in told


def test_a_lakehouse_in_which_nothing_is_yet_says_so_and_what_fills_it(shell: Shell) -> None:
    run = "A run makes it: python flows/fraud_detection_flow.py run"
    assert shell.says("lake", "list") == f"{shell.root}: there is nothing yet. {run}\n"
    assert "there is no raw zone yet" in shell.says("lake", "list", "--zone", "raw")
    told = shell.says("lake", "list", "--dataset", "vehicle_claims", "--zone", "raw")
    assert told == (
        f"{shell.root}: there is nothing of vehicle_claims in raw yet. {run} --dataset "
        "vehicle_claims\n"
    )


def test_a_dataset_with_a_contract_and_nothing_yet_is_no_mistake(lake: Shell) -> None:
    assert "0 of 0 partitions" in lake.says("lake", "verify", "--dataset", "vehicle_claims")
    path = lake.root / "trucks.yaml"
    path.write_text(
        "name: trucks\nsource: {uri: x.csv}\nevent_time: {column: day}\n"
        "label: {column: fraud, delay: 30d}\n"
    )
    assert "0 of 0 partitions" in lake.says("lake", "verify", "--dataset", str(path))


def test_an_erasure_from_a_dataset_that_nobody_knows_is_told_too(lake: Shell) -> None:
    told = lake.fails("erase", "--dataset", "nosuch", "--value", "x", "--yes")
    assert "no dataset is called 'nosuch'" in told


def test_whom_to_erase_is_read_from_a_pipe_and_asked_for_nowhere_else(lake: Shell) -> None:
    command = ["erase", "--dataset", DATASET, "--output-uri", str(lake.root), "--dry-run"]
    told = CliRunner().invoke(main, command, input="\n")
    assert (told.exit_code, "whom? Standard input has no line" in told.stderr) == (2, True)
    told = CliRunner().invoke(main, command, input="POL-4711\nPOL-4712\n")
    assert "Standard input" not in told.output
    assert "POL-4711" not in told.output


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_damaged_partition_stops_no_other_from_being_cut(
    lake: Shell, dry: tuple[str, ...]
) -> None:
    cut_badly(lake)
    scores = lake.root / "ml_outputs" / DATASET / "month=2024-05" / "part-0.parquet"
    raw = lake.root / "raw" / DATASET / "month=2024-06" / "part-0.parquet"
    for path in (scores, raw):
        path.write_bytes(path.read_bytes()[:100])
    result = lake("lake", "compact", *IN, *dry)
    assert result.exit_code == 1
    assert f"1 partition {'would be' if dry else 'was'} cut again" in result.stdout
    assert result.stdout.count("damaged or truncated Parquet") == 2
    assert "2 partitions could not be looked into, or cut again" in result.stderr
    cut = lake.root / "raw" / DATASET / "month=2024-05" / "part-0.parquet"
    assert pq.read_metadata(cut).num_row_groups == (20 if dry else 1)
