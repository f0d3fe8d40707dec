"""What is told of a published asset: facts for its page, findings of its checks, figures.

Nothing here knows to whom it is told; `flows/flow_reports.py` brings it to the report ledger.
"""
