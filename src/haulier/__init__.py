"""Haulier runs batch operations on object storage: one operation, done durably to every object that a manifest names."""

import importlib
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`boto3_client`, see `haulier.boto`; imported when first asked for, for the data plane must never load boto3."""
    if name == "boto3_client":
        return importlib.import_module("haulier.boto").boto3_client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
