"""A run as a build's record: what ran, with what, how good it came out, and where to look.

From Dagster's GraphQL API, Metaflow's records where they can be reached, and the model registry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from dagster_metaflow.run_summary import RunSummary
from fraud_assets.launcher.client import Server, Unusable

_PAGE = 1000
_METAFLOW = "metaflow/"
_CARD = "card: "
_SHOWN = (
    "model_version",
    "verdict",
    "reason",
    "champion_before",
    "dagster/row_count",
    "dagster/uri",
)
_RUN = """
query Log($run: ID!, $cursor: String, $limit: Int) {
  runOrError(runId: $run) {
    __typename
    ... on Run { jobName status startTime endTime runConfigYaml tags { key value } }
    ... on Error { message }
  }
  logsForRun(runId: $run, afterCursor: $cursor, limit: $limit) {
    ... on EventConnection { cursor hasMore events {
      __typename
      ... on MaterializationEvent {
        assetKey { path } partition
        metadataEntries {
          label
          ... on IntMetadataEntry { number: intRepr }
          ... on FloatMetadataEntry { real: floatValue }
          ... on TextMetadataEntry { text }
          ... on UrlMetadataEntry { url }
          ... on PathMetadataEntry { path }
          ... on BoolMetadataEntry { truth: boolValue }
        }
      }
      ... on AssetCheckEvaluationEvent {
        evaluation { assetKey { path } checkName success severity description partition }
      }
    } }
  }
}
"""


class Asset(BaseModel):
    """One materialization. metadata: texts and numbers; links: addresses, cards among them."""

    model_config = ConfigDict(frozen=True)

    asset: str
    partition: str | None
    metadata: Mapping[str, Any]
    links: Mapping[str, str]


class RunLog(BaseModel):
    """config: as it was launched with. metaflow: its runs, as far as their records are in reach.

    model: the manifest of the version that the run made, in part; None when it made none.
    """

    model_config = ConfigDict(frozen=True)

    job: str
    run_id: str
    status: str
    url: str
    started: datetime | None
    ended: datetime | None
    tags: Mapping[str, str]
    config: str
    assets: tuple[Asset, ...]
    checks: tuple[Mapping[str, Any], ...]
    metaflow_runs: tuple[str, ...]
    metaflow: tuple[RunSummary, ...] = ()
    model: Mapping[str, Any] | None = None

    @property
    def cards(self) -> dict[str, str]:
        """Address of each card, by step and name."""
        return {
            label.removeprefix(_CARD): address
            for asset in self.assets
            for label, address in asset.links.items()
            if label.startswith(_CARD)
        }

    @property
    def version(self) -> str | None:
        """The model version that the run made."""
        made = [a.metadata["model_version"] for a in self.assets if "verdict" in a.metadata]
        return str(made[-1]) if made else None


def read_run(server: Server, run_id: str, summarize: Callable[[str], RunSummary | None]) -> RunLog:
    """summarize: takes a Metaflow pathspec. Raises Unusable when there is no such run."""
    run, events = _read(server, run_id)
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    pathspecs = tuple(sorted(value for key, value in tags.items() if key.startswith(_METAFLOW)))
    return RunLog(
        job=run["jobName"],
        run_id=run_id,
        status=run["status"],
        url=server.run_link(run_id),
        started=_time(run["startTime"]),
        ended=_time(run["endTime"]),
        tags=tags,
        config=run["runConfigYaml"],
        assets=tuple(_asset(e) for e in events if e["__typename"] == "MaterializationEvent"),
        checks=tuple(_check(e) for e in events if "evaluation" in e),
        metaflow_runs=pathspecs,
        metaflow=tuple(filter(None, map(summarize, pathspecs))),
    )


def _read(server: Server, run_id: str) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    events: list[Mapping[str, Any]] = []
    cursor = None
    while True:
        answer = server.ask(_RUN, run=run_id, cursor=cursor, limit=_PAGE)
        run, log = answer["runOrError"], answer["logsForRun"]
        if run["__typename"] != "Run":
            raise Unusable(f"There is no run {run_id} at {server.url}: {run.get('message')}")
        events += [event for event in log["events"] if len(event) > 1]
        cursor = log["cursor"]
        if not log["hasMore"]:
            return run, events


def _asset(event: Mapping[str, Any]) -> Asset:
    metadata: dict[str, Any] = {}
    links: dict[str, str] = {}
    for entry in event["metadataEntries"]:
        label = entry["label"]
        if address := entry.get("url") or entry.get("path"):
            links[label] = address
        elif entry.get("number") is not None:
            metadata[label] = int(entry["number"])
        else:
            found = next(
                (entry[k] for k in ("real", "text", "truth") if entry.get(k) is not None), None
            )
            if found is not None:
                metadata[label] = found
    return Asset(
        asset="/".join(event["assetKey"]["path"]),
        partition=event["partition"],
        metadata=metadata,
        links=links,
    )


def _check(event: Mapping[str, Any]) -> dict[str, Any]:
    found = event["evaluation"]
    return {
        "asset": "/".join(found["assetKey"]["path"]),
        "check": found["checkName"],
        "partition": found["partition"],
        "passed": found["success"],
        "severity": found["severity"],
        "description": found["description"],
    }


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def to_json(log: RunLog) -> str:
    return json.dumps(log.model_dump(mode="json"), indent=1)


def described(log: RunLog) -> str:
    """One line, for a list of builds."""
    parts = [f"{log.job} {log.status.lower()}"]
    if partition := _partitions(log.tags):
        parts.append(partition)
    if log.model:
        parts.append(f"model {log.model['version']} ({log.model['verdict']})")
        if found := log.model["metrics"].get("average_precision"):
            parts.append(f"AP {found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})")
    failed = sum(not check["passed"] for check in log.checks)
    parts += [f"{failed} checks failed"] if failed else []
    return ", ".join(parts)


def to_markdown(log: RunLog) -> str:
    """For a build's page, or a comment on a pull request."""
    seconds = (log.ended - log.started).total_seconds() if log.started and log.ended else None
    took = f" in {seconds:.0f} s" if seconds is not None else ""
    lines = [f"# {log.job}: {log.status.lower()}{took}", "", f"- Dagster: {log.url}"]
    lines += [f"- Metaflow: {run}" for run in log.metaflow_runs]
    lines += [f"- partitions: {_partitions(log.tags)}"] if _partitions(log.tags) else []
    lines += _model(log.model) if log.model else []
    lines += _table("Assets", ("asset", "partition", "what"), map(_row, log.assets))
    checks = ((c["asset"], c["check"], _result(c), c["description"] or "") for c in log.checks)
    lines += _table("Checks", ("asset", "check", "result", ""), checks)
    for summary in log.metaflow:
        rows = ((name, "" if v is None else v) for name, v in summary.parameters.items())
        lines += _table(f"Parameters of {summary.run}", ("parameter", "value"), rows)
    lines += _table("Cards", ("card", "file"), log.cards.items())
    return "\n".join(lines) + "\n"


def _model(model: Mapping[str, Any]) -> list[str]:
    lines = ["", f"## Model {model['version']}: {model['verdict']}", "", str(model["reason"])]
    rows = (
        (name.replace("_", " "), f"{m['value']:.4f}", f"{m['low']:.4f} to {m['high']:.4f}")
        for name, m in model["metrics"].items()
    )
    return [*lines, *_table("", ("out of time", "value", "95 % interval"), rows)]


def _table(title: str, columns: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> list[str]:
    told = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    if not told:
        return []
    head = ["", f"## {title}"] if title else []
    return [*head, "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *told]


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _row(asset: Asset) -> tuple[str, str, str]:
    told = [
        f"{name.removeprefix('dagster/')}: {asset.metadata[name]}"
        for name in _SHOWN
        if name in asset.metadata
    ]
    return asset.asset, asset.partition or "", "; ".join(told)


def _result(check: Mapping[str, Any]) -> str:
    return "passed" if check["passed"] else f"failed ({check['severity']})"


def _partitions(tags: Mapping[str, str]) -> str:
    first, last = (tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))
    return tags.get("dagster/partition") or (f"{first} to {last}" if first else "")
