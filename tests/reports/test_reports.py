"""What a run published, told in Dagster Pipes' words to whoever looks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import fsspec
import pytest
from reports_kit import KEY, RUN, messages, write

from dagster_metaflow.reports import (
    Check,
    Materialization,
    ReportError,
    read_reports,
    write_report,
)


def test_a_report_says_what_was_published_in_the_words_of_pipes(tmp_path: Path) -> None:
    facts = {"uri": "/lake/raw/part-0.parquet", "rows": 20_000, "rate": 0.5, "ok": True}
    facts |= {"schema": {"claim_id": "string"}, "note": None}
    check = Check(name="contract", passed=False, severity="WARN", metadata={"bad": 3})
    uri = write(
        tmp_path,
        [Materialization(data_version="0a1b", partition="2024-05", metadata=facts)],
        [check],
    )
    assert uri == f"{tmp_path}/_reports/FraudDetectionFlow/launch-1/synthetic_claims.raw.json"
    written = json.loads(Path(uri).read_text())
    assert written["run"] == RUN
    assert datetime.fromisoformat(written["written"]).tzinfo is not None
    assert written["messages"] == [
        {
            "__dagster_pipes_version": "0.1",
            "method": "report_asset_materialization",
            "params": {
                "asset_key": "synthetic_claims/raw",
                "data_version": "0a1b",
                "metadata": {
                    "partition": {"raw_value": "2024-05", "type": "text"},
                    "uri": {"raw_value": "/lake/raw/part-0.parquet", "type": "text"},
                    "rows": {"raw_value": 20_000, "type": "int"},
                    "rate": {"raw_value": 0.5, "type": "float"},
                    "ok": {"raw_value": True, "type": "bool"},
                    "schema": {"raw_value": {"claim_id": "string"}, "type": "json"},
                    "note": {"raw_value": None, "type": "null"},
                },
            },
        },
        {
            "__dagster_pipes_version": "0.1",
            "method": "report_asset_check",
            "params": {
                "asset_key": "synthetic_claims/raw",
                "check_name": "contract",
                "passed": False,
                "metadata": {"bad": {"raw_value": 3, "type": "int"}},
                "severity": "WARN",
            },
        },
    ]


def test_dagster_pipes_itself_would_write_the_same_messages(tmp_path: Path) -> None:
    """The real writer, where it is installed, given the same metadata."""
    pipes = pytest.importorskip("dagster_pipes")
    path = tmp_path / "messages"
    typed = {"rows": {"raw_value": 5, "type": "int"}, "uri": {"raw_value": "/x", "type": "text"}}
    context = {
        "asset_keys": ["synthetic_claims/raw"],
        "run_id": "1",
        "retry_number": 0,
        "extras": {},
    }
    context |= dict.fromkeys(("partition_key", "partition_key_range", "partition_time_window"))
    context |= dict.fromkeys(("code_version_by_asset_key", "provenance_by_asset_key", "job_name"))
    params = {
        "DAGSTER_PIPES_CONTEXT": pipes.encode_param({"data": context}),
        "DAGSTER_PIPES_MESSAGES": pipes.encode_param({"path": str(path)}),
    }
    loader = pipes.PipesMappingParamsLoader(params)
    with pipes.open_dagster_pipes(params_loader=loader) as open_pipes:
        open_pipes.report_asset_materialization(metadata=typed, data_version="0a1b")
        open_pipes.report_asset_check("contract", passed=True, severity="ERROR", metadata=typed)
    theirs = [json.loads(line) for line in path.read_text().splitlines()]

    facts = {"rows": 5, "uri": "/x"}
    check = Check(name="contract", passed=True, metadata=facts)
    write(tmp_path, [Materialization(data_version="0a1b", metadata=facts)], [check])
    assert list(messages(tmp_path)) == [m for m in theirs if m["method"].startswith("report_")]


def test_each_partition_is_a_materialization_of_its_own(tmp_path: Path) -> None:
    months = ["2024-04", "2024-05", "2024-06"]
    write(tmp_path, [Materialization(data_version=f"v{m}", partition=m) for m in months])
    told = [m["params"] for m in messages(tmp_path)]
    assert [p["metadata"]["partition"]["raw_value"] for p in told] == months
    assert [p["data_version"] for p in told] == [f"v{m}" for m in months]


def test_reports_are_read_in_order_of_writing(tmp_path: Path) -> None:
    for asset in ("raw", "model", "ml_outputs", "metrics"):
        write(tmp_path, key=["motor", asset])
    write(tmp_path, launch="another")
    found = read_reports(str(tmp_path), "FraudDetectionFlow", "launch-1")
    assert [r.asset_key[-1] for r in found] == ["raw", "model", "ml_outputs", "metrics"]
    assert all(r.run == RUN and r.launch_id == "launch-1" for r in found)


def test_a_launch_that_has_not_begun_has_no_reports(tmp_path: Path) -> None:
    assert read_reports(str(tmp_path), "FraudDetectionFlow", "soon") == []


def test_assets_of_one_name_under_two_prefixes_do_not_meet(tmp_path: Path) -> None:
    write(tmp_path, key=["motor", "raw"])
    write(tmp_path, key=["household", "raw"])
    assert len(read_reports(str(tmp_path), "FraudDetectionFlow", "launch-1")) == 2


def test_a_retry_that_says_the_same_leaves_the_report_as_it_is(tmp_path: Path) -> None:
    made = [Materialization(data_version="v", metadata={"rows": 1})]
    uri = write(tmp_path, made)
    before = Path(uri).read_bytes()
    assert write(tmp_path, made) == uri
    assert Path(uri).read_bytes() == before


def test_a_retry_that_made_something_else_replaces_it(tmp_path: Path) -> None:
    write(tmp_path, [Materialization(data_version="v1")])
    write(tmp_path, [Materialization(data_version="v2")])
    assert [m["params"]["data_version"] for m in messages(tmp_path)] == ["v2"]


def test_a_report_that_was_cut_short_is_named_and_the_retry_mends_it(tmp_path: Path) -> None:
    uri = write(tmp_path, [Materialization(data_version="v")])
    Path(uri).write_bytes(Path(uri).read_bytes()[:-20])
    with pytest.raises(ReportError, match=r"synthetic_claims\.raw\.json: is no asset report"):
        read_reports(str(tmp_path), "FraudDetectionFlow", "launch-1")
    write(tmp_path, [Materialization(data_version="v")])
    assert len(messages(tmp_path)) == 1


def test_a_report_of_a_later_layout_is_refused(tmp_path: Path) -> None:
    uri = Path(write(tmp_path))
    uri.write_text(json.dumps(json.loads(uri.read_text()) | {"schema_version": 2}))
    with pytest.raises(ReportError, match="schema_version"):
        read_reports(str(tmp_path), "FraudDetectionFlow", "launch-1")


WRITER = """
import sys
from dagster_metaflow.reports import Materialization, write_report
for i in range(400):
    made = [Materialization(data_version=f"v{i}", metadata={"text": str(i) * 20_000})]
    write_report(sys.argv[1], "F", "L", ["a", "raw"], made, run="r")
