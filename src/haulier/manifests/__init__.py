"""Readers of manifest formats: bytes in, staged rows out."""
