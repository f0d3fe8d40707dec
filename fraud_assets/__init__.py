"""The Dagster code location of the fraud stack: assets, checks, jobs, and how they are launched."""
