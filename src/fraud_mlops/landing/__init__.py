"""Files as they land: which are there, which are new, which are set aside, what they ask for.

`listing`, `seen` and `aside` know nothing of claims, so that ingest can ask which files are set
aside. What is in a file `fraud_mlops.claims.looking` says, by the reader of claims; `arrivals` is
above both.
"""
