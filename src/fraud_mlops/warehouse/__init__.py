"""The metrics zone in a warehouse, for BI: Snowflake, or a DuckDB file where there is none.

`sync` moves what has changed, exactly once; `parity` holds the warehouse against the lakehouse.
Both know one protocol (`engine`), which `snowflake_engine` and `duckdb_engine` fill.
"""
