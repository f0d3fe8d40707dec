"""Launching a job: what is shown, what the exit code says, what is left for machines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from odd_server import answering

from fraud_assets.launcher.command import main
from fraud_assets.launcher.junit import clean

Launch = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_job_is_followed_to_its_end(launch: Launch, servers: Any) -> None:
    done = launch("claims_job", "--config", '{"ops": {"claims": {"config": {"name": "you"}}}}')
    assert done.returncode == 0, done.stderr
    assert f"{servers.url}/runs/" in done.stdout
    assert "claims  started" in done.stdout
    assert "claims  materialized: rows 3, loss 0.25" in done.stdout
    assert "claims  check claims_are_unique passed" in done.stdout
    assert "model  succeeded after" in done.stdout
    assert "claims_job succeeded: 3 steps, 2 materializations, 1 check" in done.stdout
    assert "reading claims for you" in done.stdout
    assert "as they are on disk" not in done.stdout  # --verbose has it
    assert not done.stderr


def test_configuration_comes_from_a_file_and_debug_lines_are_shown_on_demand(
    launch: Launch, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("ops: {claims: {config: {name: file}}}")
    done = launch("claims_job", "--config", config, "--verbose")
    assert done.returncode == 0, done.stderr
    assert "reading claims for file" in done.stdout
    assert "debug: as they are on disk" in done.stdout


def test_a_date_in_a_file_is_passed_as_text(launch: Launch, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("ops: {claims: {config: {name: 2024-06-01}}}")
    done = launch("claims_job", "--config", config)
    assert done.returncode == 0, done.stderr
    assert "reading claims for 2024-06-01" in done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ops: {claims: {config: {shares: [0.5, .nan]}}}", "ops.claims.config.shares[1] is nan"),
        ("ops: {claims: !!set {a}}", "ops.claims is {'a'} (set), which JSON cannot say"),
        ("ops: {1: {}}", "1 below ops is a key and no text: put it in quotes"),
        ("ops: 2024-13-45", "month must be in 1..12"),
    ],
)
def test_configuration_that_json_cannot_say_exits_2_and_leaves_no_report(
    launch: Launch, tmp_path: Path, text: str, said: str
) -> None:
    config, report = tmp_path / "config.yaml", tmp_path / "junit.xml"
    config.write_text(text)
    done = launch("claims_job", "--config", config, "--junit", report)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert not report.exists()


def test_a_failed_run_says_why_and_exits_1(launch: Launch, tmp_path: Path) -> None:
    report = tmp_path / "reports" / "junit.xml"
    done = launch("failing_job", "--junit", report)
    assert done.returncode == 1
    assert "fail_with_message  failed after" in done.stdout
    assert "The source is empty" in done.stdout
    assert done.stderr.startswith("Error: failing_job failed (run ")
    assert "fail_with_message: The source is empty" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    suite = _suite(report)
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "1", "0")
    case = suite.find("testcase")
    assert case is not None
    assert case.get("name") == "fail_with_message"
    failure = case.find("failure")
    assert failure is not None
    assert "The source is empty" in str(failure.get("message"))
    assert "\x1b" not in report.read_text()  # no XML parser takes a terminal's colours


def test_no_secret_of_the_environment_is_in_what_is_left(launch: Launch, tmp_path: Path) -> None:
    """Of what the run said, which knows the same secrets: on the console, in JSON, in JUnit."""
    report, secret = tmp_path / "junit.xml", "source is empty"
    done = launch("failing_job", "--junit", report, "--json", SNOWFLAKE_PASSWORD=secret)
    assert done.returncode == 1
    facts = json.loads(done.stdout)
    assert "The ****" in facts["problem"]
    assert "The ****" in facts["steps"][0]["message"]
    assert "The ****" in report.read_text()
    assert secret not in done.stdout + done.stderr + report.read_text()


def test_checks_are_test_cases_and_warnings_break_no_build(launch: Launch, tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    done = launch("shaky_job", "--junit", report)
    assert done.returncode == 0  # the run succeeded; its report says that a check did not
    assert "check shaky_is_sound failed (ERROR): 3 of 3 rows are unsound" in done.stdout
    assert "2 checks, not passed: shaky: shaky_is_pretty; shaky: shaky_is_sound" in done.stdout
    suite = _suite(report)
    cases = {(case.get("classname"), case.get("name")): case for case in suite.iter("testcase")}
    sound = cases["shaky", "shaky_is_sound"].find("failure")
    assert sound is not None
    assert sound.get("message") == "3 of 3 rows are unsound"
    assert cases["shaky", "shaky_is_pretty"].find("failure") is None
    assert cases["shaky", "shaky_is_pretty"].find("system-out") is not None
    assert suite.get("failures") == "1"
    properties = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert properties["status"] == "SUCCESS"
    assert str(properties["url"]).endswith(str(properties["run_id"]))


def test_json_goes_to_stdout_and_progress_to_stderr(launch: Launch) -> None:
    done = launch("claims_job", "--json")
    facts = json.loads(done.stdout)
    assert facts["status"] == "SUCCESS"
    assert facts["url"].endswith(facts["run_id"])
    assert [step["name"] for step in facts["steps"] if step["state"] == "succeeded"]
    made = {made["asset"]: made for made in facts["materializations"]}
    assert made["claims"]["partition"] is None
    assert made["claims"]["numbers"] == {"rows": "3", "loss": "0.25"}
    assert "claims  started" in done.stderr


def test_nobody_waits_when_told_not_to(launch: Launch, runs: Any) -> None:
    done = launch("quick_job", "--no-wait", "--tag", "who=impatient")
    assert done.returncode == 0
    assert "launched as" in done.stdout
    assert len(runs(who="impatient")) == 1


def test_an_unknown_job_lists_those_that_there_are(launch: Launch) -> None:
    done = launch("claim_job")
    assert done.returncode == 2
    assert "No job claim_job" in done.stderr
    assert "There are: claims_job, failing_job, " in done.stderr
    assert "__ASSET_JOB" not in done.stderr


def test_configuration_that_does_not_fit_says_where(launch: Launch) -> None:
    done = launch("claims_job", "--config", '{"ops": {"claims": {"config": {"nam": 1}}}}')
    assert done.returncode == 2
    assert '"nam" at path root:ops:claims:config' in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "nowhere.yaml"], "no file nowhere.yaml"),
        (["--config", "{"], "neither YAML nor JSON"),
        (["--tag", "novalue"], "no key=value"),
        (["--tag", "dagster/partition=2024-01"], "an option of its own"),
        (["--tag", " dagster/partition=2024-01"], "an option of its own"),
        (["--tag", " launch/request=zzz"], "an option of its own"),
        (["--partition", "a", "--partition-range", "a", "b"], "exclude each other"),
        (["--timeout", "0"], "0.0 is not in the range"),
    ],
)
def test_wrong_usage_exits_2_and_launches_nothing(
    launch: Launch, arguments: list[str], said: str
) -> None:
    done = launch("quick_job", *arguments)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())


def test_a_report_that_cannot_be_written_is_said_before_anything_is_launched(
    launch: Launch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = launch("quick_job", "--junit", tmp_path / "file" / "junit.xml")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_no_webserver_exits_2_and_leaves_a_report(launch: Launch, tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    done = launch("quick_job", "--url", "http://127.0.0.1:9", "--junit", report)
    assert done.returncode == 2
    assert "No Dagster webserver answers at http://127.0.0.1:9: connection refused" in done.stderr
    assert _suite(report).get("errors") == "1"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>It works!</html>", "is no Dagster webserver: check --url"),
        (b"null", "is no Dagster webserver: check --url"),
        (b'{"data": null}', "not what a Dagster webserver answers: check --url"),
        (b'{"data": []}', "not what a Dagster webserver answers: check --url"),
        (b'{"data": {"workspaceOrError": null}}', "not what a Dagster webserver answers"),
        (b'{"data": {}}', "answer holds no workspaceOrError"),
        (b'{"data": {"workspaceOrError": {}}}', "answer holds no __typename"),
        (
            b'{"data": {"workspaceOrError": {"__typename": "Workspace", "locationEntries": null}}}',
            "There are no jobs at all",
        ),
        (b'{"errors": ["boom"]}', "cannot answer: boom"),
        (b'{"errors": "boom"}', "cannot answer: boom"),
    ],
)
def test_another_kind_of_server_is_told_apart(
    body: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(body) as url, pytest.raises(SystemExit) as ended:
        main(["quick_job", "--url", url])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_an_address_with_a_password_is_refused_and_not_repeated(launch: Launch) -> None:
    done = launch("quick_job", "--url", "http://me:hunter2@127.0.0.1:3000")
    assert done.returncode == 2
    assert "DAGSTER_WEBSERVER_TOKEN" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_the_command_needs_no_dagster() -> None:
    code = "import sys, fraud_assets.launcher.command; sys.exit('dagster' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


def test_text_for_xml_keeps_what_xml_may_hold() -> None:
    assert clean("Größe\t\U0001f600\n") == "Größe\t\U0001f600\n"
    assert clean("a\x00b\x1b[31m\ufffe") == "a?b?[31m?"


def _suite(report: Path) -> ElementTree.Element:
    return ElementTree.parse(report).getroot()[0]  # noqa: S314 - written by our own command
