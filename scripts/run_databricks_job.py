"""Runs a flow on Databricks: a serverless run of code from Git, followed to its end.

    python scripts/run_databricks_job.py --sample-size 20000 --output-uri "$LAKEHOUSE_URI"
    python scripts/run_databricks_job.py --flow flows/scoring_flow.py --partition-start 2024-11
    python scripts/run_databricks_job.py --existing-job training      as databricks.yml has it
    python scripts/run_databricks_job.py --follow 123                 shows it again, to its end
    python scripts/run_databricks_job.py --inspect-run-id 123         why it failed, and what next
    python scripts/run_databricks_job.py --repair 123                 goes on where it failed

Options that are not listed below are the flow's parameters. Variables: DATABRICKS_HOST, and
DATABRICKS_TOKEN or what else databricks-sdk signs in with; DATABRICKS_GIT_URL, and
DATABRICKS_GIT_BRANCH or _GIT_COMMIT; LAKEHOUSE_URI; docs/databricks.md lists the others. Secrets
come from a secret scope: DATABRICKS_SECRET_SCOPE, else, for a job of databricks.yml, the one of its
target. Ends with 0 (succeeded), 1 (not) or 2 (wrong usage: nothing was started). Ctrl-C cancels the
run, and so does SIGTERM: 130 and 143; of a run that is only looked at it ends the looking.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from dagster_metaflow.backends.protocol import LaunchError, UsageError
from fraud_mlops.errors import FraudMlopsError, LakehouseError, SettingsError

WRONG_USAGE, INTERRUPTED = 2, 130
ROOT = Path(__file__).parents[1]
REQUIREMENTS = ["requirements.txt", "infra/azure/requirements.txt"]
FORWARDED = ["FRAUD_THREADS"]  # by which a model's last digits differ
FLOW, TARGET = "flows/fraud_detection_flow.py", "dev"


def main() -> int:
    arguments, rest = _parser().parse_known_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            code = _run(arguments, rest, Path(folder))
        sys.stdout.flush()
    except (UsageError, SettingsError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return WRONG_USAGE
    except (FraudMlopsError, LaunchError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before a run is started, or while one is looked into
        return INTERRUPTED
    except BrokenPipeError:  # who reads it has seen enough: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--flow", help=f"file of the flow; {FLOW} when left out")
    parser.add_argument("--output-uri", help="root of the lakehouse; LAKEHOUSE_URI when left out")
    parser.add_argument("--no-wait", action="store_true", help="start it, and come back at once")
    parser.add_argument("--max-workers", type=_positive, help="tasks of the flow at a time")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--follow", type=int, metavar="ID", help="show a run, to its end")
    what.add_argument("--inspect-run-id", type=int, metavar="ID", help="tell of a run")
    what.add_argument("--repair", type=int, metavar="ID", help="go on with a run that failed")
    what.add_argument("--existing-job", metavar="NAME", help="a job of databricks.yml")
    parser.add_argument("--target", help=f"of databricks.yml; {TARGET} when left out")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: with less than one no task is ever begun")
    return number


def _refuse_what_does_not_apply(arguments: argparse.Namespace) -> None:
    """Raises UsageError: what is passed over in silence is taken for done."""
    from dagster_metaflow.backends.databricks_settings import yes_or_no

    seen = arguments.inspect_run_id is not None or arguments.follow is not None
    there = seen or arguments.repair is not None
    job = arguments.existing_job is not None
    odd = {
        "--flow": (there or job) and arguments.flow,
        "--max-workers": (there or job) and arguments.max_workers,
        "--output-uri": there and arguments.output_uri,
        "--target": not job and arguments.target,
        "--no-wait": seen and arguments.no_wait,
    }
    if job:
        serverless = os.environ.get("DATABRICKS_SERVERLESS") or "true"
        odd["DATABRICKS_SERVERLESS"] = not yes_or_no("DATABRICKS_SERVERLESS", serverless)
        odd["DATABRICKS_SERVERLESS_ENVIRONMENT_KEY"] = os.environ.get(
            "DATABRICKS_SERVERLESS_ENVIRONMENT_KEY"
        )
    if found := [name for name, is_odd in odd.items() if is_odd]:
        what = "a job of databricks.yml" if job else "a run that is there" if there else "a new run"
        raise UsageError(f"{', '.join(found)} cannot be had with {what}: leave it out")


def _run(arguments: argparse.Namespace, rest: list[str], folder: Path) -> int:
    # Loaded here: they take a while, in which one may think better of it.
    from dagster_metaflow.backends.databricks_job import Job, parameters_of
    from fraud_mlops.lakehouse.stores import absolute
    from fraud_mlops.settings import settings

    _refuse_what_does_not_apply(arguments)
    job = Job(
        root=ROOT,
        folder=folder,
        requirements=REQUIREMENTS,
        wait=not arguments.no_wait,
        forwarded=FORWARDED,
    )
    there = (
        (job.follow, arguments.follow),
        (job.inspect, arguments.inspect_run_id),
        (job.repair, arguments.repair),
    )
    for does, run in there:
        if run is None:
            continue
        if rest:
            raise UsageError(f"{' '.join(rest)}: a run that is there keeps its parameters")
        return does(run)
    try:
        store = absolute(arguments.output_uri or _lakehouse(arguments) or settings().lakehouse_uri)
    except LakehouseError as error:
        raise UsageError(str(error)) from None
    model = {"model-uri": uri} if (uri := settings().model_uri) else {}
    own = {**model, **parameters_of(rest)}
    if arguments.existing_job is None:
        flow, given = arguments.flow or FLOW, {**own, "output-uri": store}
        return job.submit(flow, given, store, max_workers=arguments.max_workers)
    scope = os.environ.get("DATABRICKS_SECRET_SCOPE")
    variables = {"lakehouse_uri": store, **({"secret_scope": scope} if scope else {})}
    return job.existing(
        ROOT / "databricks.yml", arguments.existing_job, arguments.target or TARGET, variables, own
    )


def _lakehouse(arguments: argparse.Namespace) -> str | None:
    """Of the bundle, for its jobs, where this project's own setting says nothing."""
    if arguments.existing_job is None or os.environ.get("LAKEHOUSE_URI"):
        return None
    return os.environ.get("BUNDLE_VAR_lakehouse_uri")  # noqa: SIM112 - as the CLI spells it


if __name__ == "__main__":
    sys.exit(main())
