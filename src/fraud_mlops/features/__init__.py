"""Features of claims as of their event time, split out of time, and made ready for a network."""
