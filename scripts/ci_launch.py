"""The build's job, launched and followed, as its parameters say (environment variables).

JOB, DATASET, BACKEND, PARTITION (one, or first and last), SAMPLE_SIZE, RUN_CONFIG (JSON or a file).
Leaves ci/launch.json and ci/junit/run.xml. Ends as `python -m fraud_assets.launch` does.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from ci_dagster import FOLDER, server_url
from fraud_assets.launcher.build import arguments_of
from fraud_assets.launcher.client import TOKEN_VARIABLE, Server


def main() -> int:
    url = server_url()
    try:
        server = Server(url, os.environ.get(TOKEN_VARIABLE))
        arguments = arguments_of(server, os.environ, _config(os.environ))
    except click.ClickException as error:
        print(f"Error: {error.format_message()}", file=sys.stderr)
        return error.exit_code
    command = [sys.executable, "-m", "fraud_assets.launch", *arguments, "--url", url, "--json"]
    command += ["--junit", str(FOLDER / "junit" / "run.xml")]
    print(f"python -m fraud_assets.launch {' '.join(arguments)}", flush=True)
    # In place of this process, so that whoever stops the build tells the launcher, and once.
    with (FOLDER / "launch.json").open("wb") as stdout:
        os.dup2(stdout.fileno(), sys.stdout.fileno())
    return int(os.execv(sys.executable, command))  # noqa: S606 - our own command


def _config(environment: Mapping[str, str]) -> dict[str, Any]:
    given = environment.get("RUN_CONFIG", "").strip()
    if not given:
        return {}
    try:
        text = given if given.startswith("{") else Path(given).read_text(encoding="utf-8")
        found = json.loads(text) if given.startswith("{") else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise click.UsageError(f"RUN_CONFIG cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise click.UsageError("RUN_CONFIG holds no mapping, such as ops: or resources:")
    return found


if __name__ == "__main__":
    sys.exit(main())
