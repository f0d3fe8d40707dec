"""The resource that launches flows: `yield from metaflow.run(context, FLOW).stream()`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from dagster import AssetExecutionContext, ConfigurableResource, Failure
from pydantic import Field

from dagster_metaflow.backends.batch import BatchBackend
from dagster_metaflow.backends.databricks import DatabricksBackend
from dagster_metaflow.backends.local import LocalBackend
from dagster_metaflow.backends.protocol import Backend
from dagster_metaflow.backends.step_functions import StepFunctionsBackend
from dagster_metaflow.flow import MetaflowFlow
from dagster_metaflow.inputs import input_versions
from dagster_metaflow.invocation import MetaflowInvocation
from dagster_metaflow.launching import Launcher
from dagster_metaflow.ledger import Ledger
from dagster_metaflow.selection import Selection

BACKEND_TAG = "dagster_metaflow/backend"
"""Tag of a Dagster run that chooses its backend, before the resource's own choice."""


class MetaflowResource(ConfigurableResource):  # type: ignore[type-arg]
    """Launches Metaflow runs and turns what they report into Dagster's events."""

    ledger_root: str = Field(
        description="Root under which flows write their reports (`<root>/_reports/...`): a folder, "
        "or any URI that fsspec opens. Passed to flows that have such a parameter."
    )
    backend: str = Field(
        default="local",
        description="Where runs run: `local`, `batch`, `step_functions` or `databricks`; the tag "
        f"`{BACKEND_TAG}` of a Dagster run goes before it.",
    )
    local: LocalBackend = Field(
        default=LocalBackend(), description="Settings of the backend `local`."
    )
    batch: BatchBackend = Field(
        default=BatchBackend(),
        description="Settings of the backend `batch`: this machine schedules, AWS Batch runs.",
    )
    step_functions: StepFunctionsBackend = Field(
        default=StepFunctionsBackend(),
        description="Settings of the backend `step_functions`: AWS schedules and runs.",
    )
    databricks: DatabricksBackend = Field(
        default=DatabricksBackend(),
        description="Settings of the backend `databricks`: one run of a workspace, of code in Git.",
    )
    forward_termination: bool = Field(
        default=True,
        description="End the Metaflow run when Dagster's is terminated. When false it goes on, and "
        "the next execution of the same assets adopts it.",
    )
    poll_seconds: float = Field(
        default=0.25,
        gt=0,
        description="Time between two looks at the run, its log and reports; reports on a store "
        "that is no folder are looked at more rarely while none come, up to 2 s apart.",
    )
    timeout_seconds: float | None = Field(
        default=None, gt=0, description="Longest time a run may take before it is ended."
    )
    adopt_within_hours: float = Field(
        default=24.0,
        ge=0,
        description="Age up to which a run that ended while Dagster had lost sight of it is taken "
        "or resumed by the next execution of the same assets; one that still goes on always is.",
    )
    cards_url: str | None = Field(
        default=None,
        description="Address under which browsers find `<ledger_root>/_reports`, where somebody "
        "serves it: cards are links then, and paths without it.",
    )
    state_folder: str | None = Field(
        default=None,
        description="Folder for logs of local runs; below the Dagster instance's own by default.",
    )

    def backends(self) -> Mapping[str, Backend]:
        """By name. Override it to add one of your own."""
        return {
            "local": self.local,
            "batch": self.batch,
            "step_functions": self.step_functions,
            "databricks": self.databricks,
        }

    def run(
        self,
        context: AssetExecutionContext,
        flow: MetaflowFlow,
        parameters: Mapping[str, Any] | None = None,
    ) -> MetaflowInvocation:
        """Prepares the run that materializes what the context has selected.

        parameters: by Python name; they go before run config, which goes before the flow's fixed
        ones. Nothing is started before `stream()` is read. Raises Failure for a backend that the
        resource does not have.
        """
        selection = Selection.of(context, flow)
        given = {**flow.fixed, **selection.config, **(parameters or {}), **selection.parameters}
        name = context.run.tags.get(BACKEND_TAG, self.backend)
        launcher = Launcher(
            flow=flow,
            ledger=Ledger(_absolute(self.ledger_root)),
            backend=self._backend(name),
            backend_name=name,
            instance=context.instance,
            run=context.run,
            parameters=flow.options(given),
            assets=sorted(key.to_user_string() for key in selection.assets),
            input_versions=input_versions(context, selection),
            tags=selection.tags,
            folder=self._folder(context),
            environment={},
            adopt_within=timedelta(hours=self.adopt_within_hours),
            log=context.log,
        )
        return MetaflowInvocation(
            context,
            launcher,
            selection,
            forward_termination=self.forward_termination,
            poll_seconds=self.poll_seconds,
            timeout_seconds=self.timeout_seconds,
            cards_url=self.cards_url,
        )

    def _backend(self, name: str) -> Backend:
        known = self.backends()
        if name not in known:
            raise Failure(
                f"There is no backend {name!r}; this resource has {', '.join(sorted(known))}. "
                f"Correct the tag {BACKEND_TAG} of the run, or the resource's `backend`.",
                allow_retries=False,
            )
        return known[name]

    def _folder(self, context: AssetExecutionContext) -> Path:
        base = self.state_folder or context.instance.storage_directory()
        return Path(base).expanduser().absolute() / "metaflow_launches"


def _absolute(root: str) -> str:
    """Runs may start in another folder than Dagster's."""
    return root if "://" in root else str(Path(root).expanduser().absolute())
