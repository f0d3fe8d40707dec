"""The code location: every dataset of FRAUD_DATASETS, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import dagster as dg

from dagster_metaflow import MetaflowResource, build_external_runs_sensor
from dagster_metaflow.backends.databricks import DatabricksBackend
from dagster_metaflow.backends.step_functions import StepFunctionsBackend
from fraud_assets.assets.landing import landing
from fraud_assets.assets.model_artifact import model_artifact
from fraud_assets.assets.raw_zone import raw_zone
from fraud_assets.assets.scores import scores
from fraud_assets.assets.serving import prediction_log, served_model
from fraud_assets.assets.warehouse import semantic_model, snowflake_metrics
from fraud_assets.automation import automation_sensor
from fraud_assets.checks import store_checks
from fraud_assets.dataset import Dataset, datasets
from fraud_assets.jobs import jobs
from fraud_assets.schedules import schedules
from fraud_assets.sensors.champion import champion_sensor
from fraud_assets.sensors.failures import run_failure_sensor, run_recovery_sensor
from fraud_assets.sensors.health import health_sensor
from fraud_assets.sensors.landing import landing_sensor
from fraud_assets.sensors.retraining import retraining_sensor
from fraud_assets.stores import Stores
from fraud_assets.warehouse import warehouse_resource
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.settings import TRAVELLING, settings

_AT_DEPLOY = ["FRAUD_SCORING_CRON", "LAKEHOUSE_URI", "FRAUD_MODEL_URI", *TRAVELLING]
"""What a state machine of ours holds beside Metaflow's own settings: flows/ read it."""


def definitions(given: Sequence[Dataset], stores: Stores) -> dg.Definitions:
    """Everything of these datasets, in these stores."""
    return dg.Definitions.merge(
        *(_of_dataset(dataset) for dataset in given),
        dg.Definitions(
            sensors=[
                run_failure_sensor(),
                run_recovery_sensor(),
                health_sensor(given),
                _external_runs_sensor(stores),
            ],
            resources={
                "metaflow": MetaflowResource(
                    ledger_root=stores.root,
                    backend=settings().backend,
                    step_functions=StepFunctionsBackend(
                        create_options=(settings().step_functions_options or "").split(),
                        deploy_variables=_AT_DEPLOY,
                    ),
                    databricks=_databricks(),
                    cards_url=settings().cards_url,
                ),
                "stores": stores,
                "warehouse": warehouse_resource(stores),
            },
            # Steps launch Metaflow runs and follow them; processes of their own would only cost.
            executor=dg.in_process_executor,
        ),
    )


def _databricks() -> DatabricksBackend:
    """Where and as whom it runs is said by the environment: docs/databricks.md."""
    return DatabricksBackend(
        requirements=["requirements.txt", "infra/azure/requirements.txt"],
        forwarded=["FRAUD_THREADS", *TRAVELLING],
    )


def _of_dataset(dataset: Dataset) -> dg.Definitions:
    made: list[Callable[[Dataset], dg.AssetsDefinition | dg.SourceAsset | dg.AssetSpec]]
    made = [landing, raw_zone, model_artifact, scores, served_model]
    made += [prediction_log, snowflake_metrics, semantic_model]
    watched = [automation_sensor, champion_sensor, retraining_sensor]
    return dg.Definitions(
        assets=[make(dataset) for make in made],
        asset_checks=store_checks(dataset),
        jobs=jobs(dataset),
        schedules=schedules(dataset),
        sensors=[make(dataset) for make in [*watched, *([landing_sensor] * dataset.lands)]],
    )


def _external_runs_sensor(stores: Stores) -> dg.SensorDefinition:
    """On from the start: it launches nothing, and runs from a shell or a cloud count too."""
    return build_external_runs_sensor(
        "external_runs_sensor",
        ledger_root=stores.root,
        known_assets_only=True,  # the lakehouse may hold datasets that this location leaves out
        default_status=dg.DefaultSensorStatus.RUNNING,
    )


def _of_settings() -> dg.Definitions:
    """What the environment names. A person's mistake there is told without the way to it."""
    try:
        return definitions(datasets(), Stores.of_settings())
    except FraudMlopsError as error:
        raise error.with_traceback(None) from None


defs = _of_settings()
