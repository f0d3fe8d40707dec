"""`scores`, `metrics`, `quarantine` and `summary` on what runs have written."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fraud_mlops import catalog
from fraud_mlops.claims import ingest
from fraud_mlops.errors import QualityError
from fraud_mlops.monitoring.drift_report import DRIFT_VERDICTS


def claims_shown(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines() if line.strip().startswith("C")]


def test_scores_come_highest_first_over_all_partitions(ran) -> None:
    text = ran.says("scores", "--dataset", "motor", "--top", "4")
    assert claims_shown(text) == ["C5-029", "C6-009", "C5-028", "C6-008"]
    assert "4 of 40 scored claims in ml_outputs, month 2024-05 to 2024-06" in text


def test_scores_of_one_partition(ran) -> None:
    text = ran.says("scores", "--dataset", "motor", "--partition", "2024-06", "--top", "3")
    assert claims_shown(text) == ["C6-009", "C6-008", "C6-007"]
    assert "90.9%" in text
    assert "2024-06-01 09:00" in text


def test_alerts_come_with_their_reasons_as_the_model_said_them(ran) -> None:
    text = ran.says("scores", "--dataset", "motor", "--alerts")
    assert claims_shown(text) == ["C5-029", "C6-009", "C5-028", "C6-008"]
    assert "amount 29 [typical 3]" in text, "no markup is made of square brackets"
    assert "age 90" in text


def test_scores_are_ranked_the_same_whatever_the_order_of_equal_ones(ran) -> None:
    import pyarrow as pa

    [first, _] = ran.lake.partitions("ml_outputs", "motor")
    table = ran.lake.read([first])
    at = table.schema.get_field_index("score")
    level = table.set_column(at, table.schema.field(at), pa.array([1.0] * table.num_rows))
    backwards = level.take(list(reversed(range(level.num_rows))))
    ran.lake.write("ml_outputs", "motor", "month", "2024-05", backwards.to_batches(), level.schema)
    text = ran.says("scores", "--dataset", "motor", "--partition", "2024-05", "--top", "2")
    assert claims_shown(text) == ["C5-000", "C5-001"]


def test_a_partition_that_is_not_there_is_told_with_those_that_are(ran) -> None:
    text = ran.fails("scores", "--dataset", "motor", "--partition", "2023-01")
    assert "no partition '2023-01', only 2024-05 to 2024-06" in text


def test_a_dataset_without_scores_is_told_with_those_that_have_some(ran) -> None:
    text = ran.fails("scores", "--dataset", "moto")
    assert "holds nothing of 'moto', only of motor" in text
    assert "run --dataset moto" in text


def test_a_damaged_partition_is_told_by_its_path(ran) -> None:
    [first, _] = ran.lake.partitions("ml_outputs", "motor")
    Path(first.uri).write_bytes(Path(first.uri).read_bytes()[:-30])
    assert "month=2024-05/part-0.parquet: damaged" in ran.fails("scores", "--dataset", "motor")


def test_a_damaged_partition_keeps_nobody_from_another(ran) -> None:
    [first, _] = ran.lake.partitions("metrics", "motor")
    Path(first.uri).write_bytes(b"")
    assert "month=2024-05" in ran.fails("metrics", "--dataset", "motor")
    assert "2024-06" in ran.says("metrics", "--dataset", "motor", "--partition", "2024-06")


def test_metrics_show_windows_and_leave_slices_for_those_who_ask(ran) -> None:
    text = ran.says("metrics", "--dataset", "motor")
    assert "0.582" in text
    assert "0.442 to 0.744" in text
    assert "region=north" not in text
    assert "region=north" in ran.says("metrics", "--dataset", "motor", "--slices")


def test_verdicts_are_words(ran) -> None:
    rows = [("drift_partition", f"feature={word}", "verdict", float(number), None, None)
            for word, number in DRIFT_VERDICTS.items()]  # fmt: skip
    ran.add_metrics(7, "v", *rows)
    text = ran.says("metrics", "--dataset", "motor", "--partition", "2024-07", "--slices")
    lines = [line.split()[1:4] for line in text.splitlines() if "feature=" in line]
    assert lines == [[f"feature={word}", "verdict", word] for word in ("stable", "warn", "drift")]


def test_drift_is_one_line_a_partition_and_its_limits_stand_with_the_features(ran) -> None:
    limits = [("drift_partition", "all", name, value, None, None)
              for name, value in (("psi_warn", 0.1), ("psi_alert", 0.25))]  # fmt: skip
    judged = [("drift_partition", "all", name, value, None, None)
              for name, value in (("classifier_auc", 0.734), ("drifted_share", 0.125),
                                  ("verdict", 1.0))]  # fmt: skip
    ran.add_metrics(7, "v", *judged, *limits)
    ran.add_metrics(8, "w", *limits)  # of too few claims
    shown = ("metrics", "--dataset", "motor", "--window", "drift_partition")
    text = ran.says(*shown)
    lines = [line.split() for line in text.splitlines() if line.strip().startswith("2024-")]
    assert lines == [
        ["2024-07", "warn", "0.125", "0.734", "v"],
        ["2024-08", "not", "judged", "w"],
    ]
    assert "psi_warn" not in text
    assert "psi_warn" in ran.says(*shown, "--slices")


def test_metrics_by_partition_are_one_line_each(ran) -> None:
    text = ran.says("metrics", "--dataset", "motor", "--window", "partition")
    lines = [line.split() for line in text.splitlines() if line.strip().startswith("2024-")]
    assert lines == [["2024-05", "30", "0"], ["2024-06", "10", "0"]]


def test_metrics_of_a_window_that_is_not_there(ran) -> None:
    text = ran.fails("metrics", "--dataset", "motor", "--window", "nope")
    assert "there are drift_oot, oot, partition" in text


def test_a_lakehouse_elsewhere_is_named_with_an_option(ran, monkeypatch) -> None:
    from fraud_mlops.settings import settings

    monkeypatch.setenv("LAKEHOUSE_URI", "nowhere")
    settings.cache_clear()
    ran.fails("scores", "--dataset", "motor")
    assert "C5-029" in ran.says("scores", "--dataset", "motor", "--output-uri", str(ran.root))
    text = ran.says("summary", "--dataset", "motor", "--output-uri", str(ran.root))
    assert "champion 20240301-" in text, "its models are looked up in it too"


CONTRACT = """\
name: motor
source: {uri: claims.csv}
claim_id: id
event_time: {column: at}
label: {column: fraud, delay: 7d}
numeric: [age]
categorical: []
quality: {max_bad_share: %s}
"""
ROWS = ["id,at,fraud,age", *(f"c{i},2024-01-{i + 1:02},{i % 2},{20 + i}" for i in range(20))]


@pytest.fixture
def source(ran, tmp_path: Path):
    """Twenty claims, of which the fourth has a label that nobody knows and the sixth no time."""
    rows = list(ROWS)
    rows[4] = "c3,2024-01-04,maybe,23"
    rows[6] = "c5,soon,1,25"
    (tmp_path / "claims.csv").write_text("\n".join(rows) + "\n")

    def contract(max_bad_share: float) -> Path:
        path = tmp_path / "motor.yaml"
        path.write_text(CONTRACT % max_bad_share)
        return path

    return contract


def into(ran, path: Path, launch: str):
    return ingest(
        catalog.load(path),
        ran.lake,
        launch_id=launch,
        as_of=datetime(2026, 1, 1, tzinfo=UTC),
        sample_size=None,
        progress=lambda _: None,
    )


def test_quarantine_counts_reasons_by_launch_and_shows_the_first(ran, source) -> None:
    into(ran, source(0.5), "run-1")
    with pytest.raises(QualityError):
        into(ran, source(0.01), "run-2")
    text = ran.says("quarantine", "--dataset", "motor")
    lines = [line.split()[:3] for line in text.splitlines() if line.strip().startswith("run-")]
    assert lines == [
        ["run-1", "1", "unknown_label"],
        ["run-1", "1", "bad_event_time"],
        ["run-2", "1", "unknown_label"],
        ["run-2", "1", "bad_event_time"],
    ]
    assert "row 4, column 'fraud': 'maybe'" in text
    command = text.partition("One by one: fraud-mlops ")[2]
    assert "of 2 rows" in ran.says(*command.split())


def test_the_latest_quarantine_is_last_whatever_it_is_called(ran, source) -> None:
    for name in ("z-first", "a-second"):
        with pytest.raises(QualityError):
            into(ran, source(0.01), name)
    folder = ran.root / "quarantine" / "motor"
    os.utime(folder / "z-first.parquet", (1_700_000_000, 1_700_000_000))
    text = ran.says("quarantine", "--dataset", "motor")
    assert text.index("z-first") < text.index("a-second")
    assert "2023-11-14 22:13" in text
    assert text.rstrip().endswith("--launch-id a-second")


def test_quarantined_rows_of_one_launch_are_shown_one_by_one(ran, source) -> None:
    into(ran, source(0.5), "run-1")
    text = ran.says("quarantine", "--dataset", "motor", "--launch-id", "run-1", "--top", "1")
    assert "maybe" in text
    assert "soon" not in text
    assert "1 of 2 rows" in text
    assert "the last are run-1" in ran.fails(
        "quarantine", "--dataset", "motor", "--launch-id", "run-9"
    )


def test_no_quarantine_is_good_news(ran) -> None:
    assert "No row of motor" in ran.says("quarantine", "--dataset", "motor")


def test_the_summary_is_all_a_newcomer_wants_to_see(ran) -> None:
    text = ran.says("summary", "--dataset", "motor")
    assert "champion 20240301-" in text
    assert "The first champion: there was none before it to be held against." in text
    assert "0.400 to 0.600" in text, "figures come from the champion's manifest"
    assert ["raw", "1", "2024-05", "to", "2024-05", "1,234"] in [
        line.split()[:6] for line in text.splitlines()
    ]
    assert claims_shown(text) == ["C5-029", "C6-009", "C5-028", "C6-008"]
    assert "amount 29 [typical 3]" in text
    assert "fraud-mlops scores --dataset motor --alerts" in text


def test_a_summary_goes_on_past_what_is_damaged_and_names_it(ran) -> None:
    (metrics, _), (scores, _) = (ran.lake.partitions(z, "motor") for z in ("metrics", "ml_outputs"))
    Path(metrics.uri).write_bytes(b"PAR1 cut")
    content = bytearray(Path(scores.uri).read_bytes())
    content[40:80] = bytes(40)  # behind a footer that is whole
    Path(scores.uri).write_bytes(content)
    result = ran("summary", "--dataset", "motor")
    assert result.exit_code == 1
    assert ["metrics", "1", "2024-06", "to", "2024-06,", "1", "damaged"] in [
        line.split()[:7] for line in result.stdout.splitlines()
    ]
    assert claims_shown(result.stdout) == ["C6-009", "C6-008"]
    assert result.stdout.rstrip().endswith("models show --dataset motor")
    for partition in (metrics, scores):
        assert f"{partition.uri}: damaged" in result.stderr
    assert "Traceback" not in result.output


def test_a_summary_before_the_first_run_says_how_to_start_one(shell) -> None:
    text = shell.fails("summary", "--dataset", "motor")
    assert "no champion" in text
    assert "flows/fraud_detection_flow.py run --dataset motor" in text


def test_a_command_to_go_on_with_names_the_dataset_as_it_was_named(ran, source, tmp_path) -> None:
    """A contract that lies elsewhere is not found by its name."""
    path, empty = str(source(0.5)), ("--output-uri", str(tmp_path / "empty"))
    first = f"fraud_detection_flow.py run --dataset {path} --output-uri"
    assert first in ran.fails("summary", "--dataset", path, *empty)
    assert first in ran.fails("metrics", "--dataset", path, *empty)
    assert first in ran.says("models", "list", "--dataset", path, *empty)
    assert f"fraud-mlops metrics --dataset {path}\n" in ran.says("summary", "--dataset", path)


def test_a_dataset_may_be_named_by_its_contract(ran, source) -> None:
    assert "C5-029" in ran.says("scores", "--dataset", str(source(0.5)))
    assert "no such contract file" in ran.fails("scores", "--dataset", "other/motor.yaml")


def test_tables_in_a_pipe_are_not_cut(ran, monkeypatch) -> None:
    monkeypatch.delenv("COLUMNS")
    text = ran.says("scores", "--dataset", "motor", "--alerts")
    assert "C5-029" in text
    assert "…" not in text


def test_wrong_settings_are_a_message(shell, monkeypatch) -> None:
    from fraud_mlops.settings import settings

    monkeypatch.setenv("FRAUD_THREADS", "many")
    settings.cache_clear()
    assert "FRAUD_THREADS='many'" in shell.fails("scores", "--dataset", "motor")


def test_a_program_ends_without_taking_python_down(ran) -> None:
    """Which threads of Arrow's survive only mostly: one run of 40 aborted, on two busy cores."""
    script = "import atexit, sys; from fraud_mlops.cli import main; "
    script += "atexit.register(print, 'taken down'); main()"
    for window, code, said in (("nope", 1, "no metrics of window 'nope'"), ("oot", 0, "0.582")):
        arguments = ["metrics", "--dataset", "motor", "--window", window]
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert said in done.stdout + done.stderr
        assert "taken down" not in done.stdout


def test_help_comes_at_once_and_the_module_runs() -> None:
    script = "import sys, fraud_mlops.cli as c; c.main(['--help'], standalone_mode=False)"
    script += "; print(sorted({'pydantic', 'pyarrow', 'rich', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    command = [sys.executable, "-m", "fraud_mlops.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.startswith("fraud-mlops, version ")
