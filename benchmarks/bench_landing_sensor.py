"""A tick of the landing sensor over a folder of many files.

    python benchmarks/bench_landing_sensor.py [--files 100000] [--ticks 5]

The files are of this machine, and were all seen before: the record of that is written as the sensor
writes it, without reading each file. Then ticks are evaluated as the daemon evaluates them, with
nothing new and with some new files. Listings are counted by what Python itself reports of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from fraud_assets.dataset import Dataset, datasets
from fraud_assets.definitions import definitions
from fraud_assets.sensors.landing import SETTLE_SECONDS
from fraud_assets.stores import Stores
from fraud_mlops.landing.cursor import Cursor
from fraud_mlops.landing.listing import landed_files
from fraud_mlops.landing.seen import Looked, SeenFiles
from fraud_mlops.sources import FileSource

CONTRACT = """\
name: parcels
source: {uri: "landing/*.csv"}
claim_id: claim
event_time: {column: day}
label: {column: fraud, delay: 30d}
amount: amount
entities: {garage: garage}
numeric: []
categorical: []
windows: [7, 30]
partition: month
"""
NEW = (1, 1, 100)
"""The first of these also imports what reads files."""


class Bench:
    """A landing zone, and a Dagster that looks at it."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        (folder / "parcels.yaml").write_text(CONTRACT, encoding="utf-8")
        self.landing = folder / "landing"
        self.landing.mkdir()
        self.dataset: Dataset = datasets(str(folder / "parcels.yaml"))[0]
        self.stores = Stores(lakehouse_uri=str(folder / "lake"))
        self.instance = instance
        self.defs = definitions([self.dataset], self.stores)
        self.listed = 0
        self.landed = 0
        sys.addaudithook(self._count)

    def land(self, count: int) -> None:
        for number in range(self.landed, self.landed + count):
            day = f"2024-{number % 12 + 1:02}-05"
            text = f"claim,day,fraud,amount,garage\nc{number},{day},0,10,g\n"
            (self.landing / f"claims-{number:08}.csv").write_text(text, encoding="utf-8")
        self.landed += count

    def see_all(self) -> str:
        """A cursor that knows all files that are there."""
        source = self.dataset.contract.source
        if not isinstance(source, FileSource):
            raise TypeError("the contract above names files")
        files = landed_files(source)
        seen = SeenFiles().after([Looked(file, 19_723, 19_723) for file in files], files)
        return seen.write(self.stores.lakehouse, self.dataset.name)

    def tick(self, cursor: str | None, what: str) -> str:
        """Prints seconds, those of the processor, listings, and runs that were asked for."""
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=cursor,
            definitions=self.defs,
            resources={"stores": self.stores},
        )
        sensor = self.defs.resolve_sensor_def("landing_sensor")
        self.listed = 0
        began, worked = time.perf_counter(), time.process_time()
        ticked = sensor.evaluate_tick(context)
        seconds, cpu = time.perf_counter() - began, time.process_time() - worked
        asked = len(ticked.run_requests or [])
        print(f"| {what} | {seconds:.2f} | {cpu:.2f} | {self.listed} | {asked} |", flush=True)
        return str(ticked.cursor)

    def _count(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in ("os.scandir", "os.listdir") and str(arguments[0]) == str(self.landing):
            self.listed += 1


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    options.add_argument("--files", type=int, default=100_000)
    options.add_argument("--ticks", type=int, default=5)
    given = options.parse_args()
    with place() as bench:
        bench.land(given.files)
        cursor = bench.see_all()
        print(f"{given.files:,} files\n\n| tick | seconds | of CPU | listings | runs asked for |")
        print("|---|---|---|---|---|")
        for _ in range(given.ticks):
            bench.tick(cursor, "nothing new")
        for count in NEW:
            bench.land(count)
            time.sleep(SETTLE_SECONDS + 1)  # until the sensor takes them for complete
            cursor = bench.tick(cursor, f"{count} new")
        cursor = bench.tick(None, "nothing seen yet")
        record = Cursor.parse(cursor).record
        seen = SeenFiles.read(bench.stores.lakehouse, bench.dataset.name, record)
        print(f"\nThe last one read {len(seen):,} files; a cursor has {len(cursor)} characters.")


@contextmanager
def place() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        with dg.DagsterInstance.local_temp(str(home)) as instance:
            yield Bench(Path(folder), instance)


if __name__ == "__main__":
    main()
