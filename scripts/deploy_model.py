"""What scripts/deploy_from_s3.sh runs."""

from __future__ import annotations

import getpass
import os
import signal
import sys
import time

import click
import requests

from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.serving.deploying import bring, standing, switch, take_back

_POLL = 0.5
_SIGNALLED = 128


@click.command()
@click.option("--from", "source", help="Root of the registry to take from.")
@click.option("--to", "target", required=True, help="Root of the registry that servers read.")
@click.option("--dataset", required=True)
@click.option("--version", help="A version; the source's champion when left out.")
@click.option("--server", help="A server to wait for, rolled back if it does not take the model.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for it.")
@click.option("--rollback", "back", is_flag=True, help="Go back to the version before.")
@click.option("--expected", help="With --rollback: refuse when another version leads by then.")
def main(
    source: str | None,
    target: str,
    dataset: str,
    version: str | None,
    server: str | None,
    timeout: float,
    back: bool,
    expected: str | None,
) -> None:
    """Bring a model to the servers of this machine."""
    if expected and not back:
        raise click.UsageError("--expected goes with --rollback")
    if back and version:
        raise click.UsageError("--rollback goes to the version before, and takes no --version")
    by = f"deploy_from_s3.sh, {_user()}"
    try:
        if back:
            done = standing(target, dataset, expected=expected)
            take_back(target, dataset, done, by=by, reason="rolled back", progress=click.echo)
            return
        if source is None:
            raise click.UsageError("--from, the registry to take from, is missing")
        chosen = bring(source, target, dataset, version=version, progress=click.echo)
        sys.exit(_switched(target, dataset, chosen, server, timeout, by))
    except FraudMlopsError as error:
        click.echo(str(error), err=True)
    sys.exit(1)


def _switched(
    target: str, dataset: str, version: str, server: str | None, timeout: float, by: str
) -> int:
    """Exit code. A switch that the server does not take is taken back."""
    heard = _signals()
    done = switch(target, dataset, version, by=by, progress=click.echo)
    refusal = _refused(server, version, timeout, heard) if server else None
    if refusal is None:
        return 0
    click.echo(f"{server} does not serve {version}: {refusal}", err=True)
    if done.moved:
        take_back(target, dataset, done, by=by, reason=refusal, progress=click.echo)
    else:
        click.echo(
            "It was pointed at before, and stays; --rollback goes to the one before it", err=True
        )
    return _SIGNALLED + heard[0] if heard else 1


def _signals() -> list[int]:
    """Ctrl-C and SIGTERM that came. From here on they break nothing off halfway: a switch that was
    not seen through is taken back."""
    heard: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: heard.append(number))
    return heard


def _user() -> str:
    """A container may run as a number that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _refused(server: str, version: str, timeout: float, heard: list[int]) -> str | None:
    """Why the server does not serve the version in time; None once it does."""
    until, why = time.monotonic() + timeout, "no answer"
    while time.monotonic() < until:
        if heard:
            return f"{why}, and the deployment was broken off"
        try:
            told = dict(requests.get(f"{server.rstrip('/')}/readyz", timeout=5).json())
        except (requests.RequestException, TypeError, ValueError) as error:
            why = type(error).__name__
        else:
            if told.get("version") == version:
                return None
            refused = told.get("refused") or {}
            if refused.get("version") == version:
                return str(refused.get("reason"))
            why = str(told.get("problem") or f"it serves {told.get('version')}")
        time.sleep(_POLL)
    return f"{why} after {timeout:g} s"


if __name__ == "__main__":
    main()
