"""The asset graph of a dataset: landing -> raw_zone -> model_artifact -> ml_outputs -> metrics."""
