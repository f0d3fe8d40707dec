"""scripts/sync_metrics_to_snowflake.py, as one types it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from snow_proxy import Proxy, refused
from warehouse_kit import MODEL, MONTHS, Lake, kpis, table_of, variables, zone_of

from fraud_mlops.settings import settings
from fraud_mlops.warehouse.choice import warehouse_of
from fraud_mlops.warehouse.options import SnowflakeOptions
from fraud_mlops.warehouse.schema import schema_text

sys.path.append(str(Path(__file__).parents[2] / "scripts"))
import demo
import draw_bi
import sync_metrics_to_snowflake as script


def test_it_says_where_metrics_go_and_how_many(
    run: Callable[..., tuple[int, str]], lake: Lake
) -> None:
    code, told = run()
    assert code == 0
    assert told.startswith(f"duckdb {lake.root}/warehouse.duckdb\n")
    assert "motor: 3 of 3 partitions moved, 54 rows; 0 were there already" in told
    assert table_of(warehouse_of(settings(), str(lake.root))) == zone_of(lake)
    assert "0 of 3 partitions moved" in run()[1]
    assert "2 of 2 partitions moved" in run("--force", "--partition-range", *MONTHS[:2])[1]


def test_what_is_damaged_keeps_no_other_dataset_from_being_synced_and_is_listed_at_the_end(
    run: Callable[..., tuple[int, str]], lake: Lake
) -> None:
    for dataset in ("cargo", "parcels"):
        lake.put(MONTHS[0], kpis(7, 2, 2, 1), dataset=dataset)
        lake.put(MONTHS[1], kpis(7, 2, 2, 1), dataset=dataset)
    for dataset in ("cargo", "motor"):
        Path(lake.lakehouse.listed("metrics", dataset)[0].uri).write_bytes(b"PAR1 cut")
    code, told = run()
    assert code == 1
    assert "cargo: 1 of 1 partitions moved" in told
    assert "motor: 2 of 2 partitions moved" in told
    assert "parcels: 2 of 2 partitions moved" in told
    listed = told[told.index("Error: ") :]
    assert listed.startswith("Error: cargo: 1 of 2 partitions could not be moved, and all others")
    assert "\nmotor: 1 of 3 partitions could not be moved" in listed
    assert listed.count("damaged or truncated Parquet") == 2
    code, told = run("--check")
    assert code == 1
    assert told.count("damaged or truncated Parquet") == 2
    assert "motor: 2 of 3 partitions agree, 1 damaged or changed; 39 rows in the lakehouse" in told
    assert "parcels: 2 of 2 partitions agree; 18 rows in the lakehouse, 18 in the warehouse" in told


def test_a_dataset_that_the_lakehouse_has_no_more_is_told_and_removed_by_its_name(
    run: Callable[..., tuple[int, str]], lake: Lake
) -> None:
    lake.put(MONTHS[0], kpis(7, 2, 2, 1), dataset="parcels")
    run()
    shutil.rmtree(lake.root / "metrics" / "motor")
    for arguments in (["--check"], ["--prune"], []):
        code, told = run(*arguments)
        assert code == 0
        assert "the lakehouse has no metrics of motor: --prune --dataset motor removes" in told
    code, told = run("--check", "--dataset", "motor")
    assert (code, "motor: 0 of 3 partitions agree, 3 in the warehouse only;" in told) == (1, True)
    code, told = run("--prune", "--dataset", "motor")
    assert code == 0
    assert f"{MONTHS[1]}: 20 rows removed, since the lakehouse has it no more" in told
    assert "no metrics of motor" not in run()[1]


def test_check_compares_and_writes_nothing(run: Callable[..., tuple[int, str]], lake: Lake) -> None:
    run()
    assert run("--check")[0] == 0
    lake.put(MONTHS[1], kpis(7, 2, 2, 1))
    code, told = run("--check", "--dataset", "motor")
    assert code == 1
    assert "motor: 2 of 3 partitions agree, 1 not synced yet; " in told
    assert f"{MONTHS[1]}: 20 rows, 9 in the lakehouse; not synced yet" in told
    assert run("--check")[1] == told


def test_check_of_a_warehouse_that_is_not_there_makes_none(
    run: Callable[..., tuple[int, str]], lake: Lake
) -> None:
    code, told = run("--check")
    assert code == 1
    assert f"{MONTHS[0]}: 0 rows, 15 in the lakehouse; not synced yet" in told
    assert not list(lake.root.glob("*.duckdb*"))
    assert f"{lake.root}/warehouse.duckdb: there was none; it is made\n" in run()[1]


def test_who_reads_the_first_line_only_ends_it_without_a_trace(lake: Lake) -> None:
    base = {n: v for n, v in os.environ.items() if not n.startswith("SNOWFLAKE_")}
    with subprocess.Popen(
        [sys.executable, script.__file__, "--check"],
        env=base | {"LAKEHOUSE_URI": str(lake.root)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"duckdb ")
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_misspelt_folder_makes_no_new_warehouse(
    run: Callable[..., tuple[int, str]],
    environment: Callable[..., None],
    lake: Lake,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "nodir"
    environment(LAKEHOUSE_URI=lake.root, FRAUD_WAREHOUSE_PATH=folder / "w.duckdb")
    code, told = run()
    assert code == 1
    assert f"there is no folder {folder}. Correct FRAUD_WAREHOUSE_PATH" in told
    assert f"mkdir -p {folder}" in told
    assert not folder.exists()


@pytest.mark.parametrize("place", ["header", "rows"])
def test_a_damaged_warehouse_is_told_with_what_to_do(
    run: Callable[..., tuple[int, str]], lake: Lake, place: str
) -> None:
    """Some blocks are read when the file is opened, others when rows are."""
    run()
    file = lake.root / "warehouse.duckdb"
    whole = file.read_bytes()
    start = 100 if place == "header" else whole.index(MODEL.encode())
    flipped = bytes(byte ^ 0xFF for byte in whole[start : start + 64])
    file.write_bytes(whole[:start] + flipped + whole[start + 64 :])
    for arguments in (["--force"], ["--check"]):
        code, told = run(*arguments)
        assert code == 1
        assert "Corrupt database file" in told
        assert ("cannot be opened" in told) == (place == "header")
        assert f"put it aside (mv {file} {file}.old) and sync again" in told


def test_a_mistake_is_told_in_words(
    run: Callable[..., tuple[int, str]], environment: Callable[..., None], tmp_path: Path
) -> None:
    code, told = run("--dataset", "unheard_of")
    assert code == 1
    assert "there are no metrics; score them first" in told
    environment(LAKEHOUSE_URI=tmp_path / "empty")
    assert "no metrics of any dataset" in run()[1]
    environment(SNOWFLAKE_ACCOUNT="myorg-account")
    code, told = run()
    assert code == 1
    assert told.startswith("Error: Snowflake is not set up whole:\n  SNOWFLAKE_USER is not set")


def test_the_schema_is_printed_with_the_names_that_are_set(
    run: Callable[..., tuple[int, str]], environment: Callable[..., None]
) -> None:
    assert run("--print-schema") == (0, schema_text())
    """An administrator has no secret of the sync's, and need not say who it is."""
    environment(
        SNOWFLAKE_WAREHOUSE="small",
        SNOWFLAKE_DATABASE="risk",
        SNOWFLAKE_SCHEMA="bi",
        SNOWFLAKE_READER_ROLE="risk_reader",
    )
    code, told = run("--print-schema")
    assert code == 0
    assert "CREATE SCHEMA IF NOT EXISTS RISK.BI;" in told
    assert "GRANT USAGE ON WAREHOUSE SMALL TO ROLE FRAUD_LOADER;" in told
    assert "GRANT SELECT ON VIEW RISK.BI.BI_DRIFT TO ROLE RISK_READER;" in told
    assert "FRAUD_BI_READER" not in told  # else who reads one environment reads the other
    environment(SNOWFLAKE_ROLE="risk_reader")
    assert (
        "SNOWFLAKE_READER_ROLE and SNOWFLAKE_ROLE are both RISK_READER" in run("--print-schema")[1]
    )
    environment(SNOWFLAKE_SCHEMA="b.i", SNOWFLAKE_ROLE="no;")
    code, told = run("--print-schema")
    assert code == 1
    assert "SNOWFLAKE_SCHEMA='b.i' is no name" in told
    assert "SNOWFLAKE_ROLE='no;' is no name" in told


