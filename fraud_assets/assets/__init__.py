"""The asset graph of a dataset, from landing to the warehouse and what reads it."""
