"""The judges of `make force`: a proxy that tells the truth, and a verdict that can fail."""

import contextlib
import http.client
import time
from urllib.parse import urlsplit

import pytest

from haulier.testing.faulty_s3 import FaultyS3
from haulier.testing.force.effectlog import EffectLog
from haulier.testing.force.entry import Entry, Trap
from haulier.testing.force.plan import KINDS, JobPlan, plan_of
from haulier.testing.force.verdict import Verdict, gather
from haulier.testing.force.work import Row, Work
from haulier.testing.jobs import JobReport, ReportRow
from haulier.testing.simulation import crashpoints

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def ask(endpoint, method, target, body=b""):
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=5)
    try:
        connection.request(method, target, body or None, {"authorization": "any", "x-amz-content-sha256": EMPTY})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# -- the proxy


def test_the_log_tells_what_the_store_answered_and_what_its_caller_got():
    with FaultyS3() as store, EffectLog(store.endpoint) as log:
        assert ask(log.endpoint, "PUT", "/src/a%20b")[0] == 200
        assert ask(log.endpoint, "GET", "/src/missing")[0] == 404
        entry, missing = log.entries
    assert (entry.bucket, entry.key, entry.changes, entry.ok, entry.fate) == ("src", b"a b", True, True, "answered")
    assert (missing.changes, missing.status, missing.fate) == (False, 404, "answered")
    assert store.effects == [("put", "src", b"a b")]


@pytest.mark.parametrize(("stage", "fate", "effects"), [("sent", "dropped", 0), ("carried out", "withheld", 1)])
def test_a_trap_springs_before_or_after_the_effect_and_the_caller_gets_no_answer(stage, fate, effects):
    sprung = []
    with FaultyS3() as store, EffectLog(store.endpoint) as log:
        log.trap = Trap(lambda entry: entry.changes, 2, stage, sprung.append)
        assert ask(log.endpoint, "PUT", "/src/first")[0] == 200
        with pytest.raises(OSError):  # noqa: PT011 - a reset or an early end, as the machine has it
            ask(log.endpoint, "PUT", "/src/second")
        assert ask(log.endpoint, "PUT", "/src/third")[0] == 200
        assert [entry.key for entry in sprung] == [b"second"]
        assert [entry.fate for entry in log.entries] == ["answered", fate, "answered"]
    assert len(store.effects) == 2 + effects


def test_cuts_leave_their_trace_in_the_log():
    with FaultyS3() as store, EffectLog(store.endpoint) as log:
        log.cut("seed", 1.0)
        for number in range(12):
            with contextlib.suppress(OSError, http.client.HTTPException):
                ask(log.endpoint, "PUT", f"/src/{number}")
        assert log.drained()
        done = [("put", "src", entry.key) for entry in log.entries if entry.ok]
        fates = {entry.fate for entry in log.entries}
    assert fates == {"dropped", "withheld"}
    assert store.effects == done


def test_a_store_that_is_away_refuses_connections_by_way_of_the_proxy_too():
    with FaultyS3() as store:
        log = EffectLog(store.endpoint)
    with log:
        with pytest.raises(OSError):  # noqa: PT011 - the first one finds out
            ask(log.endpoint, "GET", "/src/a")
        end = time.monotonic() + 5
        while True:
            try:
                ask(log.endpoint, "GET", "/src/a")
            except ConnectionRefusedError:
                break
            except OSError:
                assert time.monotonic() < end


# -- what a seed decides


def test_every_place_and_every_kind_of_job_has_its_turn():
    plans = [plan_of(seed) for seed in range(len(crashpoints.ALL))]
    assert [plan.place.name for plan in plans] == list(crashpoints.ALL)
    assert {job.kind for plan in plans for job in plan.jobs} == set(KINDS)
    assert plans == [plan_of(seed) for seed in range(len(crashpoints.ALL))]


# -- the verdict


class Known(Work):
    """Three rows, the last of which has no object; the store's content is as it should be."""

    def __init__(self, kind="copy"):
        self.plan = JobPlan(kind=kind, rows=3, missing=1)
        self.id = "1" * 36
        self.bucket = "src"
        self.target_bucket = "dst" if kind == "copy" else "src"
        self.foreign = {}
        self.rows = [Row(number, f"k{number}", None, number == 2) for number in range(3)]
        self._by_object = {(self._changed_key(row), None): row for row in self.rows}

    def content_problems(self, outcomes):
        return iter(())


