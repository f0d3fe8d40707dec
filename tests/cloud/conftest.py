"""One AWS on loopback for all tests here; the contract's assertions tell what they compared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aws import LocalAws, local_aws

pytest.register_assert_rewrite("dagster_metaflow.testing.contract")


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with local_aws(tmp_path_factory.mktemp("aws")) as aws:
        yield aws


@pytest.fixture
def aws(cloud: LocalAws) -> Iterator[LocalAws]:
    """The cloud, in which no call fails and none has been counted."""
    cloud.mend()
    cloud.forget_calls()
    yield cloud
    cloud.mend()
