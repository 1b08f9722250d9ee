"""What probes have found, for whom, and for how long."""

import msgspec
import pytest

from haulier.core.placement import Store
from haulier.engine.proofs import KEPT_MS, Proofs, Unproven
from haulier.operations import Copy, PutTagging, spec
from haulier.operations.probing import Finding
from haulier.testing.effects import VirtualClock
from unit.values import a_job

STORE = Store(name="main", endpoint="http://127.0.0.1:1", scratch_bucket="scratch")
COPY = spec(Copy(target_bucket="copies", dialect="s3control"))
PROVEN = Finding("proven", server="S3/1")
LYING = Finding("lying", "the object was gone", "S3/1")
DENIED = Finding("inconclusive", "AccessDenied", "S3/1")


def job(**changes):
    changed = a_job(**changes)
    changed.row_stores = ("main",)
    return changed


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def proofs(clock):
    return Proofs([STORE], clock)


def test_what_is_proven_is_not_tried_again_for_a_day(proofs, clock):
    assert proofs.obstacle(job()) == Unproven("main")
    assert proofs.record(job(), "main", PROVEN) is None
    assert proofs.obstacle(job(id="2")) is None
    clock.advance(KEPT_MS / 1000)
    assert proofs.obstacle(job()) is None
    clock.advance(1)
    assert proofs.obstacle(job()) == Unproven("main")
    begun = job()
    begun.succeeded = 1
    assert proofs.obstacle(begun) is None, "what was proven when it began holds until its end"


def test_a_lie_is_kept_for_a_day_too(proofs, clock):
    failure = proofs.record(job(), "main", LYING)
    assert failure.code == "StoreCannotPutTagging"
    assert "'main'" in failure.reason
    assert "the object was gone" in failure.reason
    assert "no task was run" in failure.reason
    assert proofs.obstacle(job(id="2")) == failure
    clock.advance(KEPT_MS / 1000 + 1)
    assert proofs.obstacle(job()) == Unproven("main")


@pytest.mark.parametrize(
    "changes",
    [
        {"account": "other"},
        {"role": "other"},
        {"operation": spec(PutTagging(tags={"other": "tags"}))},
        {"operation": COPY},
    ],
)
@pytest.mark.parametrize("finding", [PROVEN, LYING])
def test_a_finding_is_of_one_role_and_one_operation_with_its_options(proofs, changes, finding):
    proofs.record(job(), "main", finding)
    assert proofs.obstacle(job(**changes)) == Unproven("main")


def test_what_a_role_may_not_try_is_no_lie_and_says_nothing_of_others(proofs):
    assert proofs.record(job(), "main", DENIED).code == "StoreUnproven"
    assert proofs.obstacle(job()) == Unproven("main")
    copy = job(operation=COPY)
    assert proofs.record(copy, "main", DENIED) is None, "plain copies run where nothing proves the contrary"
    assert proofs.obstacle(copy) is None
    assert proofs.obstacle(job(id="2", operation=COPY)) == Unproven("main")
    proofs.forget(copy.id)
    assert proofs.obstacle(copy) == Unproven("main")


def test_a_finding_holds_under_the_server_header_that_it_was_made_under(proofs):
    proofs.record(job(), "main", PROVEN)
    proofs.seen("main", "S3/2")
    assert proofs.obstacle(job()) == Unproven("main")
    assert proofs.record(job(), "main", msgspec.structs.replace(LYING, server="S3/2")) is not None
    assert proofs.obstacle(job()).code == "StoreCannotPutTagging"
    proofs.seen("main", "S3/1")
    assert proofs.obstacle(job()) is None


def test_a_store_with_other_settings_is_tried_anew(proofs):
    proofs.record(job(), "main", PROVEN)
    proofs.reload([STORE])
    assert proofs.obstacle(job()) is None
    proofs.reload([msgspec.structs.replace(STORE, endpoint="http://127.0.0.1:2")])
    assert proofs.obstacle(job()) == Unproven("main")
    proofs.reload([msgspec.structs.replace(STORE, probe="known")])
    assert proofs.obstacle(job()) is None
