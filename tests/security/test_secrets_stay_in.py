"""No secret of the environment is in anything that the project leaves behind.

A new setting of the type SecretStr is marked by itself. docs/security.md tells of this test.
"""

from __future__ import annotations

import gzip
import pickle
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from left_behind import leaks
from left_out import LEFT_OUT
from marked import ROOT, Marked, everything_marked, read
from marks import MARKS, secret_settings

pytestmark = pytest.mark.flow
KINDS = ("lake", "lake-of-dagster", "dagster", "metaflow", "output")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Marked]:
    with everything_marked(tmp_path_factory.mktemp("marked")) as made:
        yield made


def test_every_way_in_was_gone(scene: Marked) -> None:
    """Well, or wrong in the way that was meant: else the marks were in no danger."""
    expected = {
        **{"launch": 1, "resume": 0, "notify": 0, "summary": 0, "model card": 0},
        **{"sync": 0, "sync set up by half": 1, "doctor": 0, "wrong settings": 1},
        **{"api 0": 200, "api 1": 401, "api 2": 422, "api 3": 400, "api 4": 200, "api 5": 200},
        **{"api 6": 404, "publish": 0, "run log": 0, "check": 0, "metrics": 0, "quarantine": 0},
        **{"scores": 0, "predictions": 0, "models": 0, "lake": 0, "gate": 0, "deploy": 0},
        **{"erase": 0},
    }
    assert scene.codes.keys() == expected.keys()
    other = {name: code for name, code in scene.codes.items() if code != expected[name]}
    assert other == {}, [read(scene, "answers" if "api" in name else name) for name in other]


def test_every_script_and_command_was_run_or_is_left_out_for_a_reason(scene: Marked) -> None:
    from fraud_mlops.cli import main

    run = {Path(part).name for command in scene.commands for part in command}
    found = {path.name for path in (ROOT / "scripts").iterdir() if path.suffix in (".py", ".sh")}
    found |= set(main.commands)
    assert found - run - LEFT_OUT.keys() == set()
    assert LEFT_OUT.keys() - found == set()
    assert LEFT_OUT.keys() & run == set()


def test_the_settings_that_are_secret_are_known() -> None:
    assert {"SNOWFLAKE_PASSWORD", "FRAUD_NOTIFY_URLS"} <= set(secret_settings())
    assert len(set(MARKS.values())) == len(MARKS)


@pytest.mark.parametrize("kind", KINDS)
def test_no_mark_is_in_what_was_left(scene: Marked, kind: str) -> None:
    files = [path for path in (scene.folder / kind).rglob("*") if path.is_file()]
    assert files, f"nothing was left in {kind}"
    assert leaks(scene.folder / kind, scene.marks) == []


def test_nor_anywhere_else(scene: Marked) -> None:
    assert leaks(scene.folder, scene.marks) == []


def test_people_are_told_of_a_failure_without_the_secret_in_it(scene: Marked) -> None:
    told = str(scene.told)
    assert "login refused: ****" in told
    assert "marked_claims__ingest" in told  # by Dagster's sensor
    assert not any(mark in told for mark in scene.marks.values())


def plain(path: Path, text: str) -> None:
    path.write_text(f"password={text}\n")


def pickled(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(pickle.dumps({"self.password": text})))


def packed(path: Path, text: str) -> None:
    inner = path.with_suffix(".txt")
    inner.write_text(text)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(inner, "inner.txt")
    inner.unlink()


def zipped(path: Path, text: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", text)


def parquet(path: Path, text: str) -> None:
    pq.write_table(pa.table({"reason": [text] * 100}), path, compression="zstd")


def parquet_footer(path: Path, text: str) -> None:
    pq.write_table(pa.table({"n": [1]}).replace_schema_metadata({"run": text}), path)


def database(path: Path, text: str) -> None:
    with closing(sqlite3.connect(path)) as made, made:
        made.execute("CREATE TABLE event_logs (event TEXT)")
        made.execute("INSERT INTO event_logs VALUES (?)", ["x" * 4000 + text + "x" * 4000])


def encoded(path: Path, text: str) -> None:
    import base64

    path.write_bytes(base64.b64encode(f"user:{text}@host".encode()))


def card(path: Path, text: str) -> None:
    import base64

    data = base64.b64encode(("{" + " " * 600 + text + "}").encode()).decode()
    path.write_text(f'<script>window.__MF_DATA__["card"] = "{data}"</script>')


PLANTS = (
    *(plain, pickled, packed, zipped, parquet, parquet_footer, database, encoded, card),
)  # fmt: skip


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_mark_that_is_planted_is_found(
    plant: Callable[[Path, str], None], tmp_path: Path
) -> None:
    """The control: what finds nothing has looked."""
    plant(tmp_path / "left", MARKS["SNOWFLAKE_PASSWORD"])
    assert leaks(tmp_path, MARKS) == ["left: SNOWFLAKE_PASSWORD"]
