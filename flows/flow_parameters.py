"""Parameters that flows share, said once."""

from __future__ import annotations

import flow_environment  # noqa: F401 - sets what Metaflow reads when it is imported

# isort: split

from collections.abc import Callable

from metaflow import FlowSpec, Parameter  # noqa: TID253 - this file is part of the flows

from flow_package import Packed
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.lakehouse.addresses import require_root
from fraud_mlops.lakehouse.stores import is_local
from fraud_mlops.settings import settings


def store_of(setting: str) -> Callable[[object], str]:
    """A default that Metaflow asks for when a run is started, or the flow deployed: a store that
    this shell names goes with the run to tasks that do not see the shell, and with a deployment to
    all its runs. Empty for a folder, which is left to the task, and for mistakes, of which the
    first step tells."""

    def known(_context: object) -> str:
        try:
            uri = require_root(getattr(settings(), setting) or "")
        except FraudMlopsError:
            return ""
        return "" if is_local(uri) else uri

    return known


@Packed
class FraudFlow(FlowSpec):  # type: ignore[misc]
    """What every flow takes: of which dataset, where to, on whose behalf, as of when."""

    dataset = Parameter(
        "dataset",
        default="synthetic_claims",
        help="Name of a contract in datasets/, or the path of a contract YAML anywhere.",
    )
    output_uri = Parameter(
        "output-uri",
        type=str,
        default=store_of("lakehouse_uri"),
        required=False,
        help="Root of the lakehouse; LAKEHOUSE_URI, or ./lakehouse, when left out.",
    )
    model_uri = Parameter(
        "model-uri",
        type=str,
        default=store_of("model_uri"),
        required=False,
        help="Root of the model registry; `models` in the lakehouse when left out.",
    )
    launch_id = Parameter(
        "launch-id",
        type=str,
        default=None,
        required=False,
        help="Names the run's reports for whoever launched it; the run id when left out.",
    )
    seed = Parameter(
        "seed",
        type=int,
        default=None,
        required=False,
        help="Of training, bootstrap, and generated claims; 0 to 2147483647.",
    )
    as_of = Parameter(
        "as-of",
        type=str,
        default=None,
        required=False,
        help="The run as of then: labels known later are unknown to it, and claims that came later "
        "are neither read from files (after a sample is drawn) nor learnt from; ISO 8601, UTC.",
    )


class SampleSize:
    """For flows that read the source."""

    sample_size = Parameter(
        "sample-size",
        type=int,
        default=None,
        required=False,
        help="Claims to generate, or to take evenly spaced from the source, into a lakehouse that "
        "holds no more than a sample of it (--output-uri); all when left out.",
    )


class Candidates:
    """For flows that train."""

    candidates = Parameter(
        "candidates", type=int, default=4, help="How many candidates to train, up to 1000."
    )
    candidates_file = Parameter(
        "candidates-file",
        type=str,
        default=None,
        required=False,
        help="YAML list of candidates to train instead of drawn ones.",
    )


class Engine:
    """For flows that build features or scores."""

    engine = Parameter(
        "engine",
        type=str,
        default="auto",
        help="What builds features and scores: local, spark, or auto, which is Spark from "
        "FRAUD_SPARK_ROWS claims on.",
    )


class PartitionRange:
    """For flows that publish partitions."""

    partition_start = Parameter(
        "partition-start",
        type=str,
        default=None,
        required=False,
        help="First partition to publish, named as the contract cuts them: 2024-01, 2024-01-31.",
    )
    partition_end = Parameter(
        "partition-end",
        type=str,
        default=None,
        required=False,
        help="Last partition to publish, included; the first alone when left out.",
    )


class Assets:
    """For flows that publish several assets, of which some may be wanted alone."""

    assets = Parameter(
        "assets",
        type=str,
        default=None,
        required=False,
        help="Assets to publish, with commas between: ml_outputs,metrics; all when left out.",
    )
