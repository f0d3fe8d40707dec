"""What scripts/deploy_from_s3.sh runs."""

from __future__ import annotations

import contextlib
import errno
import getpass
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import click
import requests

from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.lakehouse.stores import absolute
from fraud_mlops.registry.bundle import Bundle, write_manifest
from fraud_mlops.serving.deploying import (
    Deployed,
    alone,
    fetch,
    offered,
    place,
    points_at,
    standing,
    switch,
    take_back,
)

_POLL = 0.5
_SIGNALLED = 128
_NOT_TAKEN_BACK = 3
_TAKE_BACK_SECONDS = 10.0
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class _Wanted(NamedTuple):
    """What a server is to serve. manifest: digest of it; None for whichever there is."""

    version: str
    manifest: str | None = None

    def is_served(self, told: dict[str, Any]) -> bool:
        served = told.get("manifest")  # servers of an earlier release tell none
        other = None not in (self.manifest, served) and served != self.manifest
        return told.get("version") == self.version and not other


@click.command()
@click.option("--from", "source", help="Root of the registry to take from.")
@click.option("--to", "target", required=True, help="Root of the registry that servers read.")
@click.option("--dataset", required=True)
@click.option("--version", help="A version; the source's champion when left out.")
@click.option("--server", help="A server to wait for; what it does not take is taken back.")
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
            standing(target, dataset, expected=expected)  # else the lock would make the folder
            with alone(target, dataset):
                done = standing(target, dataset, expected=expected)
                code = _rolled_back(target, dataset, done, server, timeout, by)
            sys.exit(code)
        if source is None:
            raise click.UsageError("--from, the registry to take from, is missing")
        offered(source, dataset, version=version)  # else the lock would make the folder
        with alone(target, dataset):
            fetched = fetch(source, dataset, version=version, progress=click.echo)
            code = _switched(target, fetched, server, timeout, by)
        sys.exit(code)
    except FraudMlopsError as error:
        _say(str(error))
    except OSError as error:
        room = f"; see that {target} has room, and that {_user()} may write there"
        _say(f"{error}{room if _is_of(target, error) else ''}")
    sys.exit(1)


def _switched(target: str, fetched: Bundle, server: str | None, timeout: float, by: str) -> int:
    """Exit code. What the server does not take is taken back."""
    dataset, version = fetched.manifest.dataset, fetched.manifest.version
    heard = _signals()
    serves = _served(server, dataset) if server else None
    digest, before = place(target, fetched)
    try:
        done = switch(
            target, dataset, version, serves=serves, before=before, by=by, progress=_say_on
        )
    except (FraudMlopsError, OSError):  # nobody waits for the server any more
        if before is not None:
            write_manifest(absolute(target), before)
        raise
    refusal = _refused(server, _Wanted(version, digest), timeout, heard) if server else None
    if refusal is None:
        return 0
    _say(f"{server} does not serve {version}: {refusal}")
    if not done.moved:
        _say("It was pointed at before, and stays; --rollback goes to the one before it")
    elif not _taken_back(target, dataset, done, by, refusal):
        return _NOT_TAKEN_BACK
    return _SIGNALLED + heard[0] if heard else 1


def _rolled_back(
    target: str, dataset: str, done: Deployed, server: str | None, timeout: float, by: str
) -> int:
    """Exit code. What the server does not take stays: whoever rolls back wants the other gone."""
    heard = _signals()
    wanted = _Wanted(str(done.previous))
    take_back(target, dataset, done, by=by, reason="rolled back", progress=_say_on)
    refusal = _refused(server, wanted, timeout, heard) if server else None
    if refusal is None:
        return 0
    _say(f"{server} does not serve {done.previous}: {refusal}\nIt is pointed at, and stays")
    return _SIGNALLED + heard[0] if heard else 1


def _taken_back(target: str, dataset: str, done: Deployed, by: str, reason: str) -> bool:
    """Tried for some seconds: a store, or a disk, may be well again."""
    until = time.monotonic() + _TAKE_BACK_SECONDS
    while True:
        try:
            take_back(target, dataset, done, by=by, reason=reason, progress=_say_on)
        except (FraudMlopsError, OSError) as error:
            if _moved_on(target, dataset, done.version):
                raise
            if time.monotonic() < until:
                time.sleep(_POLL)
                continue
            _say(_not_taken_back(target, dataset, done, error))
            return False
        return True


def _not_taken_back(target: str, dataset: str, done: Deployed, error: Exception) -> str:
    if done.manifest is not None:
        return (
            f"NOT TAKEN BACK: {dataset} {done.version} keeps the manifest that was brought: {error}"
            "\nOnce that is mended, deploy it from where it came from before"
        )
    return (
        f"NOT TAKEN BACK: {dataset} still points at {done.version}, and a server that is "
        f"started now has no model: {error}\nOnce that is mended: "
        f"{_by_hand(target, dataset, done)}"
    )


def _by_hand(target: str, dataset: str, done: Deployed) -> str:
    """The command that takes back what has no other way: `--rollback` knows the pointers alone."""
    move = ["promote", done.previous] if done.previous else ["retire"]
    where = ["--dataset", dataset, "--model-uri", absolute(target)]
    return shlex.join(["fraud-mlops", "models", *move, *where])


def _moved_on(target: str, dataset: str, version: str) -> bool:
    with contextlib.suppress(FraudMlopsError, OSError):
        return points_at(target, dataset) != version
    return False


def _say(told: str, *, err: bool = True) -> None:
    """Whoever has started us may be gone, and their terminal with them."""
    with contextlib.suppress(OSError):
        click.echo(told, err=err)


def _say_on(told: str) -> None:
    _say(told, err=False)


def _signals() -> list[int]:
    """Ctrl-C, SIGTERM and a terminal's end that came. From here on they break nothing off halfway:
    a switch that was not seen through is taken back. What we were started to ignore, as by nohup
    or in the background, stays ignored."""
    heard: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: heard.append(number))
    return heard


def _is_of(target: str, error: OSError) -> bool:
    """Whether it is there that there is no room, or no leave to write; not of the source, say."""
    if error.errno in _NO_ROOM:
        return True
    if not isinstance(error.filename, str):
        return False
    root, path = Path(absolute(target)), Path(error.filename)
    return path.is_relative_to(root) or root.is_relative_to(path)


def _user() -> str:
    """A container may run as a number that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _refused(server: str, wanted: _Wanted, timeout: float, heard: list[int]) -> str | None:
    """Why the server does not serve what is wanted in time; None once it does."""
    until, why = time.monotonic() + timeout, "no answer"
    while time.monotonic() < until:
        if heard:
            return f"{why}, and waiting for it was broken off"
        told = _ready(server)
        if wanted.is_served(told):
            return None
        refused, version = told.get("refused") or {}, told.get("version")
        if refused.get("version") == wanted.version:
            return str(refused.get("reason"))
        other = ", by another manifest" if version == wanted.version else ""
        why = str(told.get("problem") or f"it serves {version}{other}")
        time.sleep(_POLL)
    return f"{why} after {timeout:g} s"


def _served(server: str, dataset: str) -> str | None:
    """The version that it serves, if it is one of this dataset."""
    told = _ready(server)
    return told.get("version") if told.get("dataset") == dataset else None


def _ready(server: str) -> dict[str, Any]:
    """What the server says of itself; a problem where it says nothing."""
    try:
        return dict(requests.get(f"{server.rstrip('/')}/readyz", timeout=5).json())
    except (requests.RequestException, TypeError, ValueError) as error:
        return {"problem": type(error).__name__}


if __name__ == "__main__":
    main()
