"""AWS Step Functions' API over interpreted executions."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

from aws_executions import Execution, Services

_ARN = "arn:aws:states:us-east-1:123456789012"
_REDRIVABLE_DAYS = 14.0
_KEPT_DAYS = 90.0


class ApiError(Exception):
    """code: of the API. status: of HTTP."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class States:
    """State machines and their executions. pace: seconds here for one of a state's retry."""

    def __init__(self, services: Services, pace: float) -> None:
        self._services = services
        self._pace = pace
        self._machines: dict[str, dict[str, Any]] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._executions: dict[str, Execution] = {}
        self._lock = threading.RLock()
        self._stale_starts = 0
        self._late_looks = 0

    def call(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Raises ApiError."""
        method = getattr(self, "_" + _snake(operation), None)
        if method is None:
            raise ApiError("UnknownOperationException", f"{operation} is not known here")
        with self._lock:
            answer: dict[str, Any] = method(request)
        return answer

    def age(self, arn: str, days: float) -> None:
        """The execution has ended, and its machine's last change has been, so long ago."""
        execution = self._execution(arn)
        execution.stopped = (execution.stopped or time.time()) - days * 86_400

    def start_stale(self, times: int) -> None:
        """So many executions run the definition before the last change of their machine."""
        self._stale_starts = times

    def look_late(self, times: int) -> None:
        """So many looks at the machine that is changed next show what it was before."""
        self._late_looks = times

    # -- machines ------------------------------------------------------------------------------

    def _create_state_machine(self, request: Mapping[str, Any]) -> dict[str, Any]:
        arn = f"{_ARN}:stateMachine:{request['name']}"
        if arn in self._machines:
            if self._machines[arn]["definition"] != request["definition"]:
                message = f"State Machine Already Exists: '{arn}'"
                raise ApiError("StateMachineAlreadyExists", message)
        else:
            self._machines[arn] = {
                "stateMachineArn": arn,
                "name": request["name"],
                "status": "ACTIVE",
                "type": "STANDARD",
                "creationDate": time.time(),
                **{key: request[key] for key in ("definition", "roleArn")},
                "loggingConfiguration": request.get("loggingConfiguration", {}),
            }
            self._tags[arn] = {tag["key"]: tag["value"] for tag in request.get("tags", [])}
        return {"stateMachineArn": arn, "creationDate": self._machines[arn]["creationDate"]}

    def _update_state_machine(self, request: Mapping[str, Any]) -> dict[str, Any]:
        machine = self._machine(request["stateMachineArn"])
        machine["before"] = {k: machine.get(k) for k in ("definition", "revisionId")}
        machine["late"], self._late_looks = self._late_looks, 0
        for key in ("definition", "roleArn", "loggingConfiguration"):
            if key in request:
                machine[key] = request[key]
        machine["revisionId"] = str(uuid.uuid4())
        return {"updateDate": time.time(), "revisionId": machine["revisionId"]}

    def _describe_state_machine(self, request: Mapping[str, Any]) -> dict[str, Any]:
        found = dict(machine := self._machine(request["stateMachineArn"]))
        before, late = found.pop("before", {}), found.pop("late", 0)
        if not late:
            return found
        machine["late"] -= 1
        return {**found, **before}

    def _list_state_machines(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        keys = ("stateMachineArn", "name", "type", "creationDate")
        return {"stateMachines": [{k: m[k] for k in keys} for m in self._machines.values()]}

    def _delete_state_machine(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._machines.pop(request["stateMachineArn"], None)
        return {}

    def _tag_resource(self, request: Mapping[str, Any]) -> dict[str, Any]:
        new = {tag["key"]: tag["value"] for tag in request["tags"]}
        self._tags.setdefault(request["resourceArn"], {}).update(new)
        return {}

    def _list_tags_for_resource(self, request: Mapping[str, Any]) -> dict[str, Any]:
        found = self._tags.get(request["resourceArn"], {})
        return {"tags": [{"key": key, "value": value} for key, value in found.items()]}

    def _machine(self, arn: str) -> dict[str, Any]:
        if arn not in self._machines:
            message = f"State Machine Does Not Exist: '{arn}'"
            raise ApiError("StateMachineDoesNotExist", message)
        return self._machines[arn]

    # -- executions ----------------------------------------------------------------------------

    def _start_execution(self, request: Mapping[str, Any]) -> dict[str, Any]:
        machine = self._machine(request["stateMachineArn"])
        name = request.get("name") or str(uuid.uuid4())
        arn = f"{_ARN}:execution:{machine['name']}:{name}"
        given = request.get("input", "{}")
        if (known := self._executions.get(arn)) is not None:
            if known.status != "RUNNING" or known.input != given:
                raise ApiError("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
        else:
            if self._stale_starts > 0 and "before" in machine:
                self._stale_starts -= 1
                machine = {**machine, **machine["before"]}
            definition = json.loads(machine["definition"])
            known = Execution(
                arn, name, dict(machine), definition, given, self._services, self._pace
            )
            self._executions[arn] = known
            known.start()
        return {"executionArn": arn, "startDate": known.started}

    def _describe_execution(self, request: Mapping[str, Any]) -> dict[str, Any]:
        found = self._execution(request["executionArn"])
        why_not = _not_redrivable(found)
        return {
            **_summary(found),
            "input": found.input,
            **found.told,
            "redriveCount": found.redrives,
            "redriveStatus": "NOT_REDRIVABLE" if why_not else "REDRIVABLE",
            **({"redriveStatusReason": why_not} if why_not else {}),
        }

    def _describe_state_machine_for_execution(self, request: Mapping[str, Any]) -> dict[str, Any]:
        found = self._execution(request["executionArn"])
        keys = ("stateMachineArn", "name", "definition", "roleArn")
        return {"updateDate": found.started, **{key: found.machine[key] for key in keys}}

    def _list_executions(self, request: Mapping[str, Any]) -> dict[str, Any]:
        status, arn = request.get("statusFilter"), request.get("stateMachineArn")
        found = [e for e in self._executions.values() if e.machine["stateMachineArn"] == arn]
        return {"executions": [_summary(e) for e in found if status in (None, e.status)]}

    def _stop_execution(self, request: Mapping[str, Any]) -> dict[str, Any]:
        found = self._execution(request["executionArn"])
        found.stop(request.get("error"), request.get("cause"))
        return {"stopDate": found.stopped or time.time()}

    def _redrive_execution(self, request: Mapping[str, Any]) -> dict[str, Any]:
        found = self._execution(request["executionArn"])
        if why_not := _not_redrivable(found):
            raise ApiError("ExecutionNotRedrivable", why_not)
        found.redrive()
        return {"redriveDate": found.redriven}

    def _get_execution_history(self, request: Mapping[str, Any]) -> dict[str, Any]:
        events = list(self._execution(request["executionArn"]).events)
        if request.get("reverseOrder"):
            events.reverse()
        first, most = int(request.get("nextToken") or 0), int(request.get("maxResults") or 100)
        last = first + most
        more = {"nextToken": str(last)} if last < len(events) else {}
        return {"events": events[first:last], **more}

    def _execution(self, arn: str) -> Execution:
        found = self._executions.get(arn)
        if found is None or _is_older(found, _KEPT_DAYS):
            raise ApiError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        return found


def _summary(execution: Execution) -> dict[str, Any]:
    return {
        "executionArn": execution.arn,
        "stateMachineArn": execution.machine["stateMachineArn"],
        "name": execution.name,
        "status": execution.status,
        "startDate": execution.started,
        **({"stopDate": execution.stopped} if execution.stopped else {}),
    }


def _is_older(execution: Execution, days: float) -> bool:
    """It has ended longer ago."""
    return execution.stopped is not None and time.time() - execution.stopped > days * 86_400


def _not_redrivable(execution: Execution) -> str | None:
    if execution.status in ("RUNNING", "SUCCEEDED"):
        return f"Execution is {execution.status} and cannot be redriven"
    if _is_older(execution, _REDRIVABLE_DAYS):
        return "Execution has exceeded the redrivable period of 14 days"
    return None


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
