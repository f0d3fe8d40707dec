"""Immutable model bundles, and the pointers that say which of them leads."""
