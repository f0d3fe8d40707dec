"""The cloud toy as assets, launched on the local AWS as users launch it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from aws import LocalAws

from dagster_metaflow import BACKEND_TAG, MetaflowFlow, MetaflowResource, metaflow_assets
from dagster_metaflow.ledger import RECORD, LaunchRecord

FLOW = MetaflowFlow(Path(__file__).parent / "toy" / "cloud_toy_flow.py")
QUICK: dict[str, Any] = {"look_seconds": 0.2, "most_look_seconds": 0.5, "log_lag_seconds": 0.0}


class CloudToy:
    """One ledger, one Dagster instance, one folder in which the toy's tasks look for orders.

    variables: of its runs, beside those of the cloud.
    """

    def __init__(
        self,
        aws: LocalAws,
        folder: Path,
        flow: MetaflowFlow = FLOW,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.aws, self.folder, self.flow = aws, folder, flow
        self.variables = dict(variables or {})
        self.lake = folder / "lake"
        (folder / "home").mkdir(parents=True)
        (folder / ".metaflow").mkdir()  # else Metaflow looks for one in the folders above
        (folder / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        self.instance = dg.DagsterInstance.from_config(str(folder / "home"))

    def environment(self) -> dict[str, str]:
        home = {"METAFLOW_HOME": str(self.folder / "metaflow_home"), "METAFLOW_USER": "toy"}
        return {**self.aws.environment, **home, **self.variables}

    def resource(self, **settings: Any) -> MetaflowResource:
        common = {
            "environment": self.environment(),
            "working_directory": str(self.folder),
            **settings.pop("common", {}),
        }
        states = {**common, **QUICK, **settings.pop("step_functions", {})}
        given = {"poll_seconds": 0.1, "local": common, "batch": common, "step_functions": states}
        return MetaflowResource(ledger_root=str(self.lake), **{**given, **settings})

    def assets(self, **options: Any) -> dg.AssetsDefinition:
        @metaflow_assets(flow=self.flow, assets=["first", "second"], name="toy", **options)
        def toy(context: dg.AssetExecutionContext, metaflow: MetaflowResource) -> Iterator[Any]:
            yield from metaflow.run(context, self.flow, {"folder": str(self.folder)}).stream()

        return toy

    def materialize(
        self, backend: str, resource: MetaflowResource | None = None, *, retries: int = 0
    ) -> dg.ExecuteInProcessResult:
        """backend: chosen by the tag of the run. retries: by Dagster's retry policy, which resumes
        a run as re-execution from failure does."""
        policy = dg.RetryPolicy(max_retries=retries) if retries else None
        return dg.materialize(
            [self.assets(retry_policy=policy)],
            instance=self.instance,
            resources={"metaflow": resource or self.resource()},
            raise_on_error=False,
            tags={BACKEND_TAG: backend},
        )

    # -- what it does, and has done --------------------------------------------------------------

    def fail(self, step: str, times: int = 1) -> None:
        (self.folder / f"fail_{step}").write_text("x\n" * times)

    def hold(self, step: str) -> Path:
        place = self.folder / f"hold_{step}"
        place.touch()
        return place

    @property
    def steps_run(self) -> Counter[str]:
        path = self.folder / "count"
        return Counter(path.read_text().split() if path.exists() else [])

    @property
    def launches(self) -> list[LaunchRecord]:
        files = (self.lake / "_reports" / self.flow.name).glob(f"*/{RECORD}")
        found = [LaunchRecord.model_validate_json(file.read_text()) for file in files]
        return sorted(found, key=lambda record: record.launched)


def made(result: dg.ExecuteInProcessResult) -> list[str]:
    """Assets that a run has materialized, in order."""
    events = result.get_asset_materialization_events()
    return [event.asset_key.to_user_string() for event in events if event.asset_key]


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """What the operator reads of each attempt that failed."""
    events = [
        e for e in result.all_events if e.event_type_value in ("STEP_UP_FOR_RETRY", "STEP_FAILURE")
    ]
    errors = [getattr(event.event_specific_data, "error", None) for event in events]
    return [(e.cause or e).message for e in errors if e is not None]


def undeploy(aws: LocalAws, flow: str) -> None:
    """Who deployed it before, in another test, has a production token that nobody here has."""
    states = aws.client("stepfunctions")
    for machine in states.list_state_machines()["stateMachines"]:
        if machine["name"] == flow:
            states.delete_state_machine(stateMachineArn=machine["stateMachineArn"])
