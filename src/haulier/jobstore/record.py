"""Writes and reads the records of jobs: numbers what happened in the order of commits, and keeps each record bounded."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, insert, select

from haulier.core.history import FIRST_KEPT, NEWEST_KEPT, Happening, RecordedEvent
from haulier.jobstore.tables import job_event

Told: TypeAlias = tuple[str, int, str, str | None, str]
"""What makes two happenings the same one: job, moment, kind, user, facts."""

_drop_middle: Final = delete(job_event).where(
    job_event.c.job == bindparam("of_job"),
    job_event.c.sequence > FIRST_KEPT,
    job_event.c.sequence <= bindparam("dropped"),
)
_decoder: Final = msgspec.json.Decoder(dict[str, Any])


def as_told(happening: Happening) -> Told:
    """The happening as the table holds it, without a number."""
    facts = msgspec.json.encode(happening.facts).decode()
    return happening.job, happening.at_ms, str(happening.kind), happening.by, facts


def told_before(connection: Connection, happenings: Iterable[Happening]) -> set[Told]:
    """Which of the happenings are recorded already: a commit may be repeated."""
    found: set[Told] = set()
    for told in dict.fromkeys(as_told(happening) for happening in happenings):
        job, at_ms, kind, by, document = told
        same = select(job_event.c.sequence).where(
            job_event.c.job == job,
            job_event.c.at_ms == at_ms,
            job_event.c.kind == kind,
            job_event.c.by.is_(by) if by is None else job_event.c.by == by,
            job_event.c.document == document,
        )
        if connection.execute(same.limit(1)).first() is not None:
            found.add(told)
    return found


def write(connection: Connection, happenings: Sequence[Happening]) -> None:
    """Add to the records, in this order. The jobs must be there, and written by this transaction alone."""
    if not happenings:
        return
    last = _last_numbers(connection, dict.fromkeys(happening.job for happening in happenings))
    added: list[dict[str, Any]] = []
    for happening in happenings:
        job, at_ms, kind, by, document = as_told(happening)
        last[job] = last.get(job, 0) + 1
        added.append({"job": job, "sequence": last[job], "at_ms": at_ms, "kind": kind, "by": by, "document": document})
    connection.execute(insert(job_event), added)
    long = [{"of_job": job, "dropped": number - NEWEST_KEPT} for job, number in last.items() if number > FIRST_KEPT + NEWEST_KEPT]
    if long:
        connection.execute(_drop_middle, long)


def _last_numbers(connection: Connection, jobs: Iterable[str]) -> dict[str, int]:
    numbers: Mapping[str, int | None] = {
        job: connection.execute(select(func.max(job_event.c.sequence)).where(job_event.c.job == job)).scalar() for job in jobs
    }
    return {job: number for job, number in numbers.items() if number is not None}


def read(connection: Connection, job: str, after: int, limit: int) -> list[RecordedEvent]:
    """The record behind a number."""
    found = (
        select(job_event).where(job_event.c.job == job, job_event.c.sequence > after).order_by(job_event.c.sequence).limit(limit)
    )
    return [
        RecordedEvent(
            job=row.job, sequence=row.sequence, at_ms=row.at_ms, kind=row.kind, by=row.by, facts=_decoder.decode(row.document)
        )
        for row in connection.execute(found)
    ]
