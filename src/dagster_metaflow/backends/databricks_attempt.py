"""What a driver leaves in the store, for whoever follows the run and for the driver after it.

<store>/_databricks/<flow file>/<token>/run.json              {"attempt", "run_id", "origin"}
<store>/_databricks/<flow file>/<token>/<attempt>/000000.log  the log, in pieces
<store>/_databricks/<flow file>/<token>/submitted.json        {"run", "commit"}, by who started
<store>/_databricks/<flow file>/runs/<Metaflow run id>        the token
<store>/_databricks/<flow file>/probe                         empty, by who starts a job
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dagster_metaflow.backends.protocol import LaunchError
from dagster_metaflow.stores import opened, read_file, without_secrets, write_file

_TOLD_LINES = 20


def place_of(store: str, flow: str, token: str) -> str:
    """Where a run leaves word. flow: the flow's file."""
    stem = posixpath.basename(flow).removesuffix(".py")
    return posixpath.join(store.rstrip("/") or "/", "_databricks", stem, token)


def index_of(store: str, flow: str, run_id: str) -> str:
    """The file that says by which token a run of Metaflow's was started."""
    return posixpath.join(posixpath.dirname(place_of(store, flow, "x")), "runs", run_id)


def submitted_at(place: str) -> str:
    """The file that says which run of Databricks it is."""
    return posixpath.join(place, "submitted.json")


def attempt_at(place: str) -> int:
    """Number of the last attempt there; 0 before the first."""
    return int(read_json(posixpath.join(place, "run.json")).get("attempt", 0))


@dataclass
class Attempt:
    """One execution of the task. origin: Metaflow's run to resume, of the attempt before."""

    store: str
    flow: str
    token: str
    number: int
    origin: str | None
    run_id: str | None = None
    pieces: int = 0
    last: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, store: str, flow: str, token: str, origin: str | None) -> Attempt:
        """After those that have left word there. origin: to resume, if this is the first."""
        before = read_json(posixpath.join(place_of(store, flow, token), "run.json"))
        number = 1 + int(before.get("attempt", 0))
        made = cls(store, flow, token, number, _last(before) or origin)
        made.note()
        return made

    @property
    def place(self) -> str:
        return place_of(self.store, self.flow, self.token)

    def note(self) -> None:
        told = {"attempt": self.number, "run_id": self.run_id, "origin": self.origin}
        write_file(posixpath.join(self.place, "run.json"), json.dumps(told).encode())

    def has_begun(self, run_id: str) -> None:
        self.run_id = run_id
        # The index first: whoever reads the run id can resume by it.
        write_file(index_of(self.store, self.flow, run_id), self.token.encode())
        self.note()

    def ship(self, lines: Sequence[str]) -> None:
        uri = posixpath.join(self.place, str(self.number), f"{self.pieces:06d}.log")
        write_file(uri, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
        self.pieces += 1
        self.last = [*self.last, *lines][-_TOLD_LINES:]

    def tail(self) -> str:
        return "\n".join(self.last)


def _last(before: dict[str, Any]) -> str | None:
    """Metaflow's run that an attempt has got to, its own or the one that it was to resume."""
    return before.get("run_id") or before.get("origin")


def tail_of(place: str, lines: int) -> list[str]:
    """The end of the last attempt's log. Raises OSError, and ValueError for what is damaged."""
    folder = posixpath.join(place, str(attempt_at(place)))
    found = list[str]()
    with opened(folder, anew=True) as (fs, path):
        try:
            pieces = sorted(name for name in fs.ls(path, detail=False) if name.endswith(".log"))
        except FileNotFoundError:
            return []
        while pieces and len(found) < lines:
            piece = fs.cat_file(pieces.pop()).decode("utf-8", "replace")
            found = [*piece.splitlines(), *found]
    return found[-lines:]


@contextmanager
def store_of(place: str) -> Iterator[None]:
    """A fault of the store is none of the workspace's: a LaunchError of its own."""
    try:
        yield
    except (OSError, ValueError) as error:
        words = without_secrets(str(error)) or type(error).__name__
        raise LaunchError(
            f"the store at {without_secrets(place)} cannot be used from here: {words}. Is this "
            "machine signed in to it (az login, AWS_PROFILE), with the right to read and write?"
        ) from None


def probe(place: str) -> None:
    """Before a run of a job, whose own place has a name only when it is started. Raises LaunchError
    for a store that cannot be written from here."""
    with store_of(place):
        write_file(posixpath.join(posixpath.dirname(place), "probe"), b"")


def read_json(uri: str) -> dict[str, Any]:
    """Empty for what is not there."""
    data = read_file(uri)
    return {} if data is None else dict(json.loads(data))
