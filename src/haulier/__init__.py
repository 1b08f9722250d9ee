"""Haulier runs batch operations on object storage: one operation, done durably to every object that a manifest names."""

__version__ = "0.1.0"