"""


def test_a_reader_never_sees_half_a_report(tmp_path: Path) -> None:
    """Another process rewrites it over and over, and is killed in the middle of that."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
    seen = set()
    end = time.monotonic() + 30
    while len(seen) < 20 and time.monotonic() < end:
        for report in read_reports(str(tmp_path), "F", "L"):
            seen.add(report.messages[0]["params"]["data_version"])
    process.kill()
    process.wait()
    assert len(seen) >= 20
    [report] = read_reports(str(tmp_path), "F", "L")
    assert len(report.messages) == 1


@pytest.mark.parametrize("bad", ["", ".", "..", "../up", "a/b", "/abs", "a b", "a\n", "ä"])
def test_names_stay_inside_the_ledger(tmp_path: Path, bad: str) -> None:
    root = tmp_path / "lake"
    with pytest.raises(ReportError, match="launch id"):
        write(root, launch=bad)
    with pytest.raises(ReportError, match="launch id"):
        read_reports(str(root), "FraudDetectionFlow", bad)
    with pytest.raises(ReportError, match="flow"):
        write_report(str(root), bad, "launch-1", KEY, [], run=RUN)
    with pytest.raises(ReportError, match="asset key"):
        write(root, key=["motor", bad])
    with pytest.raises(ReportError, match="asset key"):
        write(root, key=[])
    assert list(tmp_path.iterdir()) == []


def test_a_check_has_a_name_that_dagster_takes(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"check name 'drift-oot'.*letters, digits, '_'"):
        write(tmp_path, checks=[Check(name="drift-oot", passed=True)])


def test_any_store_will_do() -> None:
    try:
        uri = write("memory://ledger/lake", [Materialization(data_version="v")])
        assert uri.startswith("memory://ledger/lake/_reports/")
        assert len(messages("memory://ledger/lake")) == 1
    finally:
        fsspec.filesystem("memory").rm("/ledger", recursive=True)


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    root = tmp_path / "lake [old] *"
    write(root)
    assert len(read_reports(str(root), "FraudDetectionFlow", "launch-1")) == 1
    assert len(read_reports(f"file://{root}", "FraudDetectionFlow", "launch-1")) == 1


def test_a_folder_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "_reports").write_text("a file where the ledger should be")
    with pytest.raises(OSError, match="_reports"):
        write(tmp_path)
    assert os.listdir(tmp_path) == ["_reports"]  # noqa: PTH208


@pytest.mark.parametrize(
    "made",
    [
        Materialization(data_version=""),
        Materialization(data_version="v", partition=""),
        Materialization(data_version="v", partition="2024\0"),
    ],
)
def test_what_readers_would_take_for_damage_is_not_written(
    tmp_path: Path, made: Materialization
) -> None:
    with pytest.raises(ReportError, match="use a text that is not empty and holds no NUL"):
        write(tmp_path, [made])
    assert not list(tmp_path.rglob("*.json"))
