"""What `python -m fraud_assets.launch` is made of. Talks HTTP and needs no Dagster to run."""
