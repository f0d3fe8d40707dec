"""What the operator is told of a run, from Metaflow's own lines."""

from __future__ import annotations

import pytest

from dagster_metaflow.progress import Progress
from dagster_metaflow.reports import tell


def line(task: str, text: str) -> str:
    return f"2026-01-01 06:00:00.123 [17/{task} (pid 42)] {text}"


def read(progress: Progress, *lines: str) -> list[str]:
    return [words for text in lines for words in progress.read(text)]


def test_each_step_is_told_once_with_its_place() -> None:
    progress = Progress(["start", "work", "end"])
    starts = [line(f"work/{n}", "Task is starting.") for n in range(3)]
    said = read(progress, line("start/1", "Task is starting."), *starts)
    assert said == ["step start (1 of 3)", "step work (2 of 3)"]


def test_a_step_that_is_not_known_is_told_without_a_place() -> None:
    assert read(Progress([]), line("new/1", "Task is starting.")) == ["step new"]


def test_what_a_task_tells_is_told_when_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    tell("candidate a: 0.71 in 12 s")
    told = capsys.readouterr().out.strip()
    progress = Progress(["start", "train"])
    said = read(
        progress,
        line("train/1", "Task is starting."),
        line("train/1", "epoch 1 of 20"),
        line("train/1", told),
        line("train/2", f"[5c9e3a2f-0b1d-4c55-8e0c-1f2a3b4c5d6e] {told}"),
        line("train/1", "Task failed."),
    )
    assert said[1:3] == ["train: candidate a: 0.71 in 12 s"] * 2
    assert progress.reason() == "epoch 1 of 20"


def test_a_failure_is_told_with_the_last_words_of_its_task() -> None:
    progress = Progress(["start"])
    said = read(
        progress,
        line("start/1", "Task is starting."),
        line("start/1", "ValueError: no more disk"),
        line("start/2", "another task talks"),
        line("start/1", "Task failed."),
    )
    assert said[-1] == "17/start/1 failed"
    assert progress.failed_task == "17/start/1"
    assert progress.reason() == "ValueError: no more disk"


def test_the_exception_is_told_apart_from_the_frames_around_it() -> None:
    progress = Progress(["start"])
    words = [
        "Traceback (most recent call last):",
        '  File "flow.py", line 3, in start',
        "    raise TooColdError('no Error: here')",
        "cold.TooColdError: 3 degrees",
        "",
    ]
    read(progress, *[line("start/1", text) for text in words], line("start/1", "Task failed."))
    assert progress.cause() == "cold.TooColdError: 3 degrees"
    assert Progress([]).cause() is None


def test_of_a_message_that_a_flow_ends_with_the_first_line_is_the_cause() -> None:
    progress = Progress(["ingest"])
    words = [
        "<flow IngestFlow step ingest> failed:",
        "The run cannot go on:",
        "mine: 1 of 4 rows break the contract.",
        "Mend the source or the contract.",
        "",
    ]
    read(progress, *[line("ingest/2", text) for text in words], line("ingest/2", "Task failed."))
    assert progress.cause() == "mine: 1 of 4 rows break the contract."


def test_of_an_exception_without_a_telling_name_the_last_line_is_the_cause() -> None:
    progress = Progress(["train"])
    words = [
        "<flow TrainingFlow step train[0] (input: tabm-1)> failed:",
        "Internal error",
        "Traceback (most recent call last):",
        '  File "flow.py", line 3, in train',
        "pool.BrokenProcessPool: a worker was killed",
        "",
    ]
    read(progress, *[line("train/2", text) for text in words], line("train/2", "Task failed."))
    assert progress.cause() == "pool.BrokenProcessPool: a worker was killed"


def test_a_task_that_ran_well_when_retried_has_not_failed() -> None:
    progress = Progress(["start"])
    read(
        progress,
        line("start/1", "Task is starting."),
        line("start/1", "ValueError: once"),
        line("start/1", "Task failed."),
        line("start/1", "Task is starting (retry)."),
        line("start/1", "Task finished successfully."),
        "    the run itself complains",
    )
    assert progress.failed_task is None
    assert progress.reason() == "the run itself complains"


def test_long_lines_and_long_logs_are_cut() -> None:
    progress = Progress(["start"])
    read(progress, *[line("start/1", f"{n} " + "x" * 10_000) for n in range(500)])
    read(progress, line("start/1", "Task failed."))
    reason = progress.reason().splitlines()
    assert len(reason) == 15
    assert reason[-1].startswith("499 ")
    assert len(reason[-1]) == 2_000


def test_tasks_that_ended_well_or_were_taken_over_are_known() -> None:
    progress = Progress(["start", "work", "join"])
    cloned = "Cloning previously run task 16/start/1"  # as Metaflow 2.19 has it
    read(progress, line("start/1", cloned), line("work/2", "Task finished successfully."))
    read(progress, line("join/3", "Task is starting."))
    assert list(progress.finished) == ["17/start/1", "17/work/2"]
    assert progress.has_ended_well("ToyFlow/16/start/1", "17")
    assert progress.has_ended_well("ToyFlow/17/work/2", "17")
    assert not progress.has_ended_well("ToyFlow/17/join/3", "17")
    assert not progress.has_ended_well("ToyFlow/16/work/2", "17"), "it is run again"


def test_of_a_step_with_many_tasks_those_that_were_taken_over_are_known() -> None:
    progress = Progress(["start", "work"])
    read(progress, line("work/2", "Cloning previously run task 16/work/2"))
    read(progress, line("work/3", "Task is starting."))
    assert progress.has_ended_well("ToyFlow/16/work/2", "17")
    assert not progress.has_ended_well("ToyFlow/16/work/3", "17"), "it is run again"
    assert progress.has_ended_well("ToyFlow/15/work/5", "17"), "run 16 may have taken it over"
    assert not progress.has_ended_well("ToyFlow/15/join/6", "17")
