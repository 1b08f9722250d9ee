"""What the files of an attempt are called. The attempt stands in each name, so none is written twice, and a late one is known."""

import re
from typing import Final

from haulier.core.chunk import Attempt

CHUNKS: Final = "chunks"
SEGMENTS: Final = "segments"
SEALED: Final = "sealed"
_NAME: Final = re.compile(rf"[^/]+/[^/]+/(?:(?:{CHUNKS}|{SEALED})/\d{{8,}}-(\d+)-\d+|{SEGMENTS}/\d{{8,}}-(\d+)-\d+-\d+)\.arrow")


def job_folder(account: str, job: str) -> str:
    """The prefix of a job's files."""
    return f"{account}/{job}/"


def chunk_name(folder: str, index: int, attempt: Attempt) -> str:
    """Rows that a preparation has staged. `folder` is `job_folder`'s."""
    return f"{folder}{CHUNKS}/{index:08d}-{attempt}.arrow"


def segment_name(folder: str, index: int, attempt: Attempt, sequence: int) -> str:
    """Outcomes of a flush."""
    return f"{folder}{SEGMENTS}/{index:08d}-{attempt}-{sequence}.arrow"


def sealed_name(folder: str, index: int, attempt: Attempt) -> str:
    """All outcomes of a chunk."""
    return f"{folder}{SEALED}/{index:08d}-{attempt}.arrow"


def folder_of(name: str) -> str:
    """The job's folder that a file lies in."""
    return name.rsplit("/", 2)[0] + "/"


def epoch_of(name: str) -> int | None:
    """The epoch of the attempt that has written the file; None for a file of another name."""
    match = _NAME.fullmatch(name)
    return None if match is None else int(match[1] or match[2])
