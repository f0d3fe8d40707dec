"""Addresses are shown everywhere, so that none may hold a secret; and none is repeated."""

from __future__ import annotations

import pytest

from fraud_mlops.fields import refuse_credentials


@pytest.mark.parametrize(
    "address",
    [
        "s3://key:SECRET@bucket/x",
        "s3://AKIA:SEC/RET@bucket/x",
        "https://SECRET@host/x",
        "abfss://lake@account.dfs.core.windows.net/x?sv=1&sig=SECRET",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=SECRET",
        "https://host/x?token=SECRET",
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ValueError, match="password or a signature") as refused:
        refuse_credentials(address)
    assert "SECRET" not in str(refused.value)
    assert "SEC/RET" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "lake/models",
        "/data/user@host:9/lake",
        "s3://bucket/claims@2024/x:y",
        "abfss://lake@account.dfs.core.windows.net/claims",
        "https://host/claims.csv?version=3",
    ],
)
def test_other_addresses_pass(address: str) -> None:
    assert refuse_credentials(address) == address
