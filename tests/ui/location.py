"""The project's own code location, as a file that the test servers load."""

from fraud_assets.definitions import defs as defs
