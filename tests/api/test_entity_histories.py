"""A claim that comes by itself has the entity features that the batch gave it."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from api_kit import Published

from fraud_mlops.contract import EVENT_TIME
from fraud_mlops.serving.entity_state import (
    SLACK,
    publish_entity_state,
    read_entity_state,
    state_schema,
)
from fraud_mlops.serving.histories import EntityHistories


@pytest.fixture(scope="module")
def histories(published: Published) -> EntityHistories:
    contract = published.features.contract
    return EntityHistories(contract, read_entity_state(contract, published.lake))


def asked(histories: EntityHistories, claims: pa.Table) -> np.ndarray:
    moments = claims.column(EVENT_TIME).cast(pa.int64()).to_numpy()
    return histories.features(moments, {e: claims[e].to_pylist() for e in histories.entities})


def test_features_of_recent_claims_are_those_of_the_batch_to_the_bit(
    published: Published, histories: EntityHistories
) -> None:
    claims = published.recent(days=SLACK.days)
    assert claims.num_rows > 400
    found = asked(histories, claims)
    for place, name in enumerate(histories.names):
        expected = claims[name].to_numpy(zero_copy_only=False)
        np.testing.assert_array_equal(found[:, place], expected, err_msg=name)


def test_a_claim_has_the_same_features_alone_and_among_others(
    published: Published, histories: EntityHistories
) -> None:
    claims = published.recent(days=3)
    together = asked(histories, claims)
    for i in range(claims.num_rows):
        np.testing.assert_array_equal(asked(histories, claims.slice(i, 1))[0], together[i])


def test_an_entity_that_nobody_knows_has_an_empty_history_and_none_has_no_features(
    published: Published, histories: EntityHistories
) -> None:
    moments = published.recent(1).column(EVENT_TIME).cast(pa.int64()).to_numpy()[:1]
    values = {"policyholder": ["nobody"], "provider": [None], "agent": ["nobody either"]}
    found = dict(zip(histories.names, histories.features(moments, values)[0], strict=True))
    assert found["policyholder_claims_30d"] == found["policyholder_amount_sum_7d"] == 0
    assert found["policyholder_fraud_lift_30d"] == 1
    assert np.isnan(found["policyholder_days_since_last"])
    assert all(np.isnan(v) for k, v in found.items() if k.startswith("provider_"))


def test_the_state_holds_the_longest_window_and_no_name_of_a_claim(published: Published) -> None:
    contract = published.features.contract
    state = read_entity_state(contract, published.lake)
    assert state is not None
    assert state.claims.schema.names == state_schema(contract).names
    assert "claim_id" not in state.claims.schema.names
    assert state.facts.exact_from == state.facts.until - SLACK
    begins = state.facts.exact_from - timedelta(days=30)
    for row in state.claims.to_pylist():
        assert row["event_time"] >= begins or row["label_time"] >= begins
    assert state.facts.base_labels > 1000 > state.facts.base_frauds > 50


def test_publishing_it_again_changes_nothing(published: Published) -> None:
    contract = published.features.contract
    raw = published.lake.partitions("raw", contract.name)
    before = read_entity_state(contract, published.lake)
    assert before is not None
    again = publish_entity_state(
        contract, published.lake, raw, as_of=contract.source.end, run="Test/again"
    )
    assert again is not None
    assert again.data_version == before.data_version


def test_without_a_state_every_entity_is_new(published: Published) -> None:
    histories = EntityHistories(published.features.contract, None)
    claims = published.recent(days=2)
    found = asked(histories, claims)
    counts = [i for i, name in enumerate(histories.names) if "_claims_" in name]
    assert (found[:, counts] == 0).all()
