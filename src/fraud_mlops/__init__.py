"""Insurance-fraud claims to a scored, validated champion model.

The domain library: claims, features, models, evaluation, drift, lakehouse and registry.
It knows neither Dagster nor Metaflow nor FastAPI; flows and services call it.
"""

__version__ = "0.1.0"

# Metaflow reads this when it builds a code package: remote tasks then carry this library.
METAFLOW_PACKAGE_POLICY = "include"
