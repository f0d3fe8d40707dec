"""Reports of one asset, written and read back."""

from __future__ import annotations

from pathlib import Path

from dagster_metaflow.reports import (
    Materialization,
    read_reports,
    write_report,
)

KEY = ["synthetic_claims", "raw"]
RUN = "FraudDetectionFlow/17/ingest/2"


def write(root: Path | str, made=(), checks=(), key=KEY, launch: str = "launch-1", **more) -> str:
    given = {"run": RUN} | more
    return write_report(str(root), "FraudDetectionFlow", launch, key, made, checks, **given)


def messages(root: Path | str, launch: str = "launch-1"):
    [report] = read_reports(str(root), "FraudDetectionFlow", launch)
    return report.messages


def metadata(root: Path, **values):
    write(root, [Materialization(data_version="v", metadata=values)])
    return messages(root)[0]["params"]["metadata"]
