"""The command line of `python -m fraud_assets.launch`."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import click

from fraud_assets.launcher.client import (
    TOKEN_VARIABLE,
    URL_VARIABLE,
    RunProblem,
    Server,
    Unusable,
)
from fraud_assets.launcher.events import Story
from fraud_assets.launcher.follow import Follower
from fraud_assets.launcher.jobs import check_partition, find_job
from fraud_assets.launcher.reexecution import find_failed
from fraud_assets.launcher.report import Report, sentence
from fraud_assets.launcher.run_config import read_run_config
from fraud_assets.launcher.submit import Request, launch
from fraud_mlops.notifications.masking import masker

_NOTHING_LAUNCHED = "Stopped before anything was launched."
_STOPPING = b"Stopping, which may take a minute; Ctrl-C ends this at once.\n"
_OWN_TAGS = ("launch/", "dagster/partition", "dagster/asset_partition_range", "dagster_metaflow/")


def _read_config(_context: click.Context, _option: click.Parameter, given: str | None) -> Any:
    return {} if given is None else read_run_config(given)


def _read_tags(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    tags = {}
    for text in given:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise click.BadParameter(f"{text!r} is no key=value.")
        if key.startswith(_OWN_TAGS):
            raise click.BadParameter(f"{key} is set by an option of its own; see --help.")
        tags[key] = value
    return tags


def _build_key() -> str | None:
    """Jenkins names a build by these; the same build is the same request."""
    return os.environ.get("BUILD_TAG") or os.environ.get("BUILD_URL") or None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("job", required=False)
@click.option("--partition", metavar="KEY", help="The partition, as 2024-01.")
@click.option(
    "--partition-range", nargs=2, metavar="FIRST LAST", help="All of these, in a single run."
)
@click.option(
    "--from-failure",
    "failed",
    metavar="RUN_ID",
    help="Execute a failed run again from where it failed, with the settings that it had.",
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
    job: str | None,
    partition: str | None,
    partition_range: tuple[str, str] | None,
    failed: str | None,
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
    """Launch JOB on a running Dagster webserver, and follow it. With --from-failure, go on with a
    run that failed: steps that succeeded are not run again, and Metaflow runs are resumed.

    \b
    Exit code 0: the run succeeded; with --no-wait, it was launched.
    Exit code 1: it failed or was cancelled, or Dagster could not make it.
    Exit code 2: wrong usage, the webserver did not answer, or stopped before there was a run.

    Ctrl-C, SIGTERM and --timeout cancel the run and wait until it has ended, for about a
    minute; Ctrl-C then ends the command at once. Before there is a run, the first one does.
    Behind a proxy that asks for it, DAGSTER_WEBSERVER_TOKEN is sent as a bearer token.
    """
    keys = _keys(partition, partition_range)
    _check_usage(job, failed, taken=bool(keys or backend or config))
    if junit is not None:
        _require_writable(junit)
    mask = masker(os.environ)  # what a run says of itself may hold what this shell knows, too
    story = Story(tell=lambda line: click.echo(mask(line), err=as_json), verbose=verbose)
    report = Report(job or f"run {failed}", junit, as_json, story, mask)
    outcome = None
    with _signals() as told:  # until the report is written: an abort comes more than once
        try:
            server = Server(url, os.environ.get(TOKEN_VARIABLE))
            with server.patience(told.stop.is_set), told.before_launch():
                if failed:
                    request = find_failed(server, failed, job, tags, key)
                else:
                    found = find_job(server, str(job), location)
                    check_partition(server, found, keys)
                    request = Request(found, keys, backend, config, tags, key)
                launched = launch(server, request, told.launching)
            told.launched = True
            report.launched(server, request, launched)
            if wait:
                follower = Follower(server, request.job, story, told.stop, timeout)
                outcome = follower.follow(launched)
        except click.ClickException as error:
            report.close(None, error.format_message())
            if isinstance(error, click.UsageError):
                raise
            kind = RunProblem if error.exit_code == RunProblem.exit_code else Unusable
            raise kind(mask(error.format_message())) from None
        report.close(outcome, None)
    if outcome is not None and not outcome.good:
        raise RunProblem(mask(sentence(report.job, outcome)))


def _keys(one: str | None, several: tuple[str, str] | None) -> tuple[str, ...]:
    """Of the partitions: none, one, or the first and the last."""
    if one and several:
        raise click.UsageError("--partition and --partition-range exclude each other.")
    return (one,) if one else (several or ())


def _check_usage(job: str | None, failed: str | None, *, taken: bool) -> None:
    """taken: something is given that a run which failed has said already."""
    if failed and taken:
        raise click.UsageError(
            "--from-failure takes partitions, backend and configuration from the run that failed: "
            "leave out --partition, --partition-range, --backend and --config."
        )
    if not job and not failed:
        raise click.UsageError("Name the JOB to launch, or a run with --from-failure.")


class _Signals:
    """What SIGINT and SIGTERM have said. launched: there may be a run, which is to be cancelled."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.launched = False

    def launching(self) -> None:
        """From here on there may be a run. Raises Unusable where one is stopped before."""
        self.launched = True
        if self.stop.is_set():
            self.launched = False
            raise Unusable(_NOTHING_LAUNCHED)

    @contextlib.contextmanager
    def before_launch(self) -> Iterator[None]:
        """A server that has not answered is none of the reasons of one who has stopped waiting."""
        try:
            yield
        except Unusable:
            if self.stop.is_set() and not self.launched:
                raise Unusable(_NOTHING_LAUNCHED) from None
            raise

    def handle(self, number: int, _frame: FrameType | None) -> None:
        if self.stop.is_set():
            if self.launched and number == signal.SIGTERM:
                return  # who stops a tree of processes, as Jenkins does, says it several times
            raise (
                RunProblem("Stopped at once; the run may go on.")
                if self.launched
                else Unusable(_NOTHING_LAUNCHED)
            )
        self.stop.set()
        if self.launched:
            with contextlib.suppress(OSError):  # print may be at work, and is not to be interrupted
                os.write(2, _STOPPING)


@contextlib.contextmanager
def _signals() -> Iterator[_Signals]:
    """SIGINT and SIGTERM set an event, so that no moment is a wrong one; a SIGINT then ends all."""
    told = _Signals()
    before = {
        number: signal.signal(number, told.handle) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_writable(junit: Path) -> None:
    """Before anything is launched."""
    try:
        junit.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=junit.parent):  # no report is left that says nothing
            pass
    except OSError as error:
        raise click.UsageError(f"--junit {junit} cannot be written: {error.strerror}.") from None
