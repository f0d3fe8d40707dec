"""What a person does in Dagster's pages with the mouse, and what they get to see."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from dagster_servers import Servers
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.flow

RAW_ZONE = "/assets/small_claims/raw_zone"
RUN_SECONDS = 120
RUNS = """
{ runsOrError { ... on Runs { results { runId rootRunId status tags { key } } } } }
"""

MESSAGES = """
query($run: ID!) { logsForRun(runId: $run) {
  ... on EventConnection { events { ... on MessageEvent { message } } } } }
"""


def materialize(page: Page, partitions: str, launch: str) -> None:
    page.goto(RAW_ZONE)
    page.get_by_role("button", name="Materialize…").click()
    page.get_by_role("button", name=partitions, exact=True).click()
    page.get_by_role("button", name=launch).click()


def runs(servers: Servers) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = servers.query(RUNS)["runsOrError"]["results"]
    return found


def ended(servers: Servers, known: set[str]) -> dict[str, Any]:
    """The one run that is not among the `known`, once it is over."""
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        new = [run for run in runs(servers) if run["runId"] not in known]
        if new and new[0]["status"] in {"SUCCESS", "FAILURE", "CANCELED"}:
            assert len(new) == 1
            return new[0]
        time.sleep(0.5)
    raise AssertionError(f"no run ended within {RUN_SECONDS} s: {runs(servers)}")


def wait_for_metaflow_run(servers: Servers, known: set[str]) -> None:
    """Until Dagster knows which Metaflow run it follows: only such a run can be resumed."""
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        new = [run for run in runs(servers) if run["runId"] not in known]
        if any(tag["key"] == "metaflow/IngestFlow" for run in new for tag in run["tags"]):
            return
        time.sleep(0.05)
    raise AssertionError("no Metaflow run came to be known")


def scheduler(servers: Servers) -> psutil.Process:
    """Metaflow's, of the run that is under way."""
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            ours = any(str(servers.home) in part for part in command)
            if ours and [Path(part).name for part in command[1:3]] == ["ingest_flow.py", "run"]:
                return process
        time.sleep(0.05)
    raise AssertionError("Metaflow's scheduler did not start")


def test_all_partitions_are_materialized_from_the_assets_page(page: Page, servers: Servers) -> None:
    known = {run["runId"] for run in runs(servers)}
    materialize(page, "All", "Launch backfill")
    expect(page.get_by_text("Created backfill")).to_be_visible()
    assert ended(servers, known)["status"] == "SUCCESS"  # one run for the twelve months

    page.goto(RAW_ZONE)
    expect(page.get_by_text("Row count")).to_be_visible()
    expect(
        page.get_by_text("policyholder", exact=True).first
    ).to_be_visible()  # a column of the schema
    with page.expect_popup() as opened:
        page.get_by_role("link", name=re.compile("card-ingest-data")).click()
    expect(opened.value.get_by_text("claims kept")).to_be_visible()
    page.goto(f"{RAW_ZONE}?view=partitions")
    expect(page.get_by_text(re.compile(r"Materialized\W*\(?12\b"))).to_be_visible()
    page.goto(f"{RAW_ZONE}?view=checks")
    for check in ("contract", "no_duplicate_claims", "quarantine_share"):
        expect(page.get_by_text(check, exact=True).first).to_be_visible()


def test_a_killed_run_is_resumed_from_its_page(
    page: Page, servers: Servers, picture: Callable[[str], None]
) -> None:
    known = {run["runId"] for run in runs(servers)}
    materialize(page, "Latest", "Launch 1 run")
    process = scheduler(servers)
    wait_for_metaflow_run(servers, known)
    process.kill()
    failed = ended(servers, known)
    assert failed["status"] == "FAILURE"

    page.goto(f"/runs/{failed['runId']}")
    expect(page.get_by_text("its scheduler was killed by SIGKILL").first).to_be_visible()
    picture("failed")
    page.get_by_role("button", name="Re-execute").locator("xpath=following::button[1]").click()
    page.get_by_role("menuitem", name="From failure").click()
    again = ended(servers, known | {failed["runId"]})
    assert (again["status"], again["rootRunId"]) == ("SUCCESS", failed["runId"])
    told = servers.query(MESSAGES, run=again["runId"])["logsForRun"]["events"]
    assert any("resumes run" in event.get("message", "") for event in told)
    expect(page.get_by_text("Success").first).to_be_visible()
    picture("resumed")