def test_snowflake_by_the_environment(
    run: Callable[..., tuple[int, str]],
    environment: Callable[..., None],
    lake: Lake,
    snow: Proxy,
    options: SnowflakeOptions,
) -> None:
    environment(LAKEHOUSE_URI=lake.root, **variables(options))
    code, told = run()
    assert code == 0
    assert told.startswith(f"snowflake test-account {options.database}.METRICS.FRAUD_MODEL")
    assert "54 rows" in told
    lake.put(MONTHS[0], kpis(7, 2, 2, 1), dataset="parcels")
    snow.login = refused(390100, "Incorrect username or password was specified.")
    before = len(snow.logins)
    code, told = run()
    assert code == 1
    assert len(snow.logins) == before + 1, "nobody locks a user out by trying each dataset"
    assert "parcels: not tried after that" in told
    assert "wrong SNOWFLAKE_USER or SNOWFLAKE_PASSWORD" in told
    assert "s3cret-w0rd" not in told


def test_what_shows_the_warehouse_writes_nothing_into_it(
    run: Callable[..., tuple[int, str]],
    lake: Lake,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who reads it meanwhile is in nobody's way."""
    import duckdb

    run()
    file = lake.root / "warehouse.duckdb"
    before = file.stat().st_mtime_ns
    with duckdb.connect(str(file), read_only=True):
        demo._show_warehouse("motor")
        shown = capsys.readouterr().out
        assert run(str(tmp_path / "pictures"), "--dataset", "motor", main=draw_bi.main)[0] == 0
    assert shown.startswith(f"view BI_DAILY_KPIS of duckdb {file}")
    assert [line.split()[:3] for line in shown.splitlines() if "2024-" in line] == [
        ["2024-06", "300", "30"], ["2024-05", "200", "20"], ["2024-04", "100", "10"],
    ]  # fmt: skip
    assert file.stat().st_mtime_ns == before


def test_pictures_of_the_views_are_drawn(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    folder = str(tmp_path / "pictures")
    code, told = run(folder, "--dataset", "motor", main=draw_bi.main)
    assert (code, "sync its metrics first" in told) == (1, True)
    assert not list(tmp_path.rglob("*.duckdb"))
    run()
    assert run(folder, "--dataset", "motor", main=draw_bi.main)[0] == 0
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "pictures").iterdir()}
    assert drawn.keys() == {
        "bi_claims_and_alerts.png", "bi_alert_funnel.png", "bi_models.png", "bi_drift.png",
    }  # fmt: skip
    assert all(data.startswith(b"\x89PNG") and len(data) > 5_000 for data in drawn.values())
