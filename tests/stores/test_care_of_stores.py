"""Partitions on a store are looked after there: verified, cut again, read in part, let go."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fault_proxy import Proxy
from store_servers import CONTAINER, adls_uri
from test_same_on_every_store import claims, put

from fraud_mlops.errors import ReplacedError
from fraud_mlops.lakehouse.partitions import Lakehouse
from fraud_mlops.lakehouse.stores import list_files, read_bytes, write_bytes
from fraud_mlops.maintenance.expiry import old_partitions, remove_partition
from fraud_mlops.maintenance.partitions import compact_zone, verify

MONTHS = ("2024-01", "2024-02", "2024-03")
on_stores = pytest.mark.parametrize("root", ["local", "s3", "adls"], indirect=True)


def poor(content: bytes) -> bytes:
    """The same rows and metadata, in row groups of ten."""
    table, out = pq.read_table(io.BytesIO(content)), io.BytesIO()
    stored = pq.ParquetFile(io.BytesIO(content)).metadata.metadata
    with pq.ParquetWriter(out, table.schema, compression="zstd") as writer:
        writer.write_table(table, row_group_size=10)
        writer.add_key_value_metadata({k: v for k, v in stored.items() if k != b"ARROW:schema"})
    return out.getvalue()


@on_stores
def test_partitions_are_verified_cut_again_and_let_go(root: str) -> None:
    lake = Lakehouse(root)
    _, february, march = (put(root, claims(100), month) for month in MONTHS)
    write_bytes(february.uri, poor(read_bytes(february.uri)))
    write_bytes(march.uri, read_bytes(march.uri)[:-30])
    wrong = {one.listed.value: one.wrong for one in verify(lake, "raw", "motor")}
    assert "does not match its data version" in str(wrong["2024-02"])
    assert "damaged or truncated" in str(wrong["2024-03"])

    for dry in (True, False):
        before = read_bytes(february.uri)
        done = {cut.listed.value: cut for cut in compact_zone(lake, "raw", "motor", dry=dry)}
        assert done["2024-02"].groups == 10
        assert "damaged" in str(done["2024-03"].wrong)
        assert (read_bytes(february.uri) == before) is dry
    again = lake.partition("raw", "motor", "month", "2024-02")
    lake.verify(again)
    assert lake.read([again]).equals(claims(100))

    old = old_partitions(lake, "raw", "motor", datetime(2024, 3, 1, tzinfo=UTC))
    assert [one.value for one in old] == ["2024-01", "2024-02"]
    put(root, claims(50), "2024-01")  # a run writes it anew meanwhile
    with pytest.raises(ReplacedError, match="it stays"):
        remove_partition(old[0])
    old = old_partitions(lake, "raw", "motor", datetime(2024, 3, 1, tzinfo=UTC))
    for one in [*old, old[0]]:
        remove_partition(one)
    assert [file.path for file in list_files(root)] == ["raw/motor/month=2024-03/part-0.parquet"]


@pytest.mark.parametrize("store", ["s3", "adls"])
def test_readers_fetch_no_more_than_they_ask_for(
    store: str, request: pytest.FixtureRequest
) -> None:
    """400,000 rows in four row groups; most of each row is noise."""
    network: Proxy = request.getfixturevalue(f"failing_{store}")
    root = adls_uri("in-part") if store == "adls" else f"s3://{CONTAINER}/in-part"
    lake, table = Lakehouse(root), claims(400_000)
    partition = put(root, table)

    def fetched(**asked: object) -> tuple[float, pa.Table]:
        """Share of the object, and what came."""
        network.sent = 0
        found = list(lake.batches([partition], **asked))  # type: ignore[arg-type]
        return network.sent / partition.bytes, pa.Table.from_batches(found)

    share, found = fetched()
    assert found.equals(table)
    assert 1 <= share < 1.05
    share, found = fetched(columns=["amount"])
    assert found.equals(table.select(["amount"]))
    assert share < 0.15
    share, found = fetched(where=[("amount", ">=", 399_990.0)])
    assert found.num_rows == 10
    assert share < 0.10
    share, found = fetched(columns=["claim_id"], where=[("amount", ">=", 399_990.0)])
    assert found["claim_id"].to_pylist() == [f"c{i}" for i in range(399_990, 400_000)]
    assert share < 0.02
