"""Partitions from tasks to the lakehouse: encoded there, committed here.

A task has neither the store's secrets nor, on serverless compute, a network. So it writes each
partition whole with the lakehouse's own writer into a temporary file, and hands over the bytes as
rows. Spark keeps them in a scratch folder, by its own commit: a task that dies is run again, and
leaves nothing. The driver then copies each object to its place, atomically, and removes the
scratch. It handles compressed bytes only, a few megabytes at a time.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from fraud_mlops import errors
from fraud_mlops.contract import LABEL
from fraud_mlops.errors import FraudMlopsError, LakehouseError
from fraud_mlops.lakehouse.content import ContentWriter
from fraud_mlops.lakehouse.stores import atomic_writer, delete, is_local, list_files, open_input

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_OF_PATTERNS = re.compile(r"[\[\]{}*?\\]")
CHUNK = 4 << 20
PIECES = "part string, place int, data binary, facts string"
_SCHEMA = pa.schema(
    [
        pa.field("part", pa.string()),
        pa.field("place", pa.int32()),
        pa.field("data", pa.binary()),
        pa.field("facts", pa.string()),
    ]
)


class Facts(BaseModel):
    """Of an encoded object. labelled, frauds: claims with a label, and those of them that are 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int
    bytes: int
    data_version: str
    labelled: int = 0
    frauds: int = 0


class _Piece(NamedTuple):
    part: str
    place: int
    data: bytes
    facts: str | None


def encoded(
    part: str,
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    metadata: Mapping[str, str],
) -> Iterator[pa.RecordBatch]:
    """In a task: the Parquet object of one partition, as rows of PIECES; the last has the facts."""
    labelled = frauds = 0
    with tempfile.TemporaryDirectory(prefix="encoded-") as folder:
        file = Path(folder) / "object.parquet"
        with ContentWriter(str(file), schema, metadata) as writer:
            for batch in batches:
                if LABEL in schema.names:
                    label = batch.column(LABEL)
                    labelled += len(label) - label.null_count
                    frauds += int(pc.sum(label).as_py() or 0)
                writer.write(batch)
        facts = Facts(
            rows=writer.rows, bytes=writer.bytes, data_version=writer.data_version,
            labelled=labelled, frauds=frauds,
        )  # fmt: skip
        place = 0
        with file.open("rb") as stream:
            while data := stream.read(CHUNK):
                yield _row(part, place, data, None)
                place += 1
        yield _row(part, place, b"", facts.model_dump_json())


def deliver(pieces: DataFrame, scratch: str, target: Callable[[str], str]) -> dict[str, Facts]:
    """Runs Spark, and puts each part under the address that `target` gives it; facts by part.

    pieces: rows of `encoded`, those of a part together and in order. scratch: address of a folder
    that may be replaced, and is removed. Raises what a task has raised, where it is ours.
    """
    from pyspark.errors import PySparkException

    writer = pieces.write.mode("overwrite").option("compression", "uncompressed")
    try:
        writer.parquet(spark_uri(scratch))
        found: dict[str, Facts] = {}
        for part, rows in groupby(_pieces(scratch), key=attrgetter("part")):
            if part in found:
                raise LakehouseError(f"{scratch}: pieces of {part} are not together; run again")
            found[part] = _committed(target(part), rows)
    except PySparkException as error:
        if ours := _ours(str(error)):
            raise ours from None
        raise
    finally:
        delete(scratch)
    return found


def spark_uri(uri: str) -> str:
    """An address of ours as Spark has it."""
    if uri.startswith("s3://"):
        return f"s3a://{uri.removeprefix('s3://')}"
    if is_local(uri) and not uri.startswith(("file://", "/Volumes/")):
        return f"file://{uri}"
    return uri


def spark_pattern(uri: str) -> str:
    """The same where Spark reads, which takes addresses for patterns of names."""
    return _OF_PATTERNS.sub(r"\\\g<0>", spark_uri(uri))


def _row(part: str, place: int, data: bytes, facts: str | None) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [{"part": part, "place": place, "data": data, "facts": facts}], schema=_SCHEMA
    )


def _pieces(scratch: str) -> Iterator[_Piece]:
    files = [file.path for file in list_files(scratch) if file.path.endswith(".parquet")]
    for path in sorted(file for file in files if not file.startswith("_")):
        with open_input(f"{scratch}/{path}") as stream:
            for batch in pq.ParquetFile(stream).iter_batches(1):
                for row in batch.to_pylist():
                    yield _Piece(row["part"], row["place"], row["data"], row["facts"])


def _committed(uri: str, pieces: Iterable[_Piece]) -> Facts:
    with atomic_writer(uri) as stream:
        written, last = 0, None
        for place, piece in enumerate(pieces):
            if piece.place != place or last is not None:
                raise LakehouseError(f"{uri}: pieces of it are missing or twice; run again")
            written += stream.write(piece.data)
            last = piece.facts
        facts = Facts.model_validate_json(last) if last else None
        if facts is None or facts.bytes != written:
            raise LakehouseError(f"{uri}: it did not come whole from Spark; run again")
    return facts


def _ours(trace: str) -> FraudMlopsError | None:
    """The error of ours that a task has ended with, by the trace that Spark gives."""
    for line in trace.splitlines():
        name, sign, message = line.strip().partition(": ")
        kind = getattr(errors, name.removeprefix("fraud_mlops.errors."), None)
        if sign and isinstance(kind, type) and issubclass(kind, FraudMlopsError):
            return kind(message)
    return None
