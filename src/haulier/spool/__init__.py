"""Staged chunks and outcome files."""
