"""The scoring API: HTTP around `fraud_mlops.serving`."""
