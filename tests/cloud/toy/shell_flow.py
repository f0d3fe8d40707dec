"""Speaks Metaflow's command line, and runs three shell steps on Batch: for the backends' contract.

What the contract asks of a backend is what lies between Dagster and AWS. With jobs that take
milliseconds it is played through in seconds; that Metaflow's own flows behave so is shown beside.

Files in SHELL_FOLDER: `hold_STEP`, `fail_STEP` (as the cloud toy), `count`, `done_RUN`.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

STEPS = ("start", "work", "end")
FOLDER = Path(os.environ["SHELL_FOLDER"])
SCRIPT = """
cd {folder}; echo {step} >> count; echo "{step} runs"
while [ -e hold_{step} ]; do sleep 0.02; done
if [ -e fail_{step} ]; then rm fail_{step}; echo "{step} breaks"; exit 1; fi
if [ -n "$RUN" ]; then echo {step} >> "done_sfn-$RUN"; fi
echo "{step} is done"
"""
_DEFINITION = {"image": "none", "command": ["true"]}
_SUBMIT = "arn:aws:states:::batch:submitJob.sync"


def client(service):
    import boto3

    return boto3.client(service)


def definition():
    properties = {**_DEFINITION, "vcpus": 1, "memory": 128}
    made = client("batch").register_job_definition(
        jobDefinitionName="shell", type="container", containerProperties=properties
    )
    return made["jobDefinitionArn"]


def command(step, tags=""):
    return ["bash", "-c", SCRIPT.format(folder=FOLDER, step=step) + tags]


def create(given):
    Path(given.deployer_attribute_file).write_text('{"name": "ShellFlow"}')
    # As Metaflow does, in the command of each task.
    tags = "".join(f" # --tag {tag}" for tag in given.tag)
    arn, states = definition(), {}
    for step, after in zip(STEPS, [*STEPS[1:], None], strict=True):
        told = {"metaflow.flow_name": "ShellFlow", "step_name": step}
        variables = [{"Name": "RUN", "Value.$": "$$.Execution.Name"}]
        if step == "start":
            variables.append({"Name": "METAFLOW_PARAMETERS", "Value.$": "$.Parameters"})
        states[step] = {
            "Type": "Task",
            "Resource": _SUBMIT,
            "Parameters": {
                "JobName": f"SFN-ShellFlow--{step}--",
                "JobQueue": "local-queue",
                "JobDefinition": arn,
                "ContainerOverrides": {
                    "Command": command(step, tags),
                    "Environment": variables,
                },
                "RetryStrategy": {"Attempts": int(os.environ.get("SHELL_ATTEMPTS", "1"))},
                "Parameters": {**told, "metaflow.run_id.$": "$$.Execution.Name"},
            },
            "Retry": [{"ErrorEquals": ["Batch.AWSBatchException"], "MaxAttempts": 5}],
            **({"Next": after} if after else {"End": True}),
        }
    limit = {"TimeoutSeconds": int(os.environ.get("SHELL_TIMEOUT", "600"))}
    text = json.dumps({"StartAt": STEPS[0], "States": states, **limit})
    states_client, role = client("stepfunctions"), "arn:aws:iam::123456789012:role/local"
    try:
        states_client.create_state_machine(name="ShellFlow", definition=text, roleArn=role)
    except states_client.exceptions.StateMachineAlreadyExists as error:
        arn = str(error).split("'")[1]
        states_client.update_state_machine(stateMachineArn=arn, definition=text)
        if by := os.environ.get("SHELL_OVERTAKEN"):  # somebody else deploys right after
            theirs = text if by == "the same code" else text.replace(tags, "")
            other = json.dumps({**json.loads(theirs), "TimeoutSeconds": 777})
            states_client.update_state_machine(stateMachineArn=arn, definition=other)
    schedule(client("events"), os.environ.get("SHELL_CRON"))


def schedule(events, cron):
    """As Metaflow does it: without a time it is switched off."""
    if cron:
        events.put_rule(Name="ShellFlow", ScheduleExpression=f"cron({cron})", State="ENABLED")
        return
    with contextlib.suppress(events.exceptions.ResourceNotFoundException):
        events.disable_rule(Name="ShellFlow")
    if os.environ.get("SHELL_KILLS_LAUNCHER"):
        os.kill(os.getppid(), signal.SIGKILL)


def trigger(attributes):
    (FOLDER / "triggering").touch()
    while (FOLDER / "hold_trigger").exists():
        time.sleep(0.02)
    states_client = client("stepfunctions")
    machines = states_client.list_state_machines()["stateMachines"]
    arn = next(m["stateMachineArn"] for m in machines if m["name"] == "ShellFlow")
    started = states_client.start_execution(stateMachineArn=arn, input='{"Parameters": "{}"}')
    run_id = "sfn-" + started["executionArn"].rpartition(":")[2]
    told = {"name": "ShellFlow", "pathspec": f"ShellFlow/{run_id}"}
    Path(attributes).write_text(json.dumps(told))


class Run:
    def __init__(self, attributes, origin):
        self.id = str(time.time_ns())
        if origin is not None and not done_file(origin).exists():
            sys.exit(f"there is no run {origin}")
        self.done = [] if origin is None else done_file(origin).read_text().split()
        done_file(self.id).write_text("\n".join(self.done))
        Path(attributes).write_text(json.dumps({"run_id": self.id}))

    def play(self):
        batch, arn = client("batch"), definition()
        for number, step in enumerate(STEPS):
            if step not in self.done:
                self.step(batch, arn, f"{self.id}/{step}/{number}", step)
                self.done.append(step)
                done_file(self.id).write_text("\n".join(self.done))

    def step(self, batch, arn, task, step):
        told = {"metaflow.flow_name": "ShellFlow", "metaflow.run_id": self.id}
        job = batch.submit_job(
            jobName=f"toy-ShellFlow-{self.id}-{step}-0-0",
            jobQueue=os.environ.get("SHELL_QUEUE", "local-queue"),
            jobDefinition=arn,
            containerOverrides={"command": command(step)},
            parameters=told,
        )["jobId"]
        say(task, "Task is starting.")
        if "SHELL_SAYS_NO_JOB" not in os.environ:
            say(task, f"[{job}] Task is starting (status RUNNABLE)...")
        try:
            while (status := self.status(batch, job)) not in ("SUCCEEDED", "FAILED"):
                time.sleep(0.05)
        except KeyboardInterrupt:
            batch.terminate_job(jobId=job, reason="interrupted")
            raise
        if status == "FAILED":
            say(task, f"step {step} failed on Batch")
            say(task, "Task failed.")
            sys.exit(1)
        say(task, "Task finished successfully.")

    def status(self, batch, job):
        return batch.describe_jobs(jobs=[job])["jobs"][0]["status"]


def done_file(run):
    return FOLDER / f"done_{run}"


def say(task, text):
    print(f"2026-01-01 00:00:00.000 [{task} (pid {os.getpid()})] {text}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runner-attribute-file")
    parser.add_argument("--origin-run-id")
    parser.add_argument("--deployer-attribute-file", default=os.devnull)
    parser.add_argument("--tag", action="append", default=[])
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    given, rest = parser.parse_known_args()
    if words == ["step-functions", "create"]:
        create(given)
    elif words == ["step-functions", "trigger"]:
        if wrong := [word for word in rest if word.startswith("--no-such")]:
            parser.error(f"no such option: {wrong[0]}")
        trigger(given.deployer_attribute_file)
    elif "batch" in (decorators := os.environ["METAFLOW_DEFAULT_DECOSPECS"]):
        (FOLDER / "decorators").write_text(decorators)
        Run(given.runner_attribute_file, given.origin_run_id).play()


if __name__ == "__main__":
    main()
