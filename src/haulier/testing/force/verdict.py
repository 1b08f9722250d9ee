"""One job's report, effects, outcome files and content held against each other, row by row."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec

from haulier.core.lifecycle import JobStatus
from haulier.testing.force.entry import Entry
from haulier.testing.force.work import DOUBLE_MARKER, Row, Work
from haulier.testing.jobs import JobReport

SAMPLES: Final = 3
LOOKED_UP: Final = ("OutcomeUnknown", "ChangedSinceAttempt")
"""Codes of rows that may have been done all the same."""
_REFUSED: Final = frozenset({400, 401, 403, 404, 405, 409, 411, 412, 416, 429, 503})
"""Answers that say that nothing was done."""


class Try(msgspec.Struct, frozen=True):
    """A request that was to carry a row out."""

    entry: Entry
    done: bool
    """The store says that it was."""

    @property
    def may_have_been_done(self) -> bool:
        """Whether nobody can rule it out."""
        return self.entry.fate != "dropped" and self.entry.status not in _REFUSED


class Evidence(msgspec.Struct, frozen=True):
    """What the effect log has about a job."""

    tries: Mapping[int, Sequence[Try]]
    """By row, in order."""
    looks: Mapping[int, Sequence[Entry]]


def gather(work: Work, entries: Sequence[Entry]) -> Evidence:
    """Sort the log by row."""
    tries: dict[int, list[Try]] = defaultdict(list)
    looks: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        for row, done in work.tries_of(entry):
            tries[row.number].append(Try(entry, done))
        looked = work.looked_at(entry)
        if looked is not None:
            looks[looked.number].append(entry)
    return Evidence(tries, looks)


class Tally(msgspec.Struct):
    """What came up, over all jobs."""

    rows: int = 0
    tries: int = 0
    repeats: int = 0
    """Tries beyond a row's first."""
    in_doubt: int = 0
    changed: int = 0
    unknown: int = 0
    foreign: int = 0
    half_done: int = 0
    """Rows of which the store, killed while it worked on them, had made a delete marker and showed the object all the same."""

    def add(self, other: "Tally") -> None:
        """Sum up."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Verdict:
    """See above; `problems` says in words what does not agree."""

    def __init__(
        self,
        work: Work,
        job: Mapping[str, Any],
        report: JobReport | None,
        evidence: Evidence,
        outcomes: Mapping[int, tuple[str | None, bool]],
    ) -> None:
        """`job` is boto3's description of the job, which has ended; `outcomes` are those of the files: code, whether in doubt."""
        self._work = work
        self._job = job
        self._report = report
        self._evidence = evidence
        self._outcomes = outcomes
        self.tally = Tally()
        self.notes: list[str] = []
        """What became of rows whose fate nobody could find out: no fault, but worth a look."""
        grouped: dict[str, list[str]] = defaultdict(list)
        for what, detail in (*self._of_report(), *self._of_counters(), *self._of_rows(), *self._of_content()):
            grouped[what].append(detail)
        self.problems = [
            f"{work.plan.kind} {work.id[:8]}: {what}: {'; '.join(details[:SAMPLES])}"
            + (f"; and {len(details) - SAMPLES} more" if len(details) > SAMPLES else "")
            for what, details in grouped.items()
        ]

    def _of_report(self) -> Iterator[tuple[str, str]]:
        if self._report is None:
            if self._outcomes or self._job["Status"] == JobStatus.COMPLETE:
                yield "report", "there is none"
            return  # a job that was cancelled before its first task has none
        wanted = {(row.key, row.version or ""): row for row in self._work.rows}
        seen: dict[int, str | None] = {}
        for line in self._report.rows:
            row = wanted.get((line.key, line.version))
            if row is None:
                yield "a row of the report is none of the manifest", f"{line.key} {line.version}"
            elif row.number in seen:
                yield "twice in the report", f"row {row.number}"
            else:
                seen[row.number] = None if line.succeeded else line.code
        if self._job["Status"] == JobStatus.COMPLETE and len(seen) != len(wanted):
            yield "not in the report", f"{len(wanted) - len(seen)} rows"
        for number in sorted(seen.keys() | self._outcomes.keys()):
            told, kept = seen.get(number, "no row"), self._outcomes.get(number, ("no outcome", False))[0]
            if told != kept:
                yield "report and outcome files differ", f"row {number}: {told} and {kept}"

    def _of_content(self) -> Iterator[tuple[str, str]]:
        for number, problem in self._work.content_problems({row: code for row, (code, _) in self._outcomes.items()}):
            if number is None:
                yield "content", problem
            else:
                tries, looks = self._evidence.tries.get(number, ()), self._evidence.looks.get(number, ())
                if problem.startswith(DOUBLE_MARKER) and _half_done(tries, looks):
                    self.tally.half_done += 1
                    continue
                yield "content", f"{problem}: {_story(f'row {number}', tries, looks)}"

    def _of_counters(self) -> Iterator[tuple[str, str]]:
        summary = self._job["ProgressSummary"]
        failed = sum(code is not None for code, _ in self._outcomes.values())
        counted = (summary["NumberOfTasksSucceeded"], summary["NumberOfTasksFailed"])
        if counted != (len(self._outcomes) - failed, failed):
            yield "counters", f"{counted} succeeded and failed; by the outcome files {len(self._outcomes) - failed} and {failed}"
        if summary["TotalNumberOfTasks"] != len(self._work.rows):
            yield "counters", f"{summary['TotalNumberOfTasks']} in all, of {len(self._work.rows)}"
        codes = Counter(code for code, _ in self._outcomes.values() if code is not None)
        if dict(codes) != summary.get("FailuresByCode", {}):
            yield "counters", f"failures {summary.get('FailuresByCode')}; by the outcome files {dict(codes)}"

    def _of_rows(self) -> Iterator[tuple[str, str]]:
        tally = self.tally
        tally.foreign += len(self._work.foreign)
        for row in self._work.rows:
            tries, looks = self._evidence.tries.get(row.number, ()), self._evidence.looks.get(row.number, ())
            outcome = self._outcomes.get(row.number)
            tally.rows += 1
            tally.tries += len(tries)
            tally.repeats += max(0, len(tries) - 1)
            if outcome is not None:
                tally.in_doubt += outcome[1]
                tally.changed += outcome[0] == "ChangedSinceAttempt"
                if outcome[0] == "OutcomeUnknown":
                    tally.unknown += 1
                    self._note(row, tries, looks)
            yield from self._of_outcome(row, tries, looks, outcome)
            yield from self._of_repeats(row, tries, looks, in_doubt=outcome is None or outcome[1])

    def _note(self, row: Row, tries: Sequence[Try], looks: Sequence[Entry]) -> None:
        if len(self.notes) < SAMPLES and self._report is not None:
            said = next((line.message for line in self._report.rows if line.key == row.key), "")
            self.notes.append(f"{self._work.plan.kind}: {said}: {_story(f'row {row.number}', tries, looks)}")

    def _of_outcome(
        self, row: Row, tries: Sequence[Try], looks: Sequence[Entry], outcome: tuple[str | None, bool] | None
    ) -> Iterator[tuple[str, str]]:
        done = next((each for each in tries if each.done), None)
        name = (
            f"row {row.number}{' (missing)' if row.missing else ''}{' (rewritten)' if row.number in self._work.foreign else ''}"
        )
        if outcome is None:
            if done is not None:
                yield "done, and not in the report", _story(name, tries, looks)
            return
        code = outcome[0]
        gone = row.missing and self._work.deletes and any(look.status == 404 for look in looks)
        if code is None and done is None and not gone:
            unsure = next((each for each in tries if each.may_have_been_done), None)
            if unsure is None or not any(look.at > unsure.entry.at for look in looks):
                yield "reported as succeeded without an effect or a look that explains it", _story(name, tries, looks)
        if code is not None and code not in LOOKED_UP:
            if done is not None:
                yield f"done, and reported as {code}", _story(name, tries, looks)
            elif not row.missing:
                yield f"failed with {code}, though nothing is wrong with its object", _story(name, tries, looks)
        if code == "ChangedSinceAttempt" and row.number not in self._work.foreign:
            yield "reported as changed, though nobody has changed it", _story(name, tries, looks)

    def _of_repeats(self, row: Row, tries: Sequence[Try], looks: Sequence[Entry], *, in_doubt: bool) -> Iterator[tuple[str, str]]:
        name = f"row {row.number}"
        if len({each.entry.pid for each in tries if each.entry.pid}) > 1 and not in_doubt:
            yield "tried by several processes, and not marked as in doubt", _story(name, tries, looks)
        for before, after in pairwise(tries):
            mine = before.entry.pid == after.entry.pid != 0
            if mine and before.done and before.entry.fate == "answered" and not in_doubt:
                # In doubt it may be: a pause drops a success that is still being read back.
                yield "repeated by the process that knew it was done", _story(name, tries, looks)
            if not self._work.may_repeat and before.may_have_been_done:
                if after.entry.method == "POST":
                    yield "repeated in a batch", _story(name, tries, looks)
                elif not any(before.entry.at < look.at < after.entry.at for look in looks):
                    yield "repeated without a look at its object", _story(name, tries, looks)
        if not self._work.may_repeat and sum(each.done for each in tries) > 1:
            yield "done twice", _story(name, tries, looks)


def _half_done(tries: Sequence[Try], looks: Sequence[Entry]) -> bool:
    """Whether the store died over the row, and then showed the object as if nothing had been done to it."""
    died = next((each.entry.at for each in tries if each.entry.fate == "no answer"), None)
    return died is not None and any(look.at > died and look.status == 200 for look in looks)


def _story(name: str, tries: Sequence[Try], looks: Sequence[Entry]) -> str:
    """What the log has of a row, in order."""
    entries = sorted({id(each): each for each in (*(each.entry for each in tries), *looks)}.values(), key=lambda each: each.at)
    began = entries[0].at if entries else 0.0
    told = [
        f"{each.method} by {each.pid} after {each.at - began:.2f} s {each.fate} {each.status or ''}".rstrip() for each in entries
    ]
    return f"{name} [{', '.join(told) or 'never sent'}]"
