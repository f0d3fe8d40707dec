"""What has changed goes into the warehouse, once; on both engines."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from warehouse_kit import DATASET, MODEL, MONTHS, Lake, answer, judged, kpis, table_of, zone_of

from fraud_mlops.errors import LakehouseError, WarehouseError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.warehouse.duckdb_engine import DuckDBWarehouse
from fraud_mlops.warehouse.engine import Warehouse
from fraud_mlops.warehouse.names import Tables
from fraud_mlops.warehouse.parity import compare
from fraud_mlops.warehouse.sync import PartitionsError, sync


def test_the_table_holds_what_the_zone_holds_to_the_last_bit(
    lake: Lake, warehouse: Warehouse
) -> None:
    done = sync(lake.lakehouse, warehouse, DATASET)
    assert [p.partition for p in done.partitions] == list(MONTHS)
    assert all(p.moved for p in done.partitions)
    assert table_of(warehouse) == zone_of(lake)
    assert done.rows_moved == len(zone_of(lake))
    assert done.engine in warehouse.address


def test_nothing_moves_that_has_not_changed(lake: Lake, warehouse: Warehouse) -> None:
    sync(lake.lakehouse, warehouse, DATASET)
    lake.fill()  # written anew, with the same content
    lake.put(MONTHS[1], kpis(201, 20, 10, 5))
    done = sync(lake.lakehouse, warehouse, DATASET)
    assert [p.partition for p in done.partitions if p.moved] == [MONTHS[1]]
    assert done.rows_moved == len(kpis(201, 20, 10, 5))
    assert done.rows_moved + done.rows_skipped == len(zone_of(lake))
    assert table_of(warehouse) == zone_of(lake)


def test_rows_that_a_partition_has_no_more_are_deleted_there_and_only_there(
    lake: Lake, warehouse: Warehouse
) -> None:
    lake.put(MONTHS[0], kpis(7, 2, 2, 1), dataset="parcels")
    for dataset in (DATASET, "parcels"):
        sync(lake.lakehouse, warehouse, dataset)
    lake.put(MONTHS[0], [("partition", "all", "rows", 99.0, None, None)])
    (first, *_) = sync(lake.lakehouse, warehouse, DATASET).partitions
    assert (first.rows, first.deleted) == (1, len(kpis(100, 10, 8, 4)) + 6 - 1)
    assert table_of(warehouse) == zone_of(lake)
    assert table_of(warehouse, "parcels") == zone_of(lake, "parcels")


def test_a_partition_scored_by_another_model_replaces_its_rows(
    lake: Lake, warehouse: Warehouse
) -> None:
    sync(lake.lakehouse, warehouse, DATASET)
    lake.put(MONTHS[0], kpis(100, 10, 8, 4), model="later")
    sync(lake.lakehouse, warehouse, DATASET)
    models = {row[4] for row in table_of(warehouse) if row[0] == MONTHS[0]}
    assert models == {"later"}


def test_only_the_partitions_that_are_asked_for(lake: Lake, warehouse: Warehouse) -> None:
    done = sync(lake.lakehouse, warehouse, DATASET, partitions=[MONTHS[2], MONTHS[0]])
    assert [p.partition for p in done.partitions] == [MONTHS[0], MONTHS[2]]
    assert {row[0] for row in table_of(warehouse)} == {MONTHS[0], MONTHS[2]}
    with pytest.raises(
        LakehouseError, match=r"1 partition asked for \(2031-01\).*score them first"
    ):
        sync(lake.lakehouse, warehouse, DATASET, partitions=["2031-01"])
    with pytest.raises(PartitionsError, match="\n  2031-01: there are no metrics of it; score it"):
        sync(lake.lakehouse, warehouse, DATASET, partitions=["2031-01", MONTHS[1]])
    assert {row[0] for row in table_of(warehouse)} == set(MONTHS)


def test_a_partition_that_the_lakehouse_has_no_more_is_told_and_removed_on_request(
    lake: Lake, warehouse: Warehouse
) -> None:
    sync(lake.lakehouse, warehouse, DATASET)
    gone = lake.root / "metrics" / DATASET / f"month={MONTHS[1]}"
    (gone / "part-0.parquet").unlink()
    gone.rmdir()
    told = sync(lake.lakehouse, warehouse, DATASET)
    assert (told.gone, told.pruned) == ((MONTHS[1],), ())
    assert not compare(lake.lakehouse, warehouse, DATASET).holds
    assert sync(lake.lakehouse, warehouse, DATASET, prune=True).pruned == (MONTHS[1],)
    assert table_of(warehouse) == zone_of(lake)
    assert compare(lake.lakehouse, warehouse, DATASET).holds


def test_only_partitions_that_are_asked_for_are_removed(lake: Lake, warehouse: Warehouse) -> None:
    sync(lake.lakehouse, warehouse, DATASET)
    for month in MONTHS[:2]:
        shutil.rmtree(lake.root / "metrics" / DATASET / f"month={month}")
    done = sync(lake.lakehouse, warehouse, DATASET, partitions=MONTHS[1:], prune=True)
    assert (done.gone, done.pruned) == (MONTHS[:2], (MONTHS[1],))
    assert {row[0] for row in table_of(warehouse)} == {MONTHS[0], MONTHS[2]}


def one_bit_off(whole: bytes) -> bytes:
    place = whole.index(b"PAR1") + 40
    return whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]


DAMAGES = {"a bit": one_bit_off, "its end": lambda whole: whole[:-100]}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_partition_keeps_no_other_from_being_synced_and_no_check_is_green(
    lake: Lake, warehouse: Warehouse, damage: str
) -> None:
    sync(lake.lakehouse, warehouse, DATASET, partitions=[MONTHS[1]])
    file = Path(lake.lakehouse.listed("metrics", DATASET)[1].uri)
    lake.put(MONTHS[1], kpis(100, 10, 8, 4))
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    before = [row for row in table_of(warehouse) if row[0] == MONTHS[1]]
    with pytest.raises(
        PartitionsError, match="motor: 1 of 3 partitions could not be moved, and all others are"
    ) as told:
        sync(lake.lakehouse, warehouse, DATASET, prune=True)
    assert f"\n  {MONTHS[1]}: {file}: " in str(told.value)
    assert "Write the partition again" in str(told.value)
    assert [p.partition for p in told.value.done.partitions] == [MONTHS[0], MONTHS[2]]
    assert told.value.done.gone == ()
    found = table_of(warehouse)
    assert {row[0] for row in found} == set(MONTHS)
    assert [row for row in found if row[0] == MONTHS[1]] == before
    compared = compare(lake.lakehouse, warehouse, DATASET)
    assert [(one.partition, one.broken) for one in compared.differences] == [(MONTHS[1], True)]


def test_a_dataset_that_has_no_metrics_left_is_removed_on_request(
    lake: Lake, warehouse: Warehouse, tmp_path: Path
) -> None:
    lake.put(MONTHS[0], kpis(7, 2, 2, 1), dataset="parcels")
    for dataset in (DATASET, "parcels"):
        sync(lake.lakehouse, warehouse, dataset)
    shutil.rmtree(lake.root / "metrics" / DATASET)
    told = sync(lake.lakehouse, warehouse, DATASET)
    assert (told.partitions, told.gone, told.pruned) == ((), MONTHS, ())
    mistyped = Lakehouse(str(tmp_path / "laek"))
    with pytest.raises(LakehouseError, match="there is no lakehouse, so nothing of motor"):
        sync(mistyped, warehouse, DATASET, prune=True)
    assert sync(lake.lakehouse, warehouse, DATASET, prune=True).pruned == MONTHS
    assert table_of(warehouse) == []
    assert table_of(warehouse, "parcels") == zone_of(lake, "parcels")
    with pytest.raises(LakehouseError, match="there are no metrics; score them first"):
        sync(lake.lakehouse, warehouse, DATASET, prune=True)


def test_what_is_no_number_is_null_and_counted(lake: Lake, warehouse: Warehouse) -> None:
    lake.put(
        MONTHS[0],
        [
            ("scored", "all", "nan", math.nan, None, 1.0),
            ("scored", "all", "inf", math.inf, -math.inf, math.nan),
            ("scored", "all", "tiny", 5e-324, -0.0, 1.7976931348623157e308),
        ],
    )
    (first, *_) = sync(lake.lakehouse, warehouse, DATASET, partitions=[MONTHS[0]]).partitions
    assert first.not_finite == 4
    found = {row[3]: row[5:] for row in table_of(warehouse)}
    assert found == {
        "nan": (None, None, 1.0),
        "inf": (None, None, None),
        "tiny": (5e-324, 0.0, 1.7976931348623157e308),
    }
    assert compare(lake.lakehouse, warehouse, DATASET, [MONTHS[0]]).holds


def test_times_are_utc_without_a_zone_and_periods_are_dates(
    lake: Lake, warehouse: Warehouse
) -> None:
    sync(lake.lakehouse, warehouse, DATASET, partitions=[MONTHS[0]])
    [(period, start, end, synced)] = answer(
        warehouse,
        'SELECT DISTINCT "PERIOD", "PERIOD_START", "PERIOD_END", "SYNCED_AT" '
        f"FROM {warehouse.tables.metrics}",
    )
    assert (period, start, end) == ("month", date(2024, 4, 1), date(2024, 5, 1))
    assert synced.tzinfo is None
    assert abs(datetime.now(UTC).replace(tzinfo=None) - synced) < timedelta(minutes=2)


def test_a_partition_that_holds_a_key_twice_is_refused_before_anything_is_written(
    lake: Lake, warehouse: Warehouse
) -> None:
    lake.put(MONTHS[0], judged("oot", 0.5, 0.4, 0.6) * 2)
    with pytest.raises(WarehouseError, match=f"holds 1 key twice.*{MODEL}"):
        sync(lake.lakehouse, warehouse, DATASET)
    assert {row[0] for row in table_of(warehouse)} == set(MONTHS[1:])


def test_parity_tells_what_somebody_has_changed_in_the_table_and_force_mends_it(
    lake: Lake, warehouse: Warehouse
) -> None:
    sync(lake.lakehouse, warehouse, DATASET)
    table = warehouse.tables.metrics
    answer(warehouse, f'UPDATE {table} SET "METRIC_VALUE" = 1 WHERE "METRIC" = ?', "psi")
    answer(warehouse, f'DELETE FROM {table} WHERE "PARTITION_KEY" = ?', MONTHS[2])
    found = compare(lake.lakehouse, warehouse, DATASET)
    assert [d.partition for d in found.differences] == list(MONTHS)
    assert all(d.broken for d in found.differences)
    assert "other values" in found.differences[0].what
    assert found.differences[2].what.startswith("0 rows, ")
    assert sync(lake.lakehouse, warehouse, DATASET).rows_moved == 0
    assert sync(lake.lakehouse, warehouse, DATASET, force=True).rows_skipped == 0
    assert compare(lake.lakehouse, warehouse, DATASET).holds


def test_what_was_not_synced_yet_is_behind_and_not_broken(lake: Lake, warehouse: Warehouse) -> None:
    sync(lake.lakehouse, warehouse, DATASET, partitions=MONTHS[:2])
    found = compare(lake.lakehouse, warehouse, DATASET)
    [behind] = found.differences
    assert (behind.partition, behind.broken) == (MONTHS[2], False)
    assert behind.what.endswith("not synced yet: scripts/sync_metrics_to_snowflake.py")
    assert found.lakehouse_rows > found.warehouse_rows


def test_a_table_under_another_name_is_another_table(lake: Lake, tmp_path: Path) -> None:
    first = DuckDBWarehouse(tmp_path / "warehouse.duckdb", Tables())
    sync(lake.lakehouse, first, DATASET)
    other = replace(first, tables=Tables("other_metrics"))
    lake.put(MONTHS[0], kpis(7, 2, 2, 1))
    assert sync(lake.lakehouse, other, DATASET).rows_skipped == 0
    assert table_of(other) == zone_of(lake) != table_of(first)


def test_views_stay_with_the_first_table_of_a_file_and_say_so(lake: Lake, tmp_path: Path) -> None:
    first = DuckDBWarehouse(tmp_path / "warehouse.duckdb", Tables())
    assert sync(lake.lakehouse, first, DATASET).views is None
    other = replace(first, tables=Tables("other_metrics"))
    lake.put(MONTHS[0], kpis(7, 2, 2, 1))
    told = sync(lake.lakehouse, other, DATASET).views
    assert told == (
        "the views for BI here show the table FRAUD_MODEL_METRICS, and nothing of OTHER_METRICS: "
        "views are of one table. Give OTHER_METRICS a place of its own (FRAUD_WAREHOUSE_PATH)"
    )
    assert compare(lake.lakehouse, other, DATASET).views == told
    seen = "SELECT CLAIMS FROM BI_DAILY_KPIS ORDER BY PARTITION_KEY"
    assert answer(other, seen) == answer(first, seen) == [(100,), (200,), (300,)]
    assert sync(lake.lakehouse, first, DATASET).views is None
    assert answer(first, seen) == [(7,), (200,), (300,)]


def test_views_of_an_older_version_are_made_anew_in_a_file(lake: Lake, tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(tmp_path / "warehouse.duckdb", Tables())
    sync(lake.lakehouse, warehouse, DATASET)
    answer(warehouse, "CREATE OR REPLACE VIEW BI_DRIFT AS SELECT 1 AS OLD")
    answer(warehouse, "DROP VIEW BI_ABOUT")  # as before there was one
    told = compare(lake.lakehouse, warehouse, DATASET).views or ""
    assert told.startswith("the views for BI are older than this version")
    assert told.endswith("the next sync makes them anew")
    assert sync(lake.lakehouse, warehouse, DATASET).views is None
    assert len(answer(warehouse, "SELECT PSI FROM BI_DRIFT")) == 6
