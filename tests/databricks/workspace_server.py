"""A Databricks workspace on loopback: the Jobs API, secrets and OAuth, for the real databricks-sdk.

    with local_workspace(folder) as workspace:
        subprocess.run([python, script], env={**os.environ, **workspace.environment})

Tasks really run, of the Git source that they name, as a driver runs them; see workspace_runs.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from workspace_jobs import PAGE, Jobs
from workspace_rules import ApiError
from workspace_runs import Machine, kill

DISK = {"SHARED_FOLDERS": "/"}
"""Drivers are processes of this machine, and see its folders."""
TOKEN = "dapi-of-the-user"  # noqa: S105 - of nothing but this server
DRIVER_TOKEN = "dapi-of-the-driver"  # noqa: S105 - likewise
CLIENT_ID, CLIENT_SECRET = "a-service-principal", "its-secret"
SIGNED_OUT = {
    "401": ApiError(401, "UNAUTHENTICATED", "The access token is invalid or has expired."),
    "403": ApiError(403, 403, "Invalid access token."),
    "expiring": ApiError(403, 403, "Token is expiring within 30 seconds. (token expired)"),
}
"""Answers to a token that is none: Databricks gives all of these."""
_ROUTE = re.compile(r"/api/2\.[0-2]/(.+)")


@dataclass
class Fault:
    """The next calls of a route end so. status 0: the connection is dropped before the answer;
    answered: after the call was done all the same."""

    status: int
    times: int
    code: str = "TEMPORARILY_UNAVAILABLE"
    retry_after: int | None = None
    answered: bool = False


@dataclass
class LocalWorkspace:
    url: str
    machine: Machine
    jobs: Jobs
    tokens: set[str] = field(default_factory=lambda: {TOKEN, DRIVER_TOKEN})
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    issued: Iterator[int] = field(default_factory=itertools.count)
    signed_out: ApiError = SIGNED_OUT["403"]
    bodies: list[str] = field(default_factory=list)
    """Every request's body, as it came."""

    @property
    def environment(self) -> dict[str, str]:
        """What a user's shell has."""
        return {"DATABRICKS_HOST": self.url, "DATABRICKS_TOKEN": TOKEN, **DISK}

    @property
    def oauth_environment(self) -> dict[str, str]:
        return {
            "DATABRICKS_HOST": self.url,
            "DATABRICKS_CLIENT_ID": CLIENT_ID,
            "DATABRICKS_CLIENT_SECRET": CLIENT_SECRET,
            **DISK,
        }

    def fail(self, route: str, status: int, times: int = 1, **how: Any) -> None:
        """route: such as `jobs/runs/get`."""
        self.faults[route] = Fault(status, times, **how)

    def expire_tokens(self, answer: str = "403") -> None:
        """answer: of SIGNED_OUT."""
        self.signed_out = SIGNED_OUT[answer]
        self.tokens.clear()
        self.tokens.add(DRIVER_TOKEN)

    def mend(self) -> None:
        self.faults.clear()
        self.tokens |= {TOKEN, DRIVER_TOKEN}
        self.calls.clear()
        self.machine.pending, self.machine.named, self.machine.argv0 = 0.0, True, None
        self.machine.ends.clear()
        while self.jobs.timers:
            self.jobs.timers.pop().cancel()
        self.jobs.repairs_submitted, self.jobs.late, self.jobs.page = True, 0.0, PAGE

    def answer(self, route: str, given: Mapping[str, Any], bearer: str | None) -> dict[str, Any]:
        self.calls[route] += 1
        if bearer not in self.tokens:
            raise self.signed_out
        if (fault := self.faults.get(route)) is not None and fault.times > 0:
            fault.times -= 1
            if fault.answered:
                self._answer(route, given)
            raise ApiError(fault.status, fault.code, "injected fault", fault.retry_after)
        return self._answer(route, given)

    def _answer(self, route: str, given: Mapping[str, Any]) -> dict[str, Any]:
        if route.startswith("secrets/"):
            return self._secret(route, given)
        return self.jobs.answer(route, given)

    def _secret(self, route: str, given: Mapping[str, Any]) -> dict[str, Any]:
        scope = self.secrets.get(given["scope"])
        if scope is None:
            message = f"Scope {given['scope']} does not exist!"
            raise ApiError(404, "RESOURCE_DOES_NOT_EXIST", message)
        if route == "secrets/list":
            return {"secrets": [{"key": key} for key in scope]}
        value = base64.b64encode(scope[given["key"]].encode()).decode()
        return {"key": given["key"], "value": value}

    def sign_in(self, header: str) -> dict[str, Any]:
        """OAuth machine to machine."""
        login = f"{CLIENT_ID}:{CLIENT_SECRET}"
        if base64.b64decode(header.removeprefix("Basic ")).decode() != login:
            raise ApiError(401, "invalid_client", "Client authentication failed")
        token = f"oauth-{next(self.issued)}"
        self.tokens.add(token)
        return {"access_token": token, "token_type": "Bearer", "expires_in": 3600}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    workspace: LocalWorkspace

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, *args: Any) -> None:
        """Tests say what they look at."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self._send(200, self._answer(body))
        except ApiError as error:
            if error.status == 0:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self._send(error.status, {"error_code": error.code, "message": error.message}, error)

    def _answer(self, body: bytes) -> dict[str, Any]:
        split = urlsplit(self.path)
        base = f"http://{self.headers['Host']}"
        if split.path == "/.well-known/databricks-config":  # which later releases ask first
            return {"oidc_endpoint": f"{base}/oidc", "workspace_id": "1", "cloud": "Azure"}
        if split.path == "/oidc/.well-known/oauth-authorization-server":
            ends = {"authorization_endpoint": f"{base}/oidc/v1/authorize"}
            return {**ends, "token_endpoint": f"{base}/oidc/v1/token"}
        if split.path == "/oidc/v1/token":
            return self.workspace.sign_in(self.headers["Authorization"])
        found = _ROUTE.fullmatch(split.path)
        if found is None:
            raise ApiError(404, "ENDPOINT_NOT_FOUND", f"No API found for {split.path}")
        query: dict[str, Any] = {k: v[-1] for k, v in parse_qs(split.query).items()}
        self.workspace.bodies.append(body.decode())
        given = {**query, **(json.loads(body) if body else {})}
        bearer = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        return self.workspace.answer(found[1], given, bearer)

    def _send(self, status: int, content: dict[str, Any], error: ApiError | None = None) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if error is not None and error.retry_after is not None:
            self.send_header("Retry-After", str(error.retry_after))
        self.end_headers()
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: Any) -> None:
        """A client that went away is none of ours."""


@contextmanager
def local_workspace(folder: Path, python: Path) -> Iterator[LocalWorkspace]:
    """folder: of the caller; runs are below it. python: of drivers."""
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    machine = Machine(folder / "runs", python, _driver_environment(url, python))
    workspace = LocalWorkspace(url, machine, Jobs(url, machine))
    handler.workspace = workspace  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield workspace
    finally:
        for run in workspace.jobs.runs.values():
            run.last.cancelled = True
            kill(run.last)
        deadline = time.monotonic() + 10
        while any(r.is_active for r in workspace.jobs.runs.values()):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        server.shutdown()
        server.server_close()
        thread.join()


def _driver_environment(url: str, python: Path) -> dict[str, str]:
    """A driver's clients sign in by themselves, as on Databricks."""
    return {
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "DATABRICKS_RUNTIME_VERSION": "client.4.1",
        "DATABRICKS_HOST": url,
        "DATABRICKS_TOKEN": DRIVER_TOKEN,
        "NO_PROXY": "127.0.0.1,localhost",
    }
