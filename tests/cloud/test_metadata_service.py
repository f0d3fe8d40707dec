"""Runs whose records are with Metaflow's metadata service: followed, resumed and shown as without
it, under the numbers that it gives to them, and with cards from AWS Batch too."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from aws import LocalAws
from cloud_kit import CloudToy, failures, made
from metadata_service import LocalMetadataService, local_metadata_service

from dagster_metaflow import MetaflowFlow, export_cards

pytestmark = pytest.mark.flow
FLOW = MetaflowFlow(Path(__file__).parent / "toy" / "card_flow.py")
CARD = "card: words"
CLIENT = """
import json, sys
from metaflow import Run, namespace

namespace(None)
run = Run(sys.argv[1])
run.add_tag("looked_at")
end = run["end"].task
found = {"steps": sorted(step.id for step in run), "tags": list(Run(sys.argv[1]).user_tags)}
found |= {"well": run.successful, "parents": [task.pathspec for task in end.parent_tasks]}
print(json.dumps({**found, "word": end.data.word, "said": end.stdout}))
"""


@pytest.fixture
def service() -> Iterator[LocalMetadataService]:
    with local_metadata_service() as found:
        yield found


@pytest.fixture
def toy_on(
    aws: LocalAws, tmp_path: Path, service: LocalMetadataService
) -> Iterator[Callable[[str], CloudToy]]:
    """The toy for a backend, with what its shell has set."""
    made: list[CloudToy] = []

    def make(backend: str) -> CloudToy:
        variables = {**service.environment, "METAFLOW_UI_URL": "https://metaflow.example.com"}
        if backend == "local":  # as infra/compose has it
            variables |= {"METAFLOW_DEFAULT_DATASTORE": "local"}
            variables |= {"METAFLOW_DATASTORE_SYSROOT_LOCAL": str(tmp_path)}
        made.append(CloudToy(aws, tmp_path, FLOW, variables))
        return made[0]

    yield make
    for toy in made:
        toy.instance.dispose()


def seen_by_client(toy: CloudToy, run: str) -> dict[str, Any]:
    """What Metaflow's client tells of a run, on a machine that has no records of it."""
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, run],
        env={**os.environ, **toy.environment()},
        cwd=toy.folder / "home",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def told(toy: CloudToy, result: dg.ExecuteInProcessResult) -> list[str]:
    return [entry.user_message for entry in toy.instance.all_logs(result.run_id)]


def cards(result: dg.ExecuteInProcessResult) -> list[str]:
    """What the pages show that the assets link to."""
    events = result.get_asset_materialization_events()
    entries = [e.step_materialization_data.materialization.metadata for e in events]
    pages = [Path(str(entry[CARD].value)).read_text("utf-8") for entry in entries]
    data = [re.findall(r'__MF_DATA__\["[^"]+"\] = "([^"]+)"', page) for page in pages]
    return [base64.b64decode(shown).decode() for (shown,) in data]


@pytest.mark.parametrize("backend", ["local", "batch", "step_functions"])
def test_a_run_is_resumed_seen_by_metaflows_client_and_has_its_cards(
    backend: str, toy_on: Callable[[str], CloudToy], capfd: pytest.CaptureFixture[str]
) -> None:
    toy = toy_on(backend)
    toy.fail("end")
    result = toy.materialize(backend, retries=1)
    assert result.success
    assert toy.steps_run == {"start": 1, "end": 2}
    assert made(result) == ["first", "first", "second"]

    (record,) = toy.launches
    redriven = backend == "step_functions"
    assert record.run_ids == ((record.run_id,) if redriven else ("1", "2"))
    (words,) = failures(result)
    assert f"https://metaflow.example.com/CardFlow/{record.run_ids[0]}" in words

    assert all("# what it says" in page for page in cards(result))
    assert not [words for words in told(toy, result) if words.startswith("Cards of")]
    assert "Card render failed" not in capfd.readouterr().out

    run = f"CardFlow/{record.run_id}"
    found = seen_by_client(toy, run)
    assert found["well"]
    assert found["steps"] == ["end", "start"]
    assert "looked_at" in found["tags"]
    assert (f"dagster_run_id:{result.run_id}" in found["tags"]) is not redriven
    assert [parent.rpartition("/")[0] for parent in found["parents"]] == [f"{run}/start"]
    assert found["word"] == "card"


@pytest.mark.parametrize("backend", ["local", "step_functions"])
def test_a_run_that_fails_as_the_service_goes_away_goes_on_when_it_is_back(
    backend: str, toy_on: Callable[[str], CloudToy], service: LocalMetadataService
) -> None:
    toy = toy_on(backend)
    held = toy.hold("end")

    def go_away() -> None:
        while not (toy.folder / "held_end").exists():
            time.sleep(0.05)
        service.stop()
        first = toy.launches[0].handle["folder"]
        held.unlink()
        while toy.launches[0].handle["folder"] == first:  # until it is resumed
            time.sleep(0.05)
        service.start()

    threading.Thread(target=go_away, daemon=True).start()
    result = toy.materialize(backend, retries=1)
    assert result.success
    (words,) = failures(result)
    assert "Cause: requests.exceptions.ConnectionError: " in words
    assert toy.steps_run == {"start": 1, "end": 2}
    assert made(result) == ["first", "first", "second"]
    assert all("# what it says" in page for page in cards(result))


def test_a_resumption_that_took_over_nothing_is_not_what_the_next_one_goes_on_with(
    toy_on: Callable[[str], CloudToy], service: LocalMetadataService
) -> None:
    toy = toy_on("local")
    toy.fail("end")
    service.breaks_at = "/runs/2/steps/start/tasks/.*/metadata"
    result = toy.materialize("local", retries=2)
    assert result.success
    assert toy.steps_run == {"start": 1, "end": 2}
    (record,) = toy.launches
    assert record.run_ids == ("1", "2", "3")
    log = (Path(record.handle["folder"]) / "log").read_text()
    assert "Run 1 is resumed: no task of run 2 ended well." in log


def test_cards_are_had_while_the_service_is_away(
    toy_on: Callable[[str], CloudToy], service: LocalMetadataService, tmp_path: Path
) -> None:
    toy = toy_on("batch")  # whose datastore is S3
    environment = {**os.environ, **toy.environment(), "METAFLOW_SERVICE_RETRY_COUNT": "1"}
    run = [sys.executable, FLOW.path, "run"]
    subprocess.run(run, cwd=tmp_path, env=environment, check=True, capture_output=True)
    service.stop()
    program = [sys.executable, "-P", export_cards.__file__]
    done = subprocess.run(
        [*program, "CardFlow/1/start/2", tmp_path, FLOW.path, "words"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout.splitlines()[-1])) == ["words"]


def test_a_service_that_asks_for_a_key_is_given_it_on_this_machine(
    aws: LocalAws, tmp_path: Path
) -> None:
    with local_metadata_service(key="key-of-the-service") as guarded:
        variables = {**guarded.environment, "METAFLOW_DEFAULT_DATASTORE": "local"}
        toy = CloudToy(aws, tmp_path, FLOW, variables)
        assert toy.materialize("local").success
        toy.variables["METAFLOW_SERVICE_AUTH_KEY"] = "another"
        (words,) = failures(toy.materialize("local"))
        toy.instance.dispose()
    assert 'failed (code 403): {"message": "Forbidden"}' in words
    assert "No step was begun." in words
