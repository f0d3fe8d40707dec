"""Metrics into the warehouse: Snowflake, or a DuckDB file where no Snowflake is set up.

    python scripts/sync_metrics_to_snowflake.py                       what has changed
    python scripts/sync_metrics_to_snowflake.py --dataset motor --partition-range 2024-04 2024-12
    python scripts/sync_metrics_to_snowflake.py --check               compare, and write nothing
    python scripts/sync_metrics_to_snowflake.py --print-schema        SQL that makes the tables

The same code as the asset `snowflake_metrics`. Settings: SNOWFLAKE_ACCOUNT, _USER, _WAREHOUSE,
_DATABASE, _SCHEMA, and _PRIVATE_KEY_PATH or _PASSWORD; docs/warehouse.md. May be killed and run
again at any time. What is wrong with one partition or dataset keeps no other from being synced.
Ends with 0, or with 1 for an error or a difference.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from fraud_mlops.cli.leaving import leave
from fraud_mlops.errors import (
    FraudMlopsError,
    LakehouseError,
    SettingsError,
    StoreError,
    WarehouseError,
)
from fraud_mlops.settings import settings
from fraud_mlops.words import counted

if TYPE_CHECKING:
    from fraud_mlops.lakehouse.partitions import Lakehouse
    from fraud_mlops.warehouse.engine import Warehouse
    from fraud_mlops.warehouse.parity import Parity
    from fraud_mlops.warehouse.sync import SyncResult


def main() -> int:
    arguments = _parser().parse_args()
    # The connector logs each attempt that fails with its trace; what it means is told in the end.
    logging.getLogger("snowflake.connector").setLevel(logging.CRITICAL)
    try:
        code = _print_schema() if arguments.print_schema else _run(arguments)
        sys.stdout.flush()
    except FraudMlopsError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # who reads it has seen enough: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", help="its name; all that have metrics when left out")
    parser.add_argument(
        "--partition-range", nargs=2, metavar=("FIRST", "LAST"), help="such as 2024-04 2024-12"
    )
    parser.add_argument("--force", action="store_true", help="move what has not changed, too")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="remove partitions that the lakehouse has no more; a dataset it has no more by "
        "--dataset",
    )
    parser.add_argument("--check", action="store_true", help="compare both sides, write nothing")
    parser.add_argument(
        "--print-schema", action="store_true", help="infra/snowflake/schema.sql with your names"
    )
    parser.add_argument("--output-uri", help="root of the lakehouse; LAKEHOUSE_URI when left out")
    return parser


def _require_sense(arguments: argparse.Namespace) -> None:
    for name in ("force", "prune"):
        if arguments.check and getattr(arguments, name):
            raise SettingsError(f"--check writes nothing; leave out --{name}")
    if arguments.prune and arguments.partition_range:
        raise SettingsError(
            "--prune is of all partitions that are gone from the lakehouse; leave out "
            "--partition-range"
        )


def _print_schema() -> int:
    from fraud_mlops.warehouse.schema import Names, for_snowflake

    print(for_snowflake(Names.of(settings())), end="")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from fraud_mlops.lakehouse.partitions import Lakehouse
    from fraud_mlops.warehouse.choice import warehouse_of

    _require_sense(arguments)
    root = arguments.output_uri or settings().lakehouse_uri
    lakehouse, warehouse = Lakehouse(root), warehouse_of(settings(), root)
    print(warehouse.address, flush=True)
    one = _check if arguments.check else _sync
    all_hold, failures, known = True, list[str](), set[str]()
    datasets = _datasets(lakehouse, arguments)
    for number, name in enumerate(datasets, 1):
        try:
            holds, there = one(lakehouse, warehouse, name, arguments)
            all_hold, known = all_hold and holds, known.union(there)
        except FraudMlopsError as error:
            failures.append(str(error))
            if _concerns_all(error):
                failures += [f"{left}: not tried after that" for left in datasets[number:]]
                break
    if not arguments.dataset and (gone := sorted(known - set(datasets))):
        print(
            f"the lakehouse has no metrics of {', '.join(gone)}: --prune --dataset {gone[0]} "
            "removes its rows from the warehouse"
        )
    if failures:
        sys.stdout.flush()
        raise WarehouseError("\n".join(failures))
    return 0 if all_hold else 1


def _concerns_all(error: FraudMlopsError) -> bool:
    """Of the warehouse or the store, rather than of one dataset or its partitions."""
    from fraud_mlops.warehouse.sync import PartitionsError

    if isinstance(error, StoreError):
        return True
    return not isinstance(error, (LakehouseError, PartitionsError))


def _datasets(lakehouse: Lakehouse, arguments: argparse.Namespace) -> list[str]:
    from fraud_mlops.cli.options import dataset_name
    from fraud_mlops.warehouse.zone import ZONE, datasets_of_zone

    if arguments.dataset:
        return [dataset_name(arguments.dataset)]
    found = datasets_of_zone(lakehouse)
    if not found:
        raise LakehouseError(
            f"{lakehouse.uri(ZONE)}: there are no metrics of any dataset; score one first: "
            "python flows/fraud_detection_flow.py run"
        )
    return found


def _partitions(
    lakehouse: Lakehouse, dataset: str, arguments: argparse.Namespace
) -> list[str] | None:
    """Those of the range that have metrics; None for all."""
    if not arguments.partition_range:
        return None
    from fraud_mlops.warehouse.zone import values_in_range

    return values_in_range(lakehouse, dataset, *arguments.partition_range)


def _sync(
    lakehouse: Lakehouse, warehouse: Warehouse, dataset: str, arguments: argparse.Namespace
) -> tuple[bool, Sequence[str]]:
    """Whether all went well, and the datasets that the warehouse has."""
    from fraud_mlops.warehouse.sync import PartitionsError, sync

    try:
        done = sync(
            lakehouse,
            warehouse,
            dataset,
            partitions=_partitions(lakehouse, dataset, arguments),
            force=arguments.force,
            prune=arguments.prune,
            say=_say,
        )
    except PartitionsError as error:
        _tell(error.done)
        raise
    _tell(done)
    return True, done.datasets


def _tell(done: SyncResult) -> None:
    moved = [p for p in done.partitions if p.moved]
    print(
        f"{done.dataset}: {len(moved):,} of {len(done.partitions):,} partitions moved, "
        f"{counted(done.rows_moved, 'row')}; {done.rows_skipped:,} were there already"
    )
    if done.extra_columns:
        print(f"  columns that no sync fills: {', '.join(done.extra_columns)}")
    if left := sorted(set(done.gone) - set(done.pruned)):
        print(f"  the lakehouse has no more: {', '.join(left)}; --prune removes them")
    if done.views:
        print(f"  {done.views}")


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def _check(
    lakehouse: Lakehouse, warehouse: Warehouse, dataset: str, arguments: argparse.Namespace
) -> tuple[bool, Sequence[str]]:
    """Whether both sides are the same, and the datasets that the warehouse has."""
    from fraud_mlops.warehouse.parity import compare

    chosen = _partitions(lakehouse, dataset, arguments)
    found = compare(lakehouse, warehouse, dataset, chosen, say=_say)
    print(f"{dataset}: {_agreement(found, _names(lakehouse, dataset))}")
    for difference in found.differences:
        print(f"  {difference.partition}: {difference.what}")
    if found.views:
        print(f"  {found.views}")
    return found.holds, found.datasets


def _names(lakehouse: Lakehouse, dataset: str) -> set[str]:
    """What the lakehouse has, by value, and as folders that are of no period are named."""
    from fraud_mlops.warehouse.zone import ZONE

    listed = lakehouse.listed(ZONE, dataset)
    return {name for one in listed for name in (one.value, f"{one.key}={one.value}")}


def _agreement(found: Parity, in_lakehouse: Collection[str]) -> str:
    """How many partitions are the same, and what is the matter with the others."""
    different = found.differences
    gone = sum(one.partition not in in_lakehouse for one in different)
    broken = sum(one.broken for one in different)
    others = {
        "not synced yet": len(different) - broken - gone,
        "damaged or changed": broken,
        "in the warehouse only": gone,
    }
    total = found.partitions + gone
    parts = [f"{total - len(different):,} of {total:,} partitions agree"]
    parts += [f"{number:,} {what}" for what, number in others.items() if number]
    return (
        f"{', '.join(parts)}; {counted(found.lakehouse_rows, 'row')} in the lakehouse, "
        f"{found.warehouse_rows:,} in the warehouse; checksum {found.checksum}"
    )


if __name__ == "__main__":
    leave(main())
