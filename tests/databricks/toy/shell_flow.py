"""Speaks Metaflow's command line, and runs three steps that take no time: for the contract.

Files in SHELL_FOLDER: `hold_STEP`, `fail_STEP`, and what was done: `count`, `done_RUN`.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

STEPS = ("start", "work", "end")
FOLDER = Path(os.environ["SHELL_FOLDER"])


def done_file(run):
    return FOLDER / f"done_{run}"


def say(run, step, text):
    print(f"2026-01-01 00:00:00.000 [{run}/{step}/1 (pid {os.getpid()})] {text}", flush=True)


def play(run, done):
    for step in STEPS:
        if step in done:
            continue
        with (FOLDER / "count").open("a") as count:
            count.write(f"{step}\n")
        say(run, step, "Task is starting.")
        if step == "start" and "TOY_SECRET" in os.environ:
            say(run, step, f"the secret is {os.environ['TOY_SECRET']}")
        while (FOLDER / f"hold_{step}").exists():
            time.sleep(0.02)
        order = FOLDER / f"fail_{step}"
        if order.exists():
            order.unlink()
            say(run, step, "ValueError: it breaks")
            say(run, step, "Task failed.")
            sys.exit(1)
        done.append(step)
        done_file(run).write_text("\n".join(done))
        say(run, step, "Task finished successfully.")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("verb")
    parser.add_argument("--runner-attribute-file")
    parser.add_argument("--origin-run-id")
    given, rest = parser.parse_known_args()
    done = []
    if given.verb == "resume":
        if not done_file(given.origin_run_id).exists():
            sys.exit(f"there is no run {given.origin_run_id}")
        done = done_file(given.origin_run_id).read_text().split()
    (FOLDER / "arguments").write_text(json.dumps(rest))
    run = str(time.time_ns())
    done_file(run).write_text("\n".join(done))
    Path(given.runner_attribute_file).write_text(json.dumps({"run_id": run}))
    play(run, done)


if __name__ == "__main__":
    main()
