"""What an examination finds."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

CHECKS: Final = {
    "counters": "the job's counters are the sums over chunks, segments and failure classes",
    "coverage": "the chunks cover rows 0 to total - 1, without gap and without overlap",
    "files": "every file that the database names is there and whole, and no other",
    "outcomes": "every row has one outcome at most, and exactly one where the chunk is sealed or the job is Complete",
    "horizons": "horizons and attempts are possible ones",
    "state": "the job's state fits what its chunks say",
    "events": "the job's record is in order and leads to its state",
    "report": "the delivered report is what the recorded outcomes give, byte for byte",
}
"""The checks by name, and what holds where nothing is found."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must not be."""

    check: str
    """One of CHECKS."""
    problem: str
    chunk: int | None = None
    row: int | None = None
    """The first row it is about, as the manifest counts them."""
    file: str | None = None
    """Its name in the spool, or its key in the report's bucket."""


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """An examined job."""

    job: str
    account: str
    status: str
    total: int | None
    succeeded: int
    failed: int
    chunks: int
    checked: Sequence[str]
    """The checks that were made."""
    findings: Sequence[Finding]
    """What is broken; none = all holds."""
    notes: Sequence[str]
    """What is worth knowing, and no fault."""

    @property
    def sound(self) -> bool:
        """Whether nothing is broken."""
        return not self.findings


Findings = Iterator[Finding]
