"""The record of a run: JSON for machines, Markdown for people, one line for a list of builds.

    python scripts/log_metaflow_run.py --folder ci                the run that the build launched
    python scripts/log_metaflow_run.py --run RUN_ID --folder out  any run of a running Dagster

Leaves run.json, run.md, description.txt, the model's manifest.json and the cards in the folder.
Ends with 0 when that is done, however the run ended; with 2 when there is no such run or server. A
model that cannot be read is in the record by its version and the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from ci_dagster import server_url
from dagster_metaflow.run_summary import summarize_run
from fraud_assets.launcher.client import TOKEN_VARIABLE, URL_VARIABLE, Server, Unusable
from fraud_assets.run_log import RunLog, described, read_run, to_json, to_markdown
from fraud_mlops.cli.options import dataset_name
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.lakehouse.stores import join, models_root, read_bytes, write_bytes
from fraud_mlops.notifications.masking import mask_values, masker
from fraud_mlops.registry.bundle import read_manifest
from fraud_mlops.registry.lineage import resolved_version
from fraud_mlops.settings import settings


def main() -> int:
    arguments = _parser().parse_args()
    folder: Path = arguments.folder
    try:
        log = read_run(
            Server(arguments.url, os.environ.get(TOKEN_VARIABLE)),
            arguments.run or _launched(folder),
            summarize_run,
        )
        log = _with_model(log, folder, arguments.dataset)
    except click.ClickException as error:
        print(f"Error: {error.format_message()}", file=sys.stderr)
        return error.exit_code
    told = RunLog.model_validate(mask_values(log.model_dump(), masker(os.environ)))
    texts = {
        "run.json": to_json(told),
        "run.md": to_markdown(told),
        "description.txt": described(told),
    }
    for name, text in texts.items():
        write_bytes(str(folder / name), text.encode() + b"\n")
    _copy_cards(log, folder)
    print(described(told))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", help="id of a Dagster run; that of launch.json when left out")
    parser.add_argument("--folder", type=Path, required=True, help="of the build's reports")
    parser.add_argument("--dataset", help="whose model it is; told from the assets when left out")
    parser.add_argument(
        "--url", default=server_url(), help=f"the webserver; the build's own, or {URL_VARIABLE}"
    )
    return parser


def _launched(folder: Path) -> str:
    try:
        found: Any = json.loads((folder / "launch.json").read_text())
        return str(found["run_id"])
    except (OSError, ValueError, KeyError):
        raise Unusable(
            f"{folder / 'launch.json'} names no run: nothing was launched, or give --run"
        ) from None


def _with_model(log: RunLog, folder: Path, dataset: str | None) -> RunLog:
    """With what the registry says of the version that the run made."""
    if log.version is None:
        return log
    made_of = [asset.asset.split("/")[0] for asset in log.assets if "verdict" in asset.metadata]
    try:
        models = models_root(settings().lakehouse_uri, settings().model_uri)
        name = dataset_name(dataset) if dataset else made_of[-1]
        manifest = read_manifest(models, name, resolved_version(models, name, log.version))
    except FraudMlopsError as error:
        print(f"Model {log.version} cannot be read: {error}", file=sys.stderr)
        model = {"version": log.version, "verdict": "not read", "reason": str(error)}
        return log.model_copy(update={"model": {**model, "metrics": {}}})
    whole = json.dumps(manifest.told(), indent=1).encode() + b"\n"
    write_bytes(str(folder / "manifest.json"), whole)
    kept = {"version", "run", "trained_until", "metrics", "candidate", "threshold", "libraries"}
    told = {"verdict": manifest.gate.get("verdict"), "reason": manifest.gate.get("reason")}
    return log.model_copy(update={"model": manifest.model_dump(mode="json", include=kept) | told})


def _copy_cards(log: RunLog, folder: Path) -> None:
    """Those that are exported by now; a card that is not costs no build."""
    for address in sorted(set(log.cards.values())):
        try:
            page = read_bytes(_file_of(address))
        except (FraudMlopsError, OSError) as error:
            print(f"{address} cannot be read: {error}", file=sys.stderr)
            continue
        write_bytes(str(folder / "cards" / address.rsplit("/", 1)[-1]), page)


def _file_of(card: str) -> str:
    """A link to where cards are served ends as the file's own address does."""
    if not card.startswith(("http://", "https://")):
        return card
    return join(settings().lakehouse_uri, "_reports", *card.split("/")[-3:])


if __name__ == "__main__":
    sys.exit(main())
