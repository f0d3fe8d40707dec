"""Whether what the API answers is what training and the batch flow would have led one to expect."""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

import dagster as dg

from fraud_assets.assets.serving import seen_in_passing
from fraud_assets.checks.verdicts import warned
from fraud_assets.dataset import METRICS, PREDICTION_LOG, Dataset
from fraud_assets.stores import Stores
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.monitoring.drift import MIN_ROWS
from fraud_mlops.reporting.served import complaints, served_metrics


def served_as_expected(dataset: Dataset) -> dg.AssetChecksDefinition:
    """Warns: a person looks; nothing is stopped by it.

    What it sees of the log and of the served model it notes: nobody else does by itself.
    """

    @dg.asset_check(
        asset=dataset.key(PREDICTION_LOG),
        name="served_as_expected",
        additional_deps=[dataset.key(METRICS)],
        description="Scores that the API gave are distributed as in training and as the batch's, "
        "and those of the same claims are the same. Of the newest partition that was measured.",
    )
    def check(context: dg.AssetCheckExecutionContext, stores: Stores) -> dg.AssetCheckResult:
        try:
            found = served_metrics(stores.lakehouse, dataset.name)
        except FraudMlopsError as error:
            return warned(str(error))
        wrong = list(complaints(found[1], MIN_ROWS)) if found else []
        try:
            for seen in seen_in_passing(dataset, stores, found):
                context.op_execution_context.log_event(seen)
        except FraudMlopsError as error:  # what the figures say is told all the same
            wrong.append(str(error))
        nothing = None if found else "No partition has been measured on whose claims it answered."
        return dg.AssetCheckResult(
            passed=not wrong,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(wrong) or nothing,
            metadata={"partition": found[0], **found[1]} if found else {},
        )

    return check
