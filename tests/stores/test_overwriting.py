"""Many at once: whole objects, one winner, and readers that never see two versions mixed."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from registry_kit import DATASET, publish
from test_same_on_every_store import SCHEMA, claims, large, put

from fraud_mlops.errors import LakehouseError, RegistryError, ReplacedError
from fraud_mlops.lakehouse.local_files import ABSENT
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import (
    atomic_writer,
    delete_version,
    exists,
    list_files,
    open_input,
    read_bytes,
    read_tagged,
    tag_of,
    write_bytes,
    write_tagged,
)
from fraud_mlops.registry.pointers import promote, read_pointer

OVERWRITES = 200
ROWS = 2_000


shared_by_processes = pytest.mark.parametrize("root", ["local", "s3", "adls"], indirect=True)


def at_once(*actions: Callable[[], object]) -> list[object]:
    gate = threading.Barrier(len(actions))

    def run(action: Callable[[], object]) -> object:
        gate.wait()
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


@shared_by_processes
def test_a_reader_looping_during_200_overwrites_sees_whole_versions_only(root: str) -> None:
    """Sizes differ, so that a mix of two versions would not even parse."""
    lake, done = Lakehouse(root), threading.Event()
    tables = [claims(ROWS * (1 + i % 3), start=i) for i in range(6)]
    versions = {put(root, table).data_version: table for table in tables}
    seen, replaced = set(), 0

    def write() -> None:
        try:
            for i in range(OVERWRITES):
                put(root, tables[i % 6])
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        (pinned,) = lake.partitions("raw", "motor")
        seen.add(pinned.data_version)
        try:
            assert lake.read([pinned]).equals(versions[pinned.data_version])
        except LakehouseError as error:
            assert "another run has replaced the partition" in str(error)  # noqa: PT017
            replaced += 1
    writer.join()
    assert len(seen) > 1
    lake.verify(lake.partitions("raw", "motor")[0])


@shared_by_processes
def test_a_file_that_is_overwritten_is_read_whole(root: str) -> None:
    uri, done = f"{root}/pointer.json", threading.Event()
    contents = [bytes([65 + i]) * (1000 * (1 + i)) for i in range(5)]
    write_bytes(uri, contents[0])

    def write() -> None:
        for i in range(OVERWRITES):
            write_bytes(uri, contents[i % 5])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert read_bytes(uri) in contents
    writer.join()


@shared_by_processes
def test_a_version_that_is_replaced_amid_a_read_is_gone_or_whole(root: str) -> None:
    """By what it says it is, and by its rows: never some rows of one and some of the other."""
    first = claims(300_000)
    pinned = put(root, first)
    reader = Lakehouse(root).batches([pinned])
    rows = [next(reader)]
    put(root, claims(300_000, start=7))
    try:
        rows.extend(reader)
    except LakehouseError as error:
        assert "another run has replaced the partition" in str(error)  # noqa: PT017
    else:
        assert first.combine_chunks().equals(_table(rows))


@shared_by_processes
def test_the_same_content_written_again_amid_a_read_changes_nothing(root: str) -> None:
    first = claims(300_000)
    pinned = put(root, first)
    reader = Lakehouse(root).batches([pinned])
    rows = [next(reader)]
    assert put(root, first) == pinned
    assert first.equals(_table([*rows, *reader]))


def _table(batches: list[pa.RecordBatch]) -> pa.Table:
    return pa.Table.from_batches(batches, SCHEMA)


@shared_by_processes
def test_runs_that_publish_one_partition_at_once_end_with_one_whole_object(root: str) -> None:
    tables = [claims(ROWS * (i + 1), start=i) for i in range(4)]
    written = at_once(*(partial(put, root, t) for t in tables))
    (there,) = Lakehouse(root).partitions("raw", "motor")
    assert there in written
    Lakehouse(root).verify(there)


@pytest.mark.parametrize("root", ["adls"], indirect=True)
def test_large_uploads_at_once_end_with_one_whole_object(root: str) -> None:
    """In blocks: the upload that ends first drops those of the other, which begins again."""
    tables = [large(seed) for seed in range(2)]
    written = at_once(*(partial(put, root, t) for t in tables))
    (there,) = Lakehouse(root).partitions("raw", "motor")
    assert there in written
    Lakehouse(root).verify(there)


@pytest.mark.parametrize("root", ["s3", "adls"], indirect=True)
def test_of_writes_in_place_of_one_version_one_is_done(root: str) -> None:
    uri = f"{root}/pointer.json"

    def attempt(data: bytes, tag: str | None) -> bool:
        try:
            write_tagged(uri, data, tag)
        except ReplacedError:
            return False
        return True

    tag = None
    for turn in (b"a", b"b", b"c"):
        contents = [turn + b"%d" % i for i in range(5)]
        won = at_once(*(partial(attempt, data, tag) for data in contents))
        found = read_tagged(uri)
        assert found is not None
        assert won.count(True) == 1
        assert found[0] == contents[won.index(True)]
        tag = found[1]
    assert not attempt(b"late", "an older tag")
    assert not attempt(b"late", None)


@pytest.mark.parametrize("root", ["local", "s3", "adls"], indirect=True)
def test_only_the_version_that_was_looked_at_is_removed(root: str) -> None:
    uri = f"{root}/old.parquet"

    def written(data: bytes) -> str:
        write_bytes(uri, data)
        with open_input(uri) as stream:
            return tag_of(stream)

    first, second = written(b"1"), written(b"2")
    with pytest.raises(ReplacedError):
        delete_version(uri, first)
    assert read_bytes(uri) == b"2"
    delete_version(uri, second)
    assert not exists(uri)
    delete_version(uri, second)
    assert list_files(root) == []


@shared_by_processes
def test_of_runs_that_promote_at_once_one_wins_and_the_others_are_told(root: str) -> None:
    models = f"{root}/models"
    first, *rivals = (publish(models, name) for name in "abcde")
    promote(models, DATASET, first, expected=None, by="first", reason="race")

    def attempt(version: str) -> str:
        try:
            promote(models, DATASET, version, expected=first, by=version, reason="race")
        except RegistryError as error:
            return str(error)
        return "won"

    said = at_once(*(partial(attempt, v) for v in rivals))
    pointer = read_pointer(models, DATASET, "champion")
    assert pointer is not None
    assert [v for v, text in zip(rivals, said, strict=True) if text == "won"] == [pointer.version]
    losers = [str(text) for text in said if text != "won"]
    assert all(f"the champion is {pointer.version}" in text for text in losers)


@shared_by_processes
@pytest.mark.parametrize("in_blocks", [False, True])
def test_of_many_that_make_an_object_one_does(
    root: str, in_blocks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"{root}/first"
    if in_blocks:
        monkeypatch.setattr("fraud_mlops.lakehouse.adls._ONE_REQUEST", 1)

    def make(word: bytes) -> bool:
        try:
            with atomic_writer(uri, replacing=ABSENT) as stream:
                stream.write(word)
        except ReplacedError:
            return False
        return True

    words = [bytes([65 + i]) * 1000 for i in range(8)]
    made = at_once(*(partial(make, word) for word in words))
    assert made.count(True) == 1
    assert read_bytes(uri) == words[made.index(True)]
    assert not make(b"late")
    assert [file.path for file in list_files(root)] == ["first"]


def test_where_a_disk_has_no_second_names_the_first_object_is_made_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", no_links)
    uri = str(tmp_path / "first")
    with atomic_writer(uri, replacing=ABSENT) as stream:
        stream.write(b"one")
    with pytest.raises(ReplacedError), atomic_writer(uri, replacing=ABSENT) as stream:
        stream.write(b"two")
    assert read_bytes(uri) == b"one"
