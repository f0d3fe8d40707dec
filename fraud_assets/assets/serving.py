"""What others make of the assets: seen here, made elsewhere."""

# No `from __future__ import annotations`: Dagster reads the types of context and resources.

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from dagster_metaflow.data_versions import DATA_VERSION_TAG
from fraud_assets.assets.specs import SERVING, asset_spec, observable
from fraud_assets.dataset import MODEL_ARTIFACT, PREDICTION_LOG, SERVED_MODEL, Dataset
from fraud_assets.stores import Stores
from fraud_mlops.errors import FraudMlopsError
from fraud_mlops.registry.pointers import read_pointer
from fraud_mlops.reporting.served import log_facts, served_metrics
from fraud_mlops.serving.logged import latest_answer

Measured = tuple[str, dict[str, float]]
"""The newest partition of which answers were measured, and its figures."""
Seen = tuple[str, dict[str, Any]]
"""The data version of an asset, and what is told of it."""

_SERVED = """The champion, as the scoring API has loaded it.

The API looks at the champion pointer and loads a new one by itself; nothing is materialized
here. An observation says which version the latest answer of the prediction log is of, and which
one leads by now; `store_checks_job` makes one."""


def served_model(dataset: Dataset) -> dg.AssetsDefinition:
    """The model behind the API."""
    spec = asset_spec(
        dataset,
        SERVED_MODEL,
        group=SERVING,
        kinds={"fastapi"},
        description=_SERVED,
        deps=[dataset.key(MODEL_ARTIFACT)],
    )

    def observe(stores: Stores) -> Iterator[dg.ObserveResult]:
        with _in_words():
            version, told = _served(dataset, stores)
        yield dg.ObserveResult(
            asset_key=dataset.key(SERVED_MODEL), data_version=dg.DataVersion(version), metadata=told
        )

    return observable(f"{dataset.name}__observe_served_model", spec, observe)


def _served(dataset: Dataset, stores: Stores) -> Seen:
    pointer = read_pointer(stores.models, dataset.name, "champion")
    at, version = latest_answer(stores.lakehouse, dataset.name) or (None, "none")
    told = {
        "model_version": version,
        "answered_at": at.isoformat(timespec="seconds") if at else "never",
        "champion": pointer.version if pointer else "none",
    }
    return version, told


_LOGGED = """Every score that the API has given: version, decision, a hash of the features.

Servers write it as they score, `prediction_log/<dataset>/day=<day>/*.parquet`; nothing is
materialized here. An observation says how far it goes, and what the last measuring made of it:
`metrics` sets served scores beside those of training and of the batch, and beside labels.
`store_checks_job` makes one."""


def prediction_log(dataset: Dataset) -> dg.AssetsDefinition:
    """What the served model has decided, and what a challenger would have."""
    spec = asset_spec(
        dataset,
        PREDICTION_LOG,
        group=SERVING,
        kinds={"fastapi", "parquet"},
        description=_LOGGED,
        deps=[dataset.key(SERVED_MODEL)],
    )

    def observe(stores: Stores) -> Iterator[dg.ObserveResult]:
        with _in_words():
            measured = served_metrics(stores.lakehouse, dataset.name)
            version, told = _logged(dataset, stores, measured)
        yield dg.ObserveResult(
            asset_key=dataset.key(PREDICTION_LOG),
            data_version=dg.DataVersion(version),
            metadata=told,
        )

    return observable(f"{dataset.name}__observe_predictions", spec, observe)


def _logged(dataset: Dataset, stores: Stores, measured: Measured | None) -> Seen:
    facts, content = log_facts(stores.lakehouse, dataset.name)
    partition, figures = measured or (None, {})
    told: dict[str, Any] = {f"served_{name}": value for name, value in figures.items()}
    if partition is not None:
        told["served_partition"] = partition
    version = hashlib.sha256(content.encode()).hexdigest()[:32]
    uri = stores.lakehouse.uri(PREDICTION_LOG, dataset.name)
    return version, {"dagster/uri": uri, **facts, **told}


def seen_in_passing(
    dataset: Dataset, stores: Stores, measured: Measured | None
) -> Iterator[dg.AssetObservation]:
    """Both, one after the other, by whoever looks over the stores. measured: of
    `served_metrics`."""
    yield _observation(dataset.key(PREDICTION_LOG), _logged(dataset, stores, measured))
    yield _observation(dataset.key(SERVED_MODEL), _served(dataset, stores))


def _observation(key: dg.AssetKey, seen: Seen) -> dg.AssetObservation:
    version, told = seen
    return dg.AssetObservation(key, metadata=told, tags={DATA_VERSION_TAG: version})


@contextmanager
def _in_words() -> Iterator[None]:
    """A store that cannot be read fails the step, without a trace."""
    try:
        yield
    except FraudMlopsError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
