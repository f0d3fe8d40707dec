"""A version that cannot be loaded, by whatever breaks it: the log hears of it once."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from api_kit import DATASET, Clock, Published

from fraud_mlops.contract import MODEL_SCORE
from fraud_mlops.pipeline.reference import REFERENCE
from fraud_mlops.registry.bundle import bundle_version, load_bundle, write_bundle
from fraud_mlops.registry.pointers import promote
from fraud_mlops.serving.champion import ServedModel


def without_scores(models: str, version: str) -> str:
    """Hashes are in order; nobody has thought of a reference that lacks its scores."""
    bundle = load_bundle(models, DATASET, version)
    claims = io.BytesIO()
    pq.write_table(
        pq.read_table(io.BytesIO(bundle.files[REFERENCE])).drop_columns([MODEL_SCORE]), claims
    )
    files = bundle.files | {REFERENCE: claims.getvalue()}
    made = bundle_version(files, bundle.manifest.trained_until)
    write_bundle(models, DATASET, made, files, bundle.manifest.model_copy(update={"version": made}))
    return made


def test_what_nobody_has_thought_of_is_logged_once_for_each_version_and_each_time_it_comes(
    own: Published, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = own.versions.values()
    broken = [without_scores(own.models, version) for version in (first, second)]
    served, led = ServedModel(own.models, DATASET, own.lake), first
    assert served.look()

    def point_at(version: str) -> None:
        nonlocal led
        promote(own.models, DATASET, version, expected=led, by="test", reason="test")
        led = version

    def told(looks: int) -> int:
        caplog.clear()
        for _ in range(looks):
            assert not served.look()
            assert served.refused
            assert served.refused.version == led
            clock.now += 60
        return sum(record.exc_info is not None for record in caplog.records)

    for version in broken:
        point_at(version)
        assert told(looks=4) == 1
        assert f"of {DATASET} {version}" in caplog.text
    point_at(first)
    assert not served.look()
    point_at(broken[1])
    assert told(looks=1) == 1


@pytest.mark.parametrize(
    ("dataset", "folder", "told"),
    [
        ("syntetic", "models", f"; it has models of {DATASET} (FRAUD_API_DATASET)"),
        (DATASET, "elsewhere", ", where no model is: is it the one that training writes to?"),
        (DATASET, ".", ", where no model is: is it the one that training writes to?"),
        (DATASET, "models", ": its versions are there, and none leads"),
    ],
)
def test_the_log_says_once_where_no_champion_was_found(
    own: Published, caplog: pytest.LogCaptureFixture, dataset: str, folder: str, told: str
) -> None:
    models = str(Path(own.models).parent / folder)
    if told.endswith("none leads"):
        (Path(own.models) / DATASET / "champion.json").unlink()
    served = ServedModel(models, dataset, own.lake)
    for _ in range(3):
        assert not served.look()
    assert served.problem == "no champion yet: train one, or promote a version"
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [f"no champion of {dataset} in {models}{told}"]
