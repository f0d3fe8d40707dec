"""Claims of its training try a version in the ways in which it will answer."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from api_kit import DATASET, Published

from fraud_mlops.features.preprocessing import Matrix
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.registry.bundle import bundle_version, load_bundle, write_bundle
from fraud_mlops.registry.pointers import promote
from fraud_mlops.serving.champion import ServedModel
from fraud_mlops.serving.layers import Entering, Weighted
from fraud_mlops.serving.loading import CANARIES, load_model

REFERENCE = "reference.parquet"


def test_a_version_is_tried_as_single_claims_are_scored(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Weighted.forward

    def off(layers: Weighted, encoded: np.ndarray) -> tuple[Entering, np.ndarray]:
        entering, logits = right(layers, encoded)
        return entering, logits + np.float32(5)

    monkeypatch.setattr(Weighted, "forward", off)
    served = ServedModel(published.models, DATASET, published.lake)
    assert not served.look()
    assert served.scorer is None
    assert served.refused is not None
    assert "canary claims up to 5 away" in served.refused.reason


def test_a_version_is_tried_as_batches_are_scored(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = FraudModel.matrix_logits

    def off(model: FraudModel, matrix: Matrix) -> np.ndarray:
        return right(model, matrix) + np.float32(5)

    monkeypatch.setattr(FraudModel, "matrix_logits", off)
    served = ServedModel(published.models, DATASET, published.lake)
    assert not served.look()
    assert served.refused is not None
    assert "canary claims up to 5 away" in served.refused.reason


def republished(own: Published, rows: int | None) -> str:
    """The first version with so many claims of its training; None: without the table of them."""
    bundle = load_bundle(own.models, DATASET, own.versions["first"])
    files = {name: data for name, data in bundle.files.items() if name != REFERENCE}
    if rows is not None:
        table, out = pq.read_table(pa.BufferReader(bundle.files[REFERENCE])), io.BytesIO()
        pq.write_table(table.slice(0, rows), out)
        files[REFERENCE] = out.getvalue()
    made = bundle_version(files, bundle.manifest.trained_until)
    named = bundle.manifest.model_copy(update={"version": made, "files": {}})
    write_bundle(own.models, DATASET, made, files, named)
    return made


@pytest.mark.parametrize("rows", [None, 0])
def test_a_version_that_brings_no_claims_is_taken_and_that_is_told(
    own: Published, caplog: pytest.LogCaptureFixture, rows: int | None
) -> None:
    made = republished(own, rows)
    promote(own.models, DATASET, made, expected=own.versions["first"], by="ann", reason="test")
    served = ServedModel(own.models, DATASET, own.lake)
    assert served.look()
    assert f"{made} brings no claims of its training" in caplog.text


@pytest.mark.parametrize(("rows", "tried"), [(1, 1), (33, 33), (200, CANARIES)])
def test_as_many_claims_try_it_as_there_are(own: Published, rows: int, tried: int) -> None:
    assert load_model(own.models, DATASET, republished(own, rows)).canaries == tried
