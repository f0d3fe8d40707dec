"""Claims to try a model with: made up, and scored as they are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from api_kit import DATASET, Published, open_server

from api.examples import typical_claim
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.models.fraud_model import FraudModel
from fraud_mlops.pipeline.reference import read_reference
from fraud_mlops.registry.bundle import load_bundle
from fraud_mlops.serving.champion import ServedModel
from fraud_mlops.serving.examples import CHANGES, common_values, examples_of
from fraud_mlops.serving.request import ClaimReader

NAMES = ["typical", "high-scoring", "low-scoring"]


@pytest.fixture(scope="module")
def model(published: Published) -> FraudModel:
    files = load_bundle(published.models, DATASET, published.versions["first"]).files
    return FraudModel.from_files(files)


def test_each_is_scored_as_it_is_called(published: Published, tmp_path: Path) -> None:
    with open_server(published, tmp_path) as server:
        told = server.get("/v1/model/schema").json()["examples"]
        scored = {each["name"]: server.score(each["claim"]).json() for each in told}
    assert list(scored) == NAMES
    assert [scored[name]["alert"] for name in NAMES] == [False, True, False]
    scores = [scored[name]["score"] for name in NAMES]
    assert sorted(scores) == [scores[2], scores[0], scores[1]]


@pytest.mark.parametrize("version", ["first", "second"])
def test_they_differ_from_the_typical_claim_in_a_few_common_values(
    published: Published, version: str
) -> None:
    files = load_bundle(published.models, DATASET, published.versions[version]).files
    reference = read_reference(files)
    assert reference is not None
    model = FraudModel.from_files(files)
    contract = published.features.contract
    common = common_values(contract, model, reference)
    claims = {e.name: e.claim for e in examples_of(contract, model, common)}
    typical = claims.pop("typical")
    for claim in claims.values():
        histories = claim.pop("features", {})
        changed = {name for name in claim if claim[name] != typical[name]}
        assert len(changed) <= CHANGES
        assert len(histories) <= CHANGES
        for name in changed - set(model.typical.categorical):
            value, common = claim[name], reference.column(name).to_numpy()
            assert (common >= 0.99 * value).mean() > 0.005
            assert (common <= 1.01 * value).mean() > 0.005


def test_none_names_anybody(published: Published, model: FraudModel) -> None:
    """Where a source's column is an entity and a category, its values are people or garages."""
    files = load_bundle(published.models, DATASET, published.versions["first"]).files
    contract = published.features.contract
    entities = contract.entities | {"garage": "region"}
    people = contract.model_copy(update={"entities": entities})
    common = common_values(people, model, read_reference(files))
    assert set(common) == set(model.features) - {"region"}
    made = examples_of(people, model, common)
    assert [example.name for example in made] == NAMES
    for example in made:
        assert {"region", *entities} & set(example.claim) == set()


def test_a_word_that_the_model_does_not_know_is_not_common(
    published: Published, model: FraudModel
) -> None:
    """Where each claim has its own, it is somebody's."""
    files = load_bundle(published.models, DATASET, published.versions["first"]).files
    reference = read_reference(files)
    assert reference is not None
    words = pa.array([f"plate {i}" for i in range(reference.num_rows)])
    place = reference.schema.get_field_index("region")
    common = common_values(
        published.features.contract, model, reference.set_column(place, "region", words)
    )
    assert common["region"] == []
    assert "theft" in common["peril"]


def test_no_value_is_told_of_a_column_that_is_an_entity_too(
    published: Published, model: FraudModel
) -> None:
    contract = published.features.contract
    reader = ClaimReader(contract, model)
    assert next(c for c in reader.columns if c.name == "region").values
    people = contract.model_copy(update={"entities": contract.entities | {"garage": "region"}})
    (column,) = (c for c in ClaimReader(people, model).columns if c.name == "region")
    assert (column.typical, column.values, column.personal) == (None, (), True)
    assert "region" not in typical_claim(ClaimReader(people, model))


def test_without_a_sample_of_the_training_there_is_the_typical_claim(
    published: Published, model: FraudModel
) -> None:
    contract = published.features.contract
    common = common_values(contract, model, None)
    assert common == {}
    (only,) = examples_of(contract, model, common)
    assert only.name == "typical"


def test_the_same_version_has_the_same_ones(published: Published) -> None:
    def told() -> list[dict[str, Any]]:
        served = ServedModel(published.models, DATASET, Lakehouse(str(published.root)))
        served.look()
        assert served.scorer is not None
        return [json.loads(json.dumps(e._asdict())) for e in served.scorer.examples]

    assert told() == told()
