"""Staged chunks and outcome files: `FolderSpool` keeps them durably, `files` says what stands in them."""

from haulier.spool.folder import FolderSpool

__all__ = ["FolderSpool"]
