"""Metaflow runs as Dagster assets. Generic: knows nothing of fraud."""

METAFLOW_PACKAGE_POLICY = "include"
