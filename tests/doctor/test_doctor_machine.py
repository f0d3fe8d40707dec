"""`fraud-mlops doctor` on this machine: what it looks at, and what it says mends it."""

from __future__ import annotations

import errno
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from web_page import Page, served

from fraud_mlops.cli import main
from fraud_mlops.doctor import machine, places, services
from fraud_mlops.settings import settings

Set = Callable[..., None]
Doctor = Callable[..., tuple[int, dict[str, dict[str, Any]]]]


def test_a_machine_that_is_fit(doctor: Doctor, tmp_path: Path) -> None:
    code, found = doctor()
    wrong = {name: one for name, one in found.items() if one["status"] == "wrong"}
    assert (code, wrong) == (0, {})
    local = ("Python", "packages", "clock", "cores", "memory", "lakehouse", "warehouse", "device")
    assert set(local) <= found.keys()
    assert "Databricks" not in found  # what no setting asks for is not looked at
    assert not (tmp_path / "lake").exists()  # and nothing is made


def test_for_people_each_line_has_its_command(shell: Set) -> None:
    shell(FRAUD_THREADS="many")
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("wrong    settings"))
    assert "FRAUD_THREADS='many'" in lines[at + 1]
    assert lines[at + 2].strip() == "-> docs/settings.md"
    assert lines[-1].startswith("1 of ")


def test_packages_are_held_against_the_pins(tmp_path: Path) -> None:
    pins = tmp_path / "requirements.txt"
    pins.write_text("# pins\nclick==0.1\nno-such-package==1.0\nnumpy==2.0.1\n")
    found = machine.packages(tmp_path)
    assert (found.status, found.says) == ("wrong", "not installed: no-such-package")
    assert found.mend.startswith(f"pip install -r {pins}")
    pins.write_text(f"click==0.1\nnumpy=={machine.metadata.version('numpy')}\n")
    found = machine.packages(tmp_path)
    assert found.status == "warning"
    assert f"click {machine.metadata.version('click')} instead of 0.1" in found.says
    assert "numpy" not in found.says


def test_the_project_as_it_is_installed_keeps_what_the_wheel_asks_for(tmp_path: Path) -> None:
    assert machine.packages(tmp_path).status == "ok"  # no requirements.txt there


def test_a_clock_that_went_back_is_told() -> None:
    assert machine.clock().status == "ok"
    found = machine.clock(now=0.0)
    assert found.status == "wrong"
    assert found.mend == "sudo timedatectl set-ntp true"


@pytest.mark.parametrize(("minutes", "status"), [(4, "ok"), (10, "warning"), (20, "wrong")])
def test_a_clock_is_wrong_from_where_a_store_refuses_signatures(
    shell: Set, minutes: int, status: str
) -> None:
    with served(type("Behind", (Page,), {"behind": 60.0 * minutes})) as port:
        shell(LAKEHOUSE_URI="s3://lake/x", AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}")
        [found] = services.clock(settings())
    assert found.status == status
    assert (found.mend is None) == (status == "ok")


@pytest.mark.parametrize(
    ("variable", "value", "name", "status"),
    [
        ("FRAUD_THREADS", "4096", "cores", "warning"),
        ("FRAUD_MEMORY_LIMIT", "900TB", "memory", "wrong"),
    ],
)
def test_more_than_the_machine_has_is_told(
    shell: Set, variable: str, value: str, name: str, status: str
) -> None:
    shell(**{variable: value})
    found = getattr(machine, name)(settings())
    assert (found.name, found.status) == (name, status)
    assert variable in found.mend


class Dagster(Page):
    text = b'{"dagster_webserver_version": "1.13.27"}'


@pytest.mark.parametrize(("handler", "status"), [(Page, "warning"), (Dagster, "ok")])
def test_a_port_that_is_taken_is_told_unless_by_whom_it_is_for(
    handler: type[Page], status: str
) -> None:
    with served(handler) as port:
        found = machine.port(port, machine.PORTS[3000])
    assert found.status == status
    assert status == "ok" or found.mend == "dagster-webserver -w workspace.yaml --port 3001"


def test_a_port_that_nobody_has_is_free() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    assert machine.port(number, machine.PORTS[8080]).status == "ok"


def test_a_folder_that_cannot_be_written_to(shell: Set, tmp_path: Path) -> None:
    shell(LAKEHOUSE_URI="/proc/lake")
    found = places.lakehouse(settings())
    assert (found.status, found.name) == ("wrong", "lakehouse")
    assert "LAKEHOUSE_URI" in found.mend
    (tmp_path / "file").touch()
    shell(LAKEHOUSE_URI=str(tmp_path / "file"))
    assert "is a file, where a folder should be" in places.lakehouse(settings()).says


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    """By the limit of a process on the size of its files, which the kernel holds alike."""
    code = (
        "from fraud_mlops.doctor import places; print(places.metaflow_records().model_dump_json())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"status":"wrong"' in done.stdout
    assert "File too large" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_disk_with_little_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "GOOD_FREE", 1 << 62)
    assert places.folder("lakehouse", tmp_path, "LAKEHOUSE_URI").status == "warning"
    monkeypatch.setattr(places, "LEAST_FREE", 1 << 62)
    assert places.folder("lakehouse", tmp_path, "LAKEHOUSE_URI").status == "wrong"


def test_dagsters_folder(shell: Set, tmp_path: Path) -> None:
    assert places.dagster_home().status == "ok"
    shell(DAGSTER_HOME="here")
    assert places.dagster_home().mend == f"export DAGSTER_HOME={tmp_path / 'here'}"
    shell(DAGSTER_HOME=str(tmp_path))
    assert "has no dagster.yaml" in places.dagster_home().says
    (tmp_path / "dagster.yaml").touch()
    assert places.dagster_home().status in ("ok", "warning")
    assert "dagster.yaml" not in places.dagster_home().says


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.EACCES, "sudo chown -R"),
        (errno.ENOSPC, "df -h /lake    # make space"),
        (errno.EROFS, "export LAKEHOUSE_URI="),
    ],
)
def test_what_mends_a_folder_belongs_to_the_cause(number: int, mend: str) -> None:
    assert places.mend_folder(number, Path("/lake"), "LAKEHOUSE_URI").startswith(mend)


def test_a_warehouse_in_a_folder_that_is_not_there(shell: Set, tmp_path: Path) -> None:
    shell(FRAUD_WAREHOUSE_PATH=str(tmp_path / "nodir" / "w.duckdb"))
    found = places.warehouse_file(settings())
    assert (found.status, "there is no folder" in found.says) == ("wrong", True)
    assert found.mend.startswith(f"mkdir -p {tmp_path}/nodir")


def test_a_warehouse_file_that_is_none(shell: Set, tmp_path: Path) -> None:
    shell(FRAUD_WAREHOUSE_PATH=str(tmp_path / "warehouse.duckdb"))
    (tmp_path / "warehouse.duckdb").write_text("no database" * 1000)
    found = places.warehouse_file(settings())
    assert (found.status, "is no DuckDB file" in found.says) == ("wrong", True)


def test_a_warehouse_file_that_another_process_has_open(shell: Set, tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    shell(FRAUD_WAREHOUSE_PATH=str(file))
    code = f"import duckdb; c = duckdb.connect({str(file)!r}); print('open', flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout is not None
        other.stdout.readline()
        found = places.warehouse_file(settings())
    finally:
        other.communicate(b"\n", timeout=20)
    assert (found.status, f"process {other.pid} (" in found.says) == ("warning", True)
    assert places.warehouse_file(settings()).status == "ok"
