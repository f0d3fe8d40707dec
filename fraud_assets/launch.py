"""Launch a job on a running Dagster and wait for it: `python -m fraud_assets.launch JOB`.

For people and for CI servers. It talks to the webserver's GraphQL API alone, so it runs wherever
that can be reached, and needs no Dagster of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import click

from fraud_assets.launcher.client import TOKEN_VARIABLE, URL_VARIABLE, RunProblem, Server
from fraud_assets.launcher.events import Story
from fraud_assets.launcher.follow import Follower, Outcome
from fraud_assets.launcher.jobs import check_partition, find_job
from fraud_assets.launcher.junit import write_junit
from fraud_assets.launcher.submit import Launched, Request, launch

_OWN_TAGS = ("launch/", "dagster/partition", "dagster/asset_partition_range", "dagster_metaflow/")


def _read_config(_context: click.Context, _option: click.Parameter, given: str | None) -> Any:
    """Run configuration from a YAML or JSON file, or from JSON on the command line."""
    if given is None:
        return {}
    import yaml

    inline = given.lstrip().startswith("{")
    if not inline and not Path(given).is_file():
        raise click.BadParameter(f"there is no file {given}, and it is no JSON object either.")
    try:
        config = yaml.safe_load(given if inline else Path(given).read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{given} is neither YAML nor JSON: {error}") from None
    if not isinstance(config, dict):
        raise click.BadParameter(f"{given} holds no mapping, such as ops: or resources:.")
    return config


def _read_tags(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    tags = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise click.BadParameter(f"{text!r} is no key=value.")
        if key.startswith(_OWN_TAGS):
            raise click.BadParameter(f"{key} is set by an option of its own; see --help.")
        tags[key.strip()] = value
    return tags


def _build_key() -> str | None:
    """Jenkins names a build by these; the same build is the same request."""
    return os.environ.get("BUILD_TAG") or os.environ.get("BUILD_URL") or None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("job")
@click.option("--partition", metavar="KEY", help="The partition, as 2024-01.")
@click.option(
    "--partition-range", nargs=2, metavar="FIRST LAST", help="All of these, in a single run."
)
@click.option(
    "--backend", metavar="NAME", help="Where Metaflow runs: local, or another that is set up."
)
@click.option(
    "--config",
    metavar="FILE_OR_JSON",
    callback=_read_config,
    help="Run configuration.",
)
@click.option(
    "--tag", "tags", multiple=True, metavar="K=V", callback=_read_tags, help="Repeatable."
)
@click.option(
    "--url",
    envvar=URL_VARIABLE,
    default="http://127.0.0.1:3000",
    show_default=True,
    help=f"The webserver. [{URL_VARIABLE}]",
)
@click.option("--location", metavar="NAME", help="Code location, when several have the job.")
@click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Follow the run to its end."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Cancel the run after so many seconds.",
)
@click.option(
    "--junit", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="JUnit XML."
)
@click.option(
    "--idempotency-key",
    "key",
    default=_build_key,
    metavar="KEY",
    help="One run for a key, job and partition, however often it is launched. "
    "[BUILD_TAG or BUILD_URL, where a CI server sets them]",
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on stdout; progress on stderr."
)
@click.option("-v", "--verbose", is_flag=True, help="Debug lines too.")
def main(
    job: str,
    partition: str | None,
    partition_range: tuple[str, str] | None,
    backend: str | None,
    config: Mapping[str, Any],
    tags: Mapping[str, str],
    url: str,
    location: str | None,
    wait: bool,
    timeout: float | None,
    junit: Path | None,
    key: str | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Launch JOB on a running Dagster webserver, and follow it.

    \b
    Exit code 0: the run succeeded; with --no-wait, it was launched.
    Exit code 1: it failed or was cancelled, or Dagster could not make it.
    Exit code 2: wrong usage, or the webserver did not answer.

    Ctrl-C, SIGTERM and --timeout cancel the run and wait until it has ended, for a minute at most.
    Behind a proxy that asks for it, DAGSTER_WEBSERVER_TOKEN is sent as a bearer token.
    """
    if partition and partition_range:
        raise click.UsageError("--partition and --partition-range exclude each other.")
    if junit is not None:
        _require_writable(junit)
    keys = (partition,) if partition else (partition_range or ())
    story = Story(tell=lambda line: click.echo(line, err=as_json), verbose=verbose)
    report = _Report(job, junit, as_json, story)
    try:
        server = Server(url, os.environ.get(TOKEN_VARIABLE))
        found = find_job(server, job, location)
        check_partition(server, found, keys)
        request = Request(found, tuple(keys), backend, config, tags, key)
        with _signals() as stop:
            launched = launch(server, request)
            report.launched(server, launched, keys)
            outcome = None
            if wait:
                outcome = Follower(server, found, story, stop, timeout).follow(launched)
    except click.ClickException as error:
        report.close(None, error.format_message())
        raise
    report.close(outcome, None)
    if outcome is not None and not outcome.good:
        raise RunProblem(_sentence(job, outcome))


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """SIGINT and SIGTERM set the event, so that no moment is a wrong one; a second one ends all."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise RunProblem("Stopped at once; the run may go on.")
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_writable(junit: Path) -> None:
    """Before anything is launched."""
    try:
        junit.parent.mkdir(parents=True, exist_ok=True)
        with junit.open("ab"):
            pass
    except OSError as error:
        raise click.UsageError(f"--junit {junit} cannot be written: {error.strerror}.") from None


class _Report:
    """What is left behind for people and machines."""

    def __init__(self, job: str, junit: Path | None, as_json: bool, story: Story) -> None:
        self.job, self.junit, self.as_json, self.story = job, junit, as_json, story
        self.facts: dict[str, Any] = {"job": job}

    def launched(self, server: Server, launched: Launched, keys: tuple[str, ...]) -> None:
        link = server.run_link(launched.run_id)
        self.facts |= {"run_id": launched.run_id, "url": link, "followed": launched.followed}
        if keys:
            self.facts["partitions"] = list(keys)
        said = "is launched already, following" if launched.followed else "launched as"
        self.story.tell(f"{self.job} {said} {launched.run_id}\n{link}")

    def close(self, outcome: Outcome | None, problem: str | None) -> None:
        """Writes the reports that were asked for, whatever happened."""
        story = self.story
        if outcome is not None and not outcome.good:
            problem = _sentence(self.job, outcome)
        self.facts["status"] = outcome.status if outcome else ("ERROR" if problem else "LAUNCHED")
        if outcome:
            self.facts["run_id"] = outcome.run_id
        if problem:
            self.facts["problem"] = problem
        if self.junit:
            properties = {k: v for k, v in self.facts.items() if isinstance(v, str)}
            write_junit(self.junit, self.job, story, problem, properties)
        if outcome and outcome.good:
            story.tell(f"{self.job} succeeded: {_counts(story)}")
        if self.as_json:
            self.facts |= {
                "steps": [vars(step) for step in story.steps.values()],
                "checks": [vars(check) for check in story.checks],
                "materializations": [vars(made) for made in story.materializations],
            }
            click.echo(json.dumps(self.facts, indent=2))


def _counts(story: Story) -> str:
    failed = sum(not check.passed for check in story.checks)
    parts = [
        _count(len(story.steps), "step"),
        _count(len(story.materializations), "materialization"),
        _count(len(story.checks), "check") + (f", {failed} of them failed" if failed else ""),
    ]
    return ", ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _sentence(job: str, outcome: Outcome) -> str:
    ended = {"FAILURE": "failed", "CANCELED": "was cancelled"}.get(
        outcome.status, f"is {outcome.status}"
    )
    return f"{job} {ended} (run {outcome.run_id})" + (
        f": {outcome.reason}" if outcome.reason else "."
    )


if __name__ == "__main__":
    main(prog_name="python -m fraud_assets.launch")
