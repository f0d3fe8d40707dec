"""The main job, through Dagster: every asset of a dataset materialized, and where to look after.

    python scripts/demo.py [--sample-size 20000]

Starts Dagster on a free port and launches its jobs over GraphQL, as a CI server would: claims are
ingested, a champion is trained, what has happened since its out-of-time window began is scored, and
the metrics go into a warehouse: a DuckDB file, or Snowflake where SNOWFLAKE_ACCOUNT is set.
Dagster ends with it; DAGSTER_HOME, which is ./.dagster when it is not set, keeps the history.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import local_dagster

if TYPE_CHECKING:
    from fraud_assets.dataset import Dataset
    from fraud_mlops.warehouse.engine import Warehouse

_CANCEL_SECONDS = 90
"""In which a launcher cancels its run."""
_COLUMNS = ("PARTITION_KEY", "CLAIMS", "ALERTS", "PRECISION_OF_ALERTS", "RECALL_OF_ALERTS")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample-size", type=int, default=20_000, help="claims to generate")
    parser.add_argument("--candidates", type=int, default=4, help="networks to train")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)  # Dagster is to end too
    log = local_dagster.dagster_home() / "demo.log"
    port = local_dagster.free_port()
    url = local_dagster.address(port)
    with local_dagster.dagster(port, log):
        print(f"Dagster is at {url} while this runs: have a look.", flush=True)
        for job, options in _jobs(arguments.sample_size, arguments.candidates):
            print(f"\n{job}", flush=True)
            code = _command("fraud_assets.launch", job, "--url", url, *options)
            if code:
                print(f"\nDagster's own log: {log}")
                return code
    dataset = _dataset().name
    print(flush=True)
    code = _command("fraud_mlops.cli", "summary", "--dataset", dataset)
    _show_warehouse(dataset)
    print(
        "\nWhere to look\n"
        f"  the assets   make ui, then http://127.0.0.1:{local_dagster.PORT}/assets\n"
        f"  the rest     {_program('fraud-mlops')}, with the commands above\n"
        "  the cards, in a browser"
    )
    for page in _cards():
        print(f"    {page}")
    return code


def _leave(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _jobs(sample_size: int, candidates: int) -> list[tuple[str, list[str]]]:
    """Jobs in order, each with its options."""
    dataset = _dataset()
    keys = dataset.partitions.get_partition_keys()
    return [
        (
            "ingest_job",
            [
                *("--partition-range", keys[0], keys[-1]),
                *("--config", _config(f"{dataset.name}__ingest", sample_size=sample_size)),
            ],
        ),
        ("training_job", ["--config", _config(f"{dataset.name}__train", candidates=candidates)]),
        ("scoring_job", ["--partition-range", _first_scored(dataset, keys), keys[-1]]),
        ("warehouse_sync_job", ["--partition-range", _first_scored(dataset, keys), keys[-1]]),
    ]


def _config(op: str, **values: int) -> str:
    return json.dumps({"ops": {op: {"config": values}}})


def _dataset() -> Dataset:
    from fraud_assets.dataset import datasets

    return datasets()[0]


def _first_scored(dataset: Dataset, keys: Sequence[str]) -> str:
    """Where the out-of-time window begins: what came before has taught the model."""
    from fraud_mlops.contract import DateSplit
    from fraud_mlops.lakehouse.ranges import partition_of

    split = dataset.contract.split
    if not isinstance(split, DateSplit):
        return keys[0]
    return partition_of(split.oot.start, dataset.contract.partition)


def _show_warehouse(dataset: str) -> None:
    """The newest months of the view that BI's first page is drawn from; nothing is written."""
    from fraud_assets.stores import Stores
    from fraud_mlops.cli.printing import number, say, show_table
    from fraud_mlops.errors import FraudMlopsError
    from fraud_mlops.settings import settings
    from fraud_mlops.warehouse.choice import warehouse_of

    warehouse = warehouse_of(settings(), Stores.of_settings().root)
    try:
        rows = _kpis(warehouse, dataset)
    except FraudMlopsError as error:  # such as a role that may write rows and read no view
        say(f"view BI_DAILY_KPIS of {warehouse.address} cannot be shown: {error}")
        return
    say(f"view BI_DAILY_KPIS of {warehouse.address}")
    named = [column.lower().replace("_", " ") for column in _COLUMNS]
    shown = [(partition, *(number(value) for value in values)) for partition, *values in rows]
    show_table(named, shown, right=named[1:])


def _kpis(warehouse: Warehouse, dataset: str) -> list[tuple[Any, ...]]:
    with warehouse.reading() as session:
        if session is None:
            return []
        return session.execute(
            f"SELECT {', '.join(_COLUMNS)} FROM BI_DAILY_KPIS WHERE DATASET = ? "
            "ORDER BY PERIOD_START DESC LIMIT 3",
            [dataset],
        )


def _cards() -> list[str]:
    """The newest page of each card that a run in this lakehouse has left."""
    from fraud_assets.stores import Stores

    root = Stores.of_settings().root
    pages = sorted(Path(root).glob("_reports/*/*/card-*.html"), key=lambda p: p.stat().st_mtime)
    newest = {(page.parts[-3], page.name.rsplit("-", 2)[0]): page for page in pages}
    return [str(page) for page in newest.values()] or [f"{root}/_reports/*/*/card-*.html"]


def _program(name: str) -> str:
    """A command beside this Python, as one types it from here."""
    path = Path(sys.executable).with_name(name)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _command(module: str, *arguments: str) -> int:
    """Its exit code. It has a session of its own, so that it hears once that the demo is stopped,
    and can cancel its run."""
    command = [sys.executable, "-m", module, *arguments]
    process: subprocess.Popen[bytes] | None = None
    try:
        with local_dagster.signals_wait():
            process = subprocess.Popen(command, cwd=local_dagster.ROOT, start_new_session=True)  # noqa: S603 - our own
        return process.wait()
    except (KeyboardInterrupt, SystemExit):
        if process is not None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_CANCEL_SECONDS)
        raise
    finally:
        if process is not None and process.poll() is None:
            process.kill()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nThe demo was stopped; `make demo` begins again.")
        sys.exit(128 + signal.SIGINT)
