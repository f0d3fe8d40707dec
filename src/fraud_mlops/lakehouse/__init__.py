"""Zones of Parquet partitions on any fsspec store, each replaced atomically."""
