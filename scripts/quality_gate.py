"""May this model be deployed? Its out-of-time metrics, against what is asked for and the champion.

    python scripts/quality_gate.py --dataset synthetic_claims                   the champion
    python scripts/quality_gate.py --dataset synthetic_claims --folder ci       what the build made
    python scripts/quality_gate.py --dataset ... --least average_precision=0.6

Ends with 0 when it may be deployed, and when it was held back, which is no failure: the champion
stays. Ends with 1 when a champion breaks a promise, and for an error. With --folder it leaves
gate.json there, and an empty file `deployable` when it may be deployed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from fraud_mlops.cli.options import dataset_name
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.lakehouse.stores import join, write_bytes
from fraud_mlops.registry.quality import QualityGate, judge
from fraud_mlops.settings import settings


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    if not arguments.dataset:
        parser.error("--dataset is missing")
    try:
        gate = judge(
            _models(arguments.model_uri),
            dataset_name(arguments.dataset),
            arguments.version or _made(arguments.folder),
            dict(arguments.least),
        )
    except FraudMlopsError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for one in gate.criteria:
        print(f"{'ok' if one.passed else 'NO':2}  {one.name:28} {one.actual}  ({one.threshold})")
    print(gate.summary)
    if arguments.folder:
        _leave(arguments.folder, gate)
    return 0 if gate.passed else 1


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
    return parser


def _least(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)


def _models(given: str | None) -> str:
    return given or settings().model_uri or join(settings().lakehouse_uri, "models")


def _made(folder: Path | None) -> str | None:
    """The version that the build's run made, if it made one."""
    try:
        log = json.loads((folder / "run.json").read_text()) if folder else {}
    except (OSError, ValueError):
        return None
    model = log.get("model") or {}
    return model.get("version")


def _leave(folder: Path, gate: QualityGate) -> None:
    found = {**gate.model_dump(mode="json"), "passed": gate.passed, "deployable": gate.deployable}
    write_bytes(str(folder / "gate.json"), json.dumps(found, indent=1).encode() + b"\n")
    mark = folder / "deployable"
    mark.touch() if gate.deployable else mark.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