def entry(row, status=200, *, at=0.0, pid=1, method="PUT", fate="answered", **other):
    about = {"bucket": "dst", "key": f"copied/k{row}".encode(), "query": {}, "headers": {}, "body": b""} | other
    return Entry(at=at, pid=pid, method=method, fate=fate, status=status, **about)


GOOD = [entry(0), entry(1), entry(2, 404)]
OUTCOMES = {0: (None, False), 1: (None, False), 2: ("NoSuchKey", False)}


def judged(entries, outcomes, *, work=None, report=None, **job):
    work = work or Known()
    lines = report or [
        ReportRow("src", f"k{row}", "", code is None, code or "", "", "") for row, (code, _) in sorted(outcomes.items())
    ]
    failed = [code for code, _ in outcomes.values() if code is not None]
    summary = {"TotalNumberOfTasks": 3, "NumberOfTasksSucceeded": len(outcomes) - len(failed), "NumberOfTasksFailed": len(failed)}
    summary["FailuresByCode"] = {code: failed.count(code) for code in failed}
    told = {"Status": "Complete", "ProgressSummary": summary} | job
    return Verdict(work, told, JobReport("", {}, lines, []), gather(work, entries), outcomes)


def test_a_job_that_went_well_has_no_problems():
    verdict = judged(GOOD, OUTCOMES)
    assert verdict.problems == []
    assert (verdict.tally.rows, verdict.tally.tries, verdict.tally.repeats) == (3, 3, 0)


def test_what_was_done_again_after_a_crash_and_a_look_is_no_problem_when_it_is_in_doubt():
    lost, look = entry(0, 0, fate="no answer"), entry(0, 404, at=1, pid=2, method="HEAD")
    again = [lost, look, entry(0, at=2, pid=2), *GOOD[1:]]
    assert judged(again, OUTCOMES | {0: (None, True)}).problems == []


BROKEN = {
    "twice in the report": {"report": [ReportRow("src", "k0", "", True, "", "", "")] * 2},
    "a row of the report is none of the manifest": {"report": [ReportRow("src", "k9", "", True, "", "", "")]},
    "not in the report": {"report": [ReportRow("src", "k0", "", True, "", "", "")]},
    "report and outcome files differ": {"report": [ReportRow("src", f"k{n}", "", True, "", "", "") for n in range(3)]},
    "counters": {"ProgressSummary": {"TotalNumberOfTasks": 3, "NumberOfTasksSucceeded": 3, "NumberOfTasksFailed": 0}},
    "reported as succeeded without an effect": {"entries": GOOD[1:]},
    "done, and not in the report": {"outcomes": {1: (None, False), 2: ("NoSuchKey", False)}},
    "done, and reported as AccessDenied": {"outcomes": OUTCOMES | {0: ("AccessDenied", False)}},
    "failed with InternalError, though nothing is wrong": {
        "entries": [entry(0, 500), *GOOD[1:]],
        "outcomes": OUTCOMES | {0: ("InternalError", False)},
    },
    "reported as changed, though nobody": {"outcomes": OUTCOMES | {0: ("ChangedSinceAttempt", True)}},
    "not marked as in doubt": {"entries": [entry(0, 0, fate="dropped"), entry(0, at=1, pid=2), *GOOD[1:]]},
    "repeated by the process that knew": {"entries": [entry(0), entry(0, at=1), *GOOD[1:]]},
    "repeated without a look": {"entries": [entry(0, 0, fate="no answer"), entry(0, at=1), *GOOD[1:]]},
    "done twice": {"entries": [entry(0), entry(0, at=1, pid=2), *GOOD[1:]]},
}


@pytest.mark.parametrize("what", BROKEN)
def test_each_broken_promise_is_told_in_words(what):
    case = {"entries": GOOD, "outcomes": OUTCOMES} | BROKEN[what]
    problems = judged(case.pop("entries"), case.pop("outcomes"), **case).problems
    assert any(what in problem for problem in problems), problems


def test_an_object_that_is_in_a_repeated_batch_is_told():
    batch = {"bucket": "src", "key": b"", "query": {"delete": ""}, "body": b"<Delete><Object><Key>k0</Key></Object></Delete>"}
    lost = entry(0, 0, method="POST", fate="no answer", **batch)
    entries = [lost, entry(0, at=1, pid=2, method="POST", answer=b"<DeleteResult/>", **batch)]
    outcomes = {0: (None, True)}
    problems = judged(entries, outcomes, work=Known("delete"), Status="Cancelled").problems
    assert any("repeated in a batch" in problem for problem in problems), problems
