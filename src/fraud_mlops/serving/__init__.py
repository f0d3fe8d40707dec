"""Scoring one claim at a time: what a server needs, without the server."""
