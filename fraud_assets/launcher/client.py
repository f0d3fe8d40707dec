"""Dagster's GraphQL API over HTTP: time-outs, retries, errors that say what to do next."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any
from urllib.parse import urlsplit

import click
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

TOKEN_VARIABLE = "DAGSTER_WEBSERVER_TOKEN"  # noqa: S105 - a name, not a secret
URL_VARIABLE = "DAGSTER_WEBSERVER_URL"
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 60.0
ORDER_SECONDS = 10.0  # who gives up waits so long for the answer to an order, which may be obeyed
_LOOK_SECONDS, _AGAIN_SECONDS = 0.1, 0.5
REFUSED = {401: "does not know who you are", 403: "does not let you in"}


class RunProblem(click.ClickException):
    """The run is why: it failed, was cancelled, or Dagster could not make it. Exit code 1."""

    exit_code = 1


class Unusable(click.ClickException):
    """Usage or server is why: nothing was launched, or nobody knows. Exit code 2."""

    exit_code = 2


class Unreachable(Unusable):
    """No answer came. What was asked for may have happened nevertheless."""


class _Object(dict[str, Any]):
    """A JSON object of an answer: who looks for what is not there has asked no Dagster."""

    def __missing__(self, key: str) -> Any:
        raise Unusable(
            f"The webserver's answer holds no {key}: it is no Dagster, or one of another version. "
            "Check --url, and what stands between."
        )


class Server:
    """A webserver. Questions are asked again after a failure; orders are sent once."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """
        Args:
            url: as in a browser; a path in front of Dagster's own is kept.
            token: sent as a bearer token; never shown.

        Raises:
            Unusable: the address is none, or holds a password.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unusable("--url is no address of a webserver, such as http://127.0.0.1:3000")
        if parts.username or parts.password or parts.query:
            raise Unusable(
                "--url holds a user, a password or a query, and addresses end up in logs: "
                f"put a token into {TOKEN_VARIABLE}."
            )
        self.url = url.rstrip("/").removesuffix("/graphql")
        # Only what surely did not arrive is sent again: an order twice is two runs.
        self._orders = _session(token, Retry(total=None, connect=4, read=0, backoff_factor=0.3))
        self._questions = _session(
            token,
            Retry(
                total=5,
                backoff_factor=0.3,
                status_forcelist=(429, 502, 503, 504),
                allowed_methods=None,
                raise_on_status=False,
            ),
        )
        self._given_up: Callable[[], bool] = lambda: False

    @contextlib.contextmanager
    def patience(self, given_up: Callable[[], bool]) -> Iterator[None]:
        """Inside, an answer is waited for until `given_up` is true, and for ANSWER_SECONDS at most;
        the innermost one counts."""
        before, self._given_up = self._given_up, given_up
        try:
            yield
        finally:
            self._given_up = before

    def ask(self, query: str, **variables: Any) -> Any:
        """The `data` of the answer. Raises Unreachable, or Unusable where no Dagster answers."""
        return self._data(self._post(self._questions, query, variables, 0.0))

    def order(self, mutation: str, **variables: Any) -> Any:
        """As `ask`, for what must not be sent twice."""
        return self._data(self._post(self._orders, mutation, variables, ORDER_SECONDS))

    def insist(
        self,
        query: str,
        *,
        until: float,
        every: float,
        on_silence: Callable[[], None],
        **variables: Any,
    ) -> Any:
        """As `ask`, whoever has given up, until the monotonic clock says `until`.

        A slow answer is waited for, and beside it the question is asked again every so many
        seconds, since an answer may be lost for good: the first that comes counts. So it has to be
        a question that may be asked twice. on_silence: told when it is asked again.
        """
        waiting: list[Future[requests.Response]] = []
        began, again, lost = time.monotonic(), 0.0, None
        while (now := time.monotonic()) < until or not again:
            if now >= again:
                if waiting:
                    on_silence()
                waiting.append(self._sent(self._questions, query, variables))
                again = now + every
            for answer in wait(waiting, _LOOK_SECONDS, FIRST_COMPLETED).done:
                waiting.remove(answer)
                try:
                    return self._data(self._answered(answer))
                except Unreachable as gone:
                    lost, again = gone, min(again, time.monotonic() + _AGAIN_SECONDS)
            if not waiting:
                time.sleep(_LOOK_SECONDS)
        raise lost or self._unreachable(f"nothing came within {time.monotonic() - began:.0f} s")

    def pause(self, seconds: float) -> None:
        """Before a question is asked again. Raises Unreachable when one has given up meanwhile."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._given_up():
                raise self._unreachable("it was given up")
            time.sleep(_LOOK_SECONDS)

    def run_link(self, run_id: str) -> str:
        return f"{self.url}/runs/{run_id}"

    def _post(
        self, session: requests.Session, text: str, variables: Mapping[str, Any], grace: float
    ) -> requests.Response:
        """grace: seconds that are waited for after having given up."""
        answer = self._sent(session, text, variables)
        began = time.monotonic()
        until = began + ANSWER_SECONDS
        while not wait([answer], _LOOK_SECONDS).done:
            now = time.monotonic()
            if self._given_up():
                until = min(until, now + grace)
                grace = ANSWER_SECONDS  # counted from the first time
            if now >= until:
                given_up = ", when it was given up" if self._given_up() else ""
                raise self._unreachable(f"nothing came within {now - began:.0f} s{given_up}")
        return self._answered(answer)

    def _sent(
        self, session: requests.Session, text: str, variables: Mapping[str, Any]
    ) -> Future[requests.Response]:
        """In a thread that may be left behind: nothing else ends a read before its time-out."""
        answer: Future[requests.Response] = Future()

        def post() -> None:
            try:
                response = session.post(
                    f"{self.url}/graphql",
                    json={"query": text, "variables": variables},
                    timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                    allow_redirects=False,  # a login page is no answer
                )
            except Exception as error:
                answer.set_exception(error)
            else:
                answer.set_result(response)

        threading.Thread(target=post, daemon=True).start()
        return answer

    def _answered(self, answer: Future[requests.Response]) -> requests.Response:
        try:
            return answer.result()
        except requests.RequestException as error:
            raise self._unreachable(_why(error)) from None

    def _unreachable(self, why: str) -> Unreachable:
        return Unreachable(
            f"No Dagster webserver answers at {self.url}: {why}. Start one with `dagster dev`, "
            f"or name another with --url or {URL_VARIABLE}."
        )

    def _data(self, response: requests.Response) -> Any:
        code = response.status_code
        if code in REFUSED:
            raise Unusable(
                f"{self.url} {REFUSED[code]} (HTTP {code}): set {TOKEN_VARIABLE} to a token that "
                "it accepts."
            )
        if code in (429, 502, 503, 504):
            raise Unreachable(f"{self.url} is not up (HTTP {code}): try again later.")
        body = _json(response)
        if not isinstance(body, dict) or not ({"data", "errors"} & set(body)):
            raise Unusable(
                f"{self.url} answers (HTTP {code}), but is no Dagster webserver: check --url."
            )
        if body.get("errors"):
            raise Unusable(
                f"The webserver at {self.url} cannot answer: {_told(body['errors'])[:2000]}"
            )
        data = body.get("data")
        # Whatever Dagster is asked for at the top of a query is an object, and never null.
        if not isinstance(data, dict) or not all(isinstance(one, dict) for one in data.values()):
            raise Unusable(
                f"{self.url} answers (HTTP {code}), but not what a Dagster webserver answers: "
                "check --url, and what stands between."
            )
        return data


def _session(token: str | None, retry: Retry) -> requests.Session:
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=retry))
    session.mount("https://", HTTPAdapter(max_retries=retry))
    if token:
        session.headers["Authorization"] = f"Bearer {token}"
    return session


def _json(response: requests.Response) -> Any:
    try:
        return response.json(object_hook=_Object)
    except ValueError:
        return None


def _told(errors: Any) -> str:
    """The messages of GraphQL's errors, or what a proxy has put in their place."""
    listed = errors if isinstance(errors, list) else [errors]
    return "; ".join(
        str(one.get("message", one) if isinstance(one, dict) else one) for one in listed
    )


def _why(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return f"nothing came within {ANSWER_SECONDS:.0f} s"
    cause: object = error.args[0] if error.args else error
    cause = getattr(cause, "reason", cause)
    text = str(cause)
    for known in ("Connection refused", "Name or service not known", "Connection reset"):
        if known in text:
            return known.lower()
    return text.rsplit(": ", 1)[-1][:200]
