"""`python -m fraud_mlops.cli`, where no console script is installed."""

from fraud_mlops.cli import main

main(prog_name="fraud-mlops")
