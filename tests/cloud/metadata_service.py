"""Metaflow's metadata service on loopback for tests: on a free port, gone with the `with`.

    with local_metadata_service() as service:
        subprocess.run(["python", "flow.py", "run"], env=service.environment)

It keeps in memory what it is told, and speaks what Metaflow's client asks of Netflix's service
(2.5): numbers of runs and tasks are its own, and names that others give (`sfn-...`) are kept; what
is there twice is 409, and what is not is 404; tags of whatever is below a run are the run's.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

VERSION = "2.5.1"
_KINDS = ("flows", "runs", "steps", "tasks")
_OWN = ("flow_id", "run_number", "step_name")
_HEARTBEAT_SECONDS = 10
_Row = dict[str, Any]
_Path = tuple[str, ...]


class RefusedError(Exception):
    """An answer other than 200. said: its body."""

    def __init__(self, status: int, said: Any) -> None:
        super().__init__(said)
        self.status, self.said = status, said


class Records:
    """Of flows, runs, steps and tasks, by their path: `("ToyFlow", "1", "start", "2")`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[_Path, _Row] = {}
        self._metadata: dict[_Path, list[_Row]] = {}
        self._artifacts: dict[_Path, list[_Row]] = {}
        self._issued = Counter[str]()
        self._entries = 0

    def answer(self, method: str, target: str, given: Any) -> Any:
        """To one request; of more than one at a time. Raises RefusedError."""
        url = urlsplit(target)
        path, rest = _parted([unquote(part) for part in url.path.split("/") if part])
        with self._lock:
            if method == "GET":
                query = {name: values[-1] for name, values in parse_qs(url.query).items()}
                return self._found(path, rest, query)
            return self._taken(method, path, rest, given)

    # -- what is asked -------------------------------------------------------------------------

    def _found(self, path: _Path, rest: Sequence[str], query: Mapping[str, str]) -> Any:
        match len(path), *rest:
            case ((1 | 2 | 3 | 4),):
                return self._told(path, self._row(path))
            case (0 | 1 | 2 | 3) as depth, kind if kind == _KINDS[depth]:
                below = [one for one in self._rows if one[:-1] == path]
                return [self._told(one, self._rows[one]) for one in below]
            case 3, "filtered_tasks":
                return self._filtered(path, query)
            case 4, "metadata":
                return [self._told(path, row) for row in reversed(self._metadata.get(path, []))]
            case 4, "artifacts":
                return self._artifacts_of(path, self._last_attempt(path))
            case 4, "attempt", attempt, "artifacts":
                return self._artifacts_of(path, int(attempt))
            case 4, "artifacts", name:
                return self._artifact(path, name, self._last_attempt(path))
            case 4, "artifacts", name, "attempt", attempt:
                return self._artifact(path, name, int(attempt))
        raise RefusedError(404, "Not Found")

    def _row(self, path: _Path) -> _Row:
        if path not in self._rows:
            raise RefusedError(404, {})
        return self._rows[path]

    def _told(self, path: _Path, row: _Row) -> _Row:
        run = self._rows[path[:2]] if len(path) > 1 else row
        return {**row, "tags": run["tags"], "system_tags": run["system_tags"]}

    def _filtered(self, step: _Path, query: Mapping[str, str]) -> list[str]:
        """Paths of tasks of which a field of their metadata is as the pattern says."""
        name, pattern = query.get("metadata_field_name"), query.get("pattern", "")
        return [
            "/".join(path)
            for path, rows in self._metadata.items()
            if path[:3] == step
            and any(
                name in (None, row["field_name"]) and re.search(pattern, str(row["value"]))
                for row in rows
            )
        ]

    def _last_attempt(self, task: _Path) -> int:
        return max((row["attempt_id"] for row in self._artifacts.get(task, [])), default=0)

    def _artifacts_of(self, task: _Path, attempt: int) -> list[_Row]:
        rows = self._artifacts.get(task, [])
        return [self._told(task, row) for row in rows if row["attempt_id"] == attempt]

    def _artifact(self, task: _Path, name: str, attempt: int) -> _Row:
        for row in self._artifacts_of(task, attempt):
            if row["name"] == name:
                return row
        raise RefusedError(404, {})

    # -- what is told --------------------------------------------------------------------------

    def _taken(self, method: str, path: _Path, rest: Sequence[str], given: Any) -> Any:
        match method, len(path), *rest:
            case (
                "POST",
                1,
            ):
                return self._added(path, "flow_id", path[0], given)
            case "POST", 1, "run":
                return self._added_run(path, given)
            case "POST", 3, "step":
                self._exists(path[:2], 500)
                return self._added(path, "step_name", path[2], given)
            case "POST", 3, "task":
                return self._added_task(path, given)
            case "POST", (2 | 4), "heartbeat":
                self._row(path)["last_heartbeat_ts"] = int(time.time())
                return json.dumps({"wait_time_in_seconds": _HEARTBEAT_SECONDS})
            case "POST", 4, ("metadata" | "artifact") as kind:
                self._exists(path, 400, "need to register run_id and task_id first")
                return self._added_facts(path, kind, given)
            case "PATCH", 2, "tag", "mutate":
                return self._retagged(self._row(path), given)
        raise RefusedError(405, "Method Not Allowed")

    def _added_run(self, flow: _Path, given: Mapping[str, Any]) -> _Row:
        self._exists(flow, 404)
        name = given.get("run_number")
        if name and str(name).isnumeric():
            raise RefusedError(500, {"detail": "provided run_id may not be a numeric"})
        run = name or self._number("run")
        return self._added((*flow, str(run)), "run_number", run, given)

    def _added_task(self, step: _Path, given: Mapping[str, Any]) -> _Row:
        name = given.get("task_id")
        if name and str(name).isnumeric():
            raise RefusedError(400, {"message": "provided task_name may not be a numeric"})
        self._exists(step[:2], 500)
        self._exists(step, 404)
        task = name or self._number("task")
        return self._added((*step, str(task)), "task_id", task, given)

    def _added(self, path: _Path, name: str, value: Any, given: Mapping[str, Any]) -> _Row:
        if path in self._rows:
            raise RefusedError(409, json.dumps({"err_msg": {"pgerror": "duplicate key"}}))
        above = self._rows.get(path[:-1], {})
        own: _Row = {key: above[key] for key in _OWN if key in above}
        own |= {name: value, "user_name": given.get("user_name"), "ts_epoch": _now()}
        tags = {key: list(given.get(key) or []) for key in ("tags", "system_tags")}
        self._rows[path] = {**own, **tags, "last_heartbeat_ts": None}
        return self._told(path, self._rows[path])

    def _added_facts(self, task: _Path, kind: str, given: Sequence[_Row]) -> dict[str, int]:
        stored = self._metadata if kind == "metadata" else self._artifacts
        own = {key: self._rows[task][key] for key in (*_OWN, "task_id")}
        for one in given:
            self._entries += 1
            row = {**one, **own, "ts_epoch": _now(), "id": self._entries}
            if kind == "artifact":
                row["attempt_id"] = int(one.get("attempt_id", 0))
            stored.setdefault(task, []).append(row)
        return {f"{kind}_created": len(given)}

    def _retagged(self, run: _Row, given: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        added, removed = set(given.get("tags_to_add", ())), set(given.get("tags_to_remove", ()))
        if kept := removed & set(run["system_tags"]):
            raise RefusedError(422, f"Cannot remove tags that are existing system tags {kept}")
        run["tags"] = sorted((set(run["tags"]) - removed) | (added - set(run["system_tags"])))
        return {"tags": run["tags"]}

    def _exists(self, path: _Path, status: int, words: str = "there is no such record") -> None:
        if path not in self._rows:
            raise RefusedError(status, {"message": words})

    def _number(self, kind: str) -> int:
        """One count for all flows, as the service's database has it."""
        self._issued[kind] += 1
        return self._issued[kind]


@dataclass
class LocalMetadataService:
    """key: which requests are to bring. breaks_at: a pattern of addresses that are answered 500.
    Records outlast a stop and the start after it."""

    key: str | None = None
    port: int = 0
    breaks_at: str | None = None
    _records: Records = field(default_factory=Records)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What `metaflow configure` sets for it."""
        found = {"METAFLOW_DEFAULT_METADATA": "service", "METAFLOW_SERVICE_URL": self.url}
        return found | ({"METAFLOW_SERVICE_AUTH_KEY": self.key} if self.key else {})

    def start(self) -> None:
        """Where it was before, if it was."""
        handler = type("Handler", (_Handler,), {"service": self})
        self._server = _Server(("127.0.0.1", self.port), handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Nobody listens there any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, method: str, target: str, key: str | None, body: bytes) -> Any:
        """Raises RefusedError."""
        if self.key not in (None, key):
            raise RefusedError(403, {"message": "Forbidden"})
        if self.breaks_at is not None and re.search(self.breaks_at, target):
            raise RefusedError(500, {"title": "Internal Server Error", "status": 500})
        if target == "/ping":
            return "pong"
        return self._records.answer(method, target, json.loads(body or b"{}"))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *args: Any) -> None:
        """A client that went away is none of ours."""


class _Handler(BaseHTTPRequestHandler):
    service: LocalMetadataService

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = 200
        try:
            key = self.headers.get("x-api-key")
            answer = self.service.answer(self.command, self.path, key, body)
        except RefusedError as refused:
            status, answer = refused.status, refused.said
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("METADATA_SERVICE_VERSION", VERSION)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = _do  # noqa: N815 - names that the base class looks for

    def log_message(self, *_: Any) -> None:
        """Nothing: tests read what they are told."""


@contextmanager
def local_metadata_service(key: str | None = None) -> Iterator[LocalMetadataService]:
    service = LocalMetadataService(key)
    service.start()
    try:
        yield service
    finally:
        service.stop()


def _parted(parts: list[str]) -> tuple[_Path, list[str]]:
    """`flows/F/runs/1/heartbeat`: the path of what is meant, and what of it."""
    path: list[str] = []
    while len(path) < len(_KINDS) and len(parts) > 1 and parts[0] == _KINDS[len(path)]:
        path.append(parts[1])
        parts = parts[2:]
    return tuple(path), parts


def _now() -> int:
    return round(time.time() * 1000)
