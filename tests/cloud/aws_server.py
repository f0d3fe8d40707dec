"""An AWS on loopback: a program that the tests start, each session its own.

    python aws_server.py '{"folder": ..., "environment": {...}, "at_once": 2, "pace": 0.05}'

Prints the port it listens at, and ends with its standard input. S3, DynamoDB, CloudWatch Logs,
EventBridge, IAM and STS are moto's; Batch and Step Functions are ours, since their jobs really run.
What tests ask for lies under `/_local/`: faults to play, calls that were counted.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from aws_asl import StatesError, camel, pascal
from aws_jobs import GROUP, Jobs
from aws_states import ApiError, States
from moto.logs.models import logs_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

QUEUE = "local-queue"
_SCOPE = re.compile(r"Credential=([^/]+)/\d+/[\w-]+/([\w-]+)/aws4_request")
_ACCOUNT, _REGION = "123456789012", "us-east-1"


class Cloud:
    """The WSGI application."""

    def __init__(self, url: str, settings: Mapping[str, Any]) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._faults: list[dict[str, Any]] = []
        self._calls: Counter[str] = Counter()
        self._played: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._logs = Logs()
        self._definitions: dict[str, dict[str, Any]] = {}
        environment = {**settings["environment"], "AWS_ENDPOINT_URL": url}
        self.jobs = Jobs(Path(settings["folder"]), environment, self._logs.put, settings["at_once"])
        import boto3

        self._table = boto3.client("dynamodb", endpoint_url=url, region_name=_REGION)
        self._states = States(self, settings["pace"])

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ, populate_request=False)
        if request.path.startswith("/_local/"):
            return self._local(request)(environ, start)
        match = _SCOPE.search(request.headers.get("Authorization", ""))
        key, service = match.groups() if match else ("", "s3")
        operation = _operation(service, request)
        with self._lock:
            self._calls[f"{key} {service}:{operation}"] += 1
        if (fault := self._fault(service, operation, key)) is not None:
            with self._lock:
                self._played[request.path] += 1
            return _failed(service, fault["code"], "as the test says", fault["status"])(
                environ, start
            )
        if service not in ("batch", "states"):
            return self._moto(environ, start)
        try:
            answer = self._answer(service, operation, request)
        except ApiError as error:
            return _failed(service, error.code, error.message, error.status)(environ, start)
        return Response(json.dumps(answer), mimetype="application/json")(environ, start)

    def _answer(self, service: str, operation: str, request: Request) -> dict[str, Any]:
        given = json.loads(request.get_data() or b"{}")
        if service == "states":
            return self._states.call(operation, given)
        method = getattr(self, f"_batch_{operation.lower()}", None)
        if method is None:
            raise ApiError("ClientException", f"{operation} is not known here")
        answer: dict[str, Any] = method(given)
        return answer

    # -- Batch ---------------------------------------------------------------------------------

    def _batch_describejobqueues(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Those that have had a job are there."""
        order = [{"order": 1, "computeEnvironment": "local-compute"}]
        same = {"state": "ENABLED", "status": "VALID", "priority": 1}
        arn = f"arn:aws:batch:{_REGION}:{_ACCOUNT}:job-queue/"
        queues = [
            {"jobQueueName": name, "jobQueueArn": arn + name, "computeEnvironmentOrder": order}
            for name in sorted({QUEUE, *self.jobs.queues()})
            if {name, arn + name} & set(request.get("jobQueues") or [name])
        ]
        return {"jobQueues": [{**same, **queue} for queue in queues]}

    def _batch_describecomputeenvironments(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        arn = f"arn:aws:batch:{_REGION}:{_ACCOUNT}:compute-environment/local-compute"
        kind = {"type": "EC2", "maxvCpus": 4, "subnets": []}
        one = {"computeEnvironmentName": "local-compute", "computeEnvironmentArn": arn}
        return {"computeEnvironments": [{**one, "computeResources": kind}]}

    def _batch_registerjobdefinition(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request["jobDefinitionName"]
        with self._lock:
            revision = 1 + sum(d["jobDefinitionName"] == name for d in self._definitions.values())
            arn = f"arn:aws:batch:{_REGION}:{_ACCOUNT}:job-definition/{name}:{revision}"
            known = {"jobDefinitionArn": arn, "revision": revision, "status": "ACTIVE"}
            self._definitions[arn] = {**request, **known}
        return {"jobDefinitionName": name, "jobDefinitionArn": arn, "revision": revision}

    def _batch_describejobdefinitions(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request.get("jobDefinitionName")
        found = [d for d in self._definitions.values() if name in (None, d["jobDefinitionName"])]
        return {"jobDefinitions": found}

    def _batch_submitjob(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request["jobDefinition"] not in self._definitions:
            raise ApiError("ClientException", f"no definition {request['jobDefinition']}")
        job = self.jobs.submit(request, self._definitions[request["jobDefinition"]])
        return {key: job.spec[key] for key in ("jobArn", "jobId", "jobName")}

    def _batch_describejobs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if len(request["jobs"]) > 100:
            raise ApiError("ClientException", "at most 100 jobs at a time")
        return {"jobs": self.jobs.describe(request["jobs"])}

    def _batch_listjobs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        prefix = None
        for one in request.get("filters", []):
            prefix = one["values"][0].rstrip("*")
        found = self.jobs.list(request["jobQueue"], request.get("jobStatus"), prefix)
        return {"jobSummaryList": found}

    def _batch_terminatejob(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.jobs.terminate(request["jobId"], request["reason"])
        return {}

    # -- what Step Functions calls -------------------------------------------------------------

    def submit_job(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if (fault := self._fault("batch", "SubmitJob", "states")) is not None:
            raise StatesError("Batch.AWSBatchException", f"{fault['code']}: as the test says")
        try:
            return dict(pascal(self._batch_submitjob(camel(parameters))))
        except ApiError as error:
            raise StatesError("Batch.AWSBatchException", f"{error.code}: {error}") from None

    def wait_for_job(self, name: str, halted: Callable[[], bool]) -> dict[str, Any]:
        job = self.jobs.job(name)
        while not job.done.wait(0.05) and not halted():
            pass
        return dict(pascal(job.described()))

    def get_item(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._table.get_item(**parameters)
        return {"Item": answer["Item"]}

    # -- for tests -----------------------------------------------------------------------------

    def _local(self, request: Request) -> Response:
        given = json.loads(request.get_data() or b"{}")
        with self._lock:
            if request.path == "/_local/faults":
                self._faults = [*self._faults, given] if given else []
                if not given:
                    self._played.clear()
            elif request.path == "/_local/played":
                return Response(json.dumps(dict(self._played)), mimetype="application/json")
            elif request.path == "/_local/age":
                self._states.age(**given)
            elif request.path == "/_local/stale":
                self._states.start_stale(**given)
            elif request.path == "/_local/late":
                self._states.look_late(**given)
            elif request.path == "/_local/calls" and given:
                self._calls.clear()
            answer = dict(self._calls) if request.path == "/_local/calls" else {}
        return Response(json.dumps(answer), mimetype="application/json")

    def _fault(self, service: str, operation: str, key: str) -> dict[str, Any] | None:
        with self._lock:
            for fault in self._faults:
                matches = fault["service"] in ("*", service)
                matches = matches and fault["operation"] in ("*", operation)
                if matches and fault["key"] in (None, key) and fault["times"] > 0:
                    fault["times"] -= 1
                    return fault
        return None


class Logs:
    """CloudWatch's, of Batch."""

    def __init__(self) -> None:
        self._backend = logs_backends[_ACCOUNT][_REGION]
        self._lock = threading.Lock()
        self._streams: set[str] = set()
        self._backend.create_log_group(GROUP, {})

    def put(self, stream: str, line: str) -> None:
        event = {"timestamp": int(time.time() * 1000), "message": line or " "}
        with self._lock:
            if stream not in self._streams:
                self._backend.create_log_stream(GROUP, stream)
                self._streams.add(stream)
            self._backend.put_log_events(GROUP, stream, [event])


def _operation(service: str, request: Request) -> str:
    if service == "batch":
        return {name.lower(): name for name in _BATCH}.get(
            request.path.rpartition("/")[2], request.path
        )
    if target := request.headers.get("X-Amz-Target"):
        return target.rpartition(".")[2]
    has_key = request.path.count("/") > 1 and not request.path.endswith("/")
    return f"{request.method.title()}Object" if has_key else f"{request.method.title()}Bucket"


_BATCH = (
    "SubmitJob", "DescribeJobs", "ListJobs", "TerminateJob", "DescribeJobQueues",
    "DescribeComputeEnvironments", "RegisterJobDefinition", "DescribeJobDefinitions",
)  # fmt: skip


def _failed(service: str, code: str, message: str, status: int) -> Response:
    headers = {"x-amzn-errortype": code, "x-amzn-requestid": str(uuid.uuid4())}
    if service in ("s3", "sts"):
        text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return Response(text, status, headers, mimetype="application/xml")
    text = json.dumps({"__type": code, "message": message})
    return Response(text, status, headers, mimetype="application/json")


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_: Any) -> None:
        return


def main() -> None:
    settings = json.loads(sys.argv[1])
    applications: list[Cloud] = []
    server = make_server(
        "127.0.0.1", 0, lambda *given: applications[0](*given), threaded=True, request_handler=Quiet
    )
    applications.append(Cloud(f"http://127.0.0.1:{server.server_port}", settings))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    applications[0].jobs.stop_all()


if __name__ == "__main__":
    main()
