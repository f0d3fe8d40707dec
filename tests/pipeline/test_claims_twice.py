"""A claim whose date was corrected, and whose old partition was not read again, is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fraud_mlops.pipeline.ingesting import ingest
from fraud_mlops.pipeline.plan import plan_run
from fraud_mlops.pipeline.ranges import pin_raw

CONTRACT = {
    "name": "motor",
    "source": {"uri": "claims.csv"},
    "claim_id": "id",
    "event_time": {"column": "at"},
    "label": {"column": "fraud", "delay": "7d"},
    "numeric": ["age"],
    "categorical": [],
}


def write(folder: Path, dates: list[str]) -> None:
    rows = [f"c{n},{at},{n % 2},{20 + n}" for n, at in enumerate(dates)]
    (folder / "claims.csv").write_text("\n".join(["id,at,fraud,age", *rows]) + "\n")


@pytest.fixture
def motor(tmp_path: Path) -> Path:
    (tmp_path / "motor.yaml").write_text(yaml.safe_dump(CONTRACT))
    write(tmp_path, ["2024-01-05", "2024-01-06", "2024-02-05", "2024-02-06"])
    return tmp_path


def taken_in(folder: Path, run: str, **given: str) -> tuple[str, ...]:
    root = str(folder / "lake")
    plan = plan_run(str(folder / "motor.yaml"), run=f"Test/{run}", output_uri=root, **given)
    return ingest(plan).warnings


def test_a_run_that_takes_up_the_raw_zone_says_so(
    motor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken_in(motor, "1")
    plan = plan_run(str(motor / "motor.yaml"), run="Test/2", output_uri=str(motor / "lake"))
    pin_raw(plan)
    assert "twice" not in capsys.readouterr().out
    write(motor, ["2024-01-05", "2024-02-01", "2024-02-05", "2024-02-06"])
    taken_in(motor, "3", partition_start="2024-02")
    capsys.readouterr()
    pin_raw(plan)
    told = capsys.readouterr().out
    assert "warning: 1 claim id found twice in the raw zone, as where a date was corrected" in told
    assert f"python flows/ingest_flow.py run {plan.lake_options} reads all" in told


def test_the_row_of_a_file_that_was_replaced_names_no_claim(
    motor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unnamed = {name: value for name, value in CONTRACT.items() if name != "claim_id"}
    (motor / "motor.yaml").write_text(yaml.safe_dump(unnamed))
    taken_in(motor, "1")
    write(motor, ["2024-03-05", "2024-03-06"])
    taken_in(motor, "2")
    pin_raw(plan_run(str(motor / "motor.yaml"), run="Test/3", output_uri=str(motor / "lake")))
    assert "twice" not in capsys.readouterr().out


def test_an_old_partition_that_is_damaged_does_not_end_an_ingest_of_others(motor: Path) -> None:
    taken_in(motor, "1")
    (old,) = (motor / "lake" / "raw" / "motor").glob("month=2024-01/*.parquet")
    content = bytearray(old.read_bytes())
    content[8:40] = b"\x55" * 32
    old.write_bytes(content)
    write(motor, ["2024-03-05", "2024-03-06", "2024-02-05", "2024-02-06"])
    (told,) = taken_in(motor, "2")
    assert told == (
        "raw partition 2024-01 has no claims in the source, and stays as it is; "
        "to empty it, ingest it by --partition-start 2024-01"
    )
