"""May this model be deployed? Its out-of-time metrics, against what is asked for and the champion.

    python scripts/quality_gate.py --dataset synthetic_claims                   the champion
    python scripts/quality_gate.py --dataset synthetic_claims --folder ci       what the build made
    python scripts/quality_gate.py --dataset ... --least average_precision=0.6

Ends with 0 when it may be deployed, and when it was held back, which is no failure: the champion
stays. Ends with 1 when a champion breaks a promise, and for an error. With --folder it leaves
gate.json there, and its version in `deployable` when it may be deployed; nothing where there is
nothing to judge yet: no champion, and no model of the build. That is an error with --deploy.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from fraud_mlops.cli.options import dataset_name
from fraud_mlops.errors import FraudMlopsError, RegistryError
from fraud_mlops.lakehouse.stores import models_root, write_bytes
from fraud_mlops.registry.pointers import read_pointer
from fraud_mlops.registry.quality import QualityGate, judge
from fraud_mlops.settings import settings


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    if not arguments.dataset:
        parser.error("--dataset is missing")
    try:
        gate = _judged(arguments)
    except FraudMlopsError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if gate is None:
        return _nothing(arguments)
    for one in gate.criteria:
        print(f"{'ok' if one.passed else 'NO':2}  {one.name:28} {one.actual}  ({one.threshold})")
    print(gate.summary)
    if arguments.folder:
        _leave(arguments.folder, gate)
    return 0 if gate.passed else 1


def _nothing(arguments: argparse.Namespace) -> int:
    where = f"{arguments.dataset} in {_models(arguments.model_uri)}"
    why = f"there is no champion of {where}, and the build made no model"
    if not arguments.deploy:
        print(f"Nothing to judge: {why}")
        return 0
    print(f"Error: asked to deploy, and there is nothing to deploy: {why}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset",
        default=os.environ.get("DATASET"),
        help="its name, or the path of its contract; DATASET when left out",
    )
    parser.add_argument("--version", help="the champion, or what the build made, when left out")
    parser.add_argument(
        "--least",
        type=_least,
        action="append",
        default=[],
        metavar="METRIC=VALUE",
        help="repeatable",
    )
    parser.add_argument("--model-uri", help="root of the registry; FRAUD_MODEL_URI when left out")
    parser.add_argument("--folder", type=Path, help="of the build's reports")
    parser.add_argument(
        "--deploy",
        action="store_true",
        default=os.environ.get("DEPLOY") == "true",
        help="it is to be deployed: to have nothing to judge is an error; DEPLOY=true says so too",
    )
    return parser


def _least(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)


def _models(given: str | None) -> str:
    return models_root(settings().lakehouse_uri, given or settings().model_uri)


def _judged(arguments: argparse.Namespace) -> QualityGate | None:
    """None for a build that has nothing to judge. The mark of an earlier verdict goes first."""
    folder: Path | None = arguments.folder
    if folder:
        (folder / "deployable").unlink(missing_ok=True)
    models, dataset = _models(arguments.model_uri), dataset_name(arguments.dataset)
    version = arguments.version or (_made(folder) if folder else None)
    if folder and not version and read_pointer(models, dataset, "champion") is None:
        return None
    return judge(models, dataset, version, dict(arguments.least))


def _made(folder: Path) -> str | None:
    """The version that the build's run made, if it made one. Without the run's record nobody knows:
    a RegistryError, since the champion is not to be judged in its place."""
    if not (folder / "launch.json").exists():
        return None
    launched, log = _read(folder / "launch.json"), _read(folder / "run.json")
    if not log or log.get("run_id") != launched.get("run_id"):
        raise RegistryError(
            f"{folder / 'run.json'} is no record of the run that {folder / 'launch.json'} names: "
            "nobody knows which model it made. Next: python scripts/log_metaflow_run.py "
            f"--folder {folder}"
        )
    return (log.get("model") or {}).get("version")


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _leave(folder: Path, gate: QualityGate) -> None:
    found = {**gate.model_dump(mode="json"), "passed": gate.passed, "deployable": gate.deployable}
    write_bytes(str(folder / "gate.json"), json.dumps(found, indent=1).encode() + b"\n")
    if gate.deployable:
        write_bytes(str(folder / "deployable"), f"{gate.version}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
