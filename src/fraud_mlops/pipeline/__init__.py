"""What the flows do, step by step, as plain functions from inputs to outputs.

A flow's step calls one of these; so does the benchmark that runs the same work in one
process. Nothing here knows Metaflow.
"""
