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
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fraud_assets.dataset import Dataset

ROOT = Path(__file__).resolve().parents[1]
PORT = 3000
START_SECONDS = 120
END_SECONDS = 30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample-size", type=int, default=20_000, help="claims to generate")
    parser.add_argument("--candidates", type=int, default=4, help="networks to train")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)  # Dagster is to end too
    home = _home()
    with _dagster(home) as url:
        print(f"Dagster is at {url} while this runs: have a look.", flush=True)
        for job, options in _jobs(arguments.sample_size, arguments.candidates):
            print(f"\n{job}", flush=True)
            code = _command("fraud_assets.launch", job, "--url", url, *options)
            if code:
                print(f"\nDagster's own log: {home / 'demo.log'}")
                return code
    dataset = _dataset().name
    print(flush=True)
    code = _command("fraud_mlops.cli", "summary", "--dataset", dataset)
    _show_warehouse(dataset)
    print(
        "\nWhere to look\n"
        f"  the assets   make ui, then http://127.0.0.1:{PORT}/assets\n"
        f"  the rest     {_program('fraud-mlops')}, with the commands above\n"
        "  the cards, in a browser"
    )
    for page in _cards():
        print(f"    {page}")
    return code


def _leave(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _home() -> Path:
    """Dagster's folder, with a dagster.yaml in it: the project's own, unless there is another."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(ROOT / ".dagster"))).absolute()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        (home / "dagster.yaml").unlink(missing_ok=True)
        (home / "dagster.yaml").symlink_to(ROOT / "dagster.yaml")
    return home


@contextlib.contextmanager
def _dagster(home: Path) -> Iterator[str]:
    """`dagster dev`, ready to take jobs; ended with everything that it started."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    log = home / "demo.log"
    with log.open("w") as stream:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "dagster", "dev", "--host=127.0.0.1", f"--port={port}"],
            cwd=ROOT,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, url, log)
        yield url
    finally:
        _end(process)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    print("Starting Dagster ...", flush=True)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"Dagster did not start; the end of {log}:\n{_tail(log)}")
        with contextlib.suppress(OSError, ValueError):
            if _has_jobs(url):
                return
        time.sleep(0.3)
    sys.exit(f"Dagster was not ready within {START_SECONDS} s; the end of {log}:\n{_tail(log)}")


def _has_jobs(url: str) -> bool:
    query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
    request = urllib.request.Request(  # noqa: S310 - a loopback address of our own
        f"{url}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - likewise
        found: Any = json.load(answer)
    return bool(found["data"]["repositoriesOrError"].get("nodes"))


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
    """The newest months of the view that BI's first page is drawn from."""
    from fraud_assets.stores import Stores
    from fraud_mlops.cli.printing import number, say, show_table
    from fraud_mlops.settings import settings
    from fraud_mlops.warehouse.choice import warehouse_of

    columns = ("PARTITION_KEY", "CLAIMS", "ALERTS", "PRECISION_OF_ALERTS", "RECALL_OF_ALERTS")
    warehouse = warehouse_of(settings(), Stores.of_settings().root)
    with warehouse.session() as session:
        rows = session.execute(
            f"SELECT {', '.join(columns)} FROM BI_DAILY_KPIS WHERE DATASET = ? "
            "ORDER BY PERIOD_START DESC LIMIT 3",
            [dataset],
        )
    say(f"view BI_DAILY_KPIS of {warehouse.address}")
    named = [column.lower().replace("_", " ") for column in columns]
    shown = [(partition, *(number(value) for value in values)) for partition, *values in rows]
    show_table(named, shown, right=named[1:])


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
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603 - our own


def _free_port() -> int:
    for port in (PORT, 0):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return int(listener.getsockname()[1])
    raise SystemExit("no port is free on 127.0.0.1")


def _end(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C: Dagster ends its servers in order; what is left after a while is killed."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


if __name__ == "__main__":
    sys.exit(main())
