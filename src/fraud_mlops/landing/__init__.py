"""Files as they land: which are there, which are new, which are set aside.

What is in one is for `fraud_mlops.claims.looking` to say, by the reader of claims; nothing here
knows of claims, so that ingest can ask which files are set aside.
"""
