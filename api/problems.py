"""Errors as RFC 9457 problem details: what happened, where, what to do; nothing of the claim."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, to_json
from starlette.requests import Request
from starlette.responses import Response

from fraud_mlops.serving.naming import Names

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 20


class Problem(Exception):  # noqa: N818 - the RFC's word for it
    """kind: last part of `type`. errors: JSON pointers into the body, and what is wrong there."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Sequence[dict[str, str]] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.errors, self.headers = list(errors), headers or {}

    def body(self, request_id: str | None = None) -> dict[str, Any]:
        told: dict[str, Any] = {
            "type": f"urn:fraud-mlops:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            told["errors"] = self.errors
        if request_id:
            told["request_id"] = request_id
        return told

    def response(self, request_id: str | None = None) -> Response:
        return Response(
            to_json(self.body(request_id)),
            self.status,
            headers=self.headers,
            media_type=MEDIA_TYPE,
        )


def invalid_claim(names: Names, error: ValidationError, *, line: int | None = None) -> Problem:
    """What pydantic found, each with its JSON pointer; never the value itself."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    errors = [
        {"pointer": pointer(mistake["loc"]), "detail": _said(names, mistake)}
        for mistake in found[:MOST_ERRORS]
    ]
    where = "" if line is None else f"line {line}: "
    if found[0]["type"] == "json_invalid":
        return Problem(400, "not-json", f"{where}The body is not JSON: {found[0]['msg']}")
    more = f", of which {MOST_ERRORS} are listed" if len(found) > MOST_ERRORS else ""
    detail = f"{where}{len(found)} field(s) of the claim are wrong{more}; see /v1/model/schema."
    return Problem(422, "invalid-claim", detail, errors=errors)


def _said(names: Names, mistake: ErrorDetails) -> str:
    if mistake["type"] != "extra_forbidden":
        return mistake["msg"]
    *outer, name = mistake["loc"]
    told = names.advice(str(name), inside=bool(outer))
    return f"No such field: {told}" if told else "No such field"


def pointer(loc: Sequence[int | str]) -> str:
    """`#/features/provider_claims_30d`, as RFC 6901 has it."""
    return "#" + "".join("/" + str(p).replace("~", "~0").replace("/", "~1") for p in loc)


def request_id(request: Request) -> str:
    return str(request.scope.get("request_id", ""))
