"""What scripts/deploy_from_s3.sh runs."""

from __future__ import annotations

import getpass
import os
import sys
import time

import click
import requests

from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.serving.deploying import deploy, undo

_POLL = 0.5


@click.command()
@click.option("--from", "source", help="Root of the registry to take from.")
@click.option("--to", "target", required=True, help="Root of the registry that servers read.")
@click.option("--dataset", required=True)
@click.option("--version", help="A version; the source's champion when left out.")
@click.option("--server", help="A server to wait for, rolled back if it does not take the model.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for it.")
@click.option("--rollback", "back", is_flag=True, help="Go back to the version before.")
def main(
    source: str | None,
    target: str,
    dataset: str,
    version: str | None,
    server: str | None,
    timeout: float,
    back: bool,
) -> None:
    """Bring a model to the servers of this machine."""
    by = f"deploy_from_s3.sh, {_user()}"
    try:
        if back:
            undo(target, dataset, by=by, progress=click.echo)
            return
        if source is None:
            raise click.UsageError("--from, the registry to take from, is missing")
        done = deploy(source, target, dataset, version=version, by=by, progress=click.echo)
        refusal = _refused(server, done.version, timeout) if server else None
        if refusal is None:
            return
        click.echo(f"{server} does not serve {done.version}: {refusal}", err=True)
        if done.previous and done.previous != done.version:
            undo(target, dataset, by=by, progress=click.echo)
    except FraudMlopsError as error:
        click.echo(str(error), err=True)
    sys.exit(1)


def _user() -> str:
    """A container may run as a number that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _refused(server: str, version: str, timeout: float) -> str | None:
    """Why the server does not serve the version in time; None once it does."""
    until, why = time.monotonic() + timeout, "no answer"
    while time.monotonic() < until:
        try:
            told = requests.get(f"{server.rstrip('/')}/readyz", timeout=5).json()
        except (requests.RequestException, ValueError) as error:
            why = type(error).__name__
        else:
            if told.get("version") == version:
                return None
            refused = told.get("refused") or {}
            if refused.get("version") == version:
                return str(refused["reason"])
            why = str(told.get("problem") or f"it serves {told.get('version')}")
        time.sleep(_POLL)
    return f"{why} after {timeout:g} s"


if __name__ == "__main__":
    main()
