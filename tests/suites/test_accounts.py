from collections.abc import Iterator
from pathlib import Path

import pytest

from haulier.core.clock import SystemClock
from haulier.core.lifecycle import JobEvent
from haulier.core.ports import JobMoved
from haulier.core.stored import AccountStore
from haulier.jobstore import SqlJobStore
from haulier.testing.suites.accounts import ALL, AccountStoreSuite, put
from haulier.testing.suites.jobstore import PLENTY, a_job


@pytest.fixture
def jobstore(tmp_path: Path) -> Iterator[SqlJobStore]:
    opened = SqlJobStore.open(tmp_path / "haulier.db", SystemClock())
    yield opened
    opened.close()


class TestSqlAccountStore(AccountStoreSuite):
    @pytest.fixture
    def accounts(self, jobstore: SqlJobStore) -> AccountStore:
        return jobstore.accounts


def test_records_outlive_the_process(jobstore: SqlJobStore, tmp_path: Path) -> None:
    before = put(jobstore.accounts, *ALL)
    jobstore.close()
    again = SqlJobStore.open(tmp_path / "haulier.db", SystemClock())
    try:
        assert again.accounts.read() == before
    finally:
        again.close()


def test_jobs_are_found_by_their_account(jobstore: SqlJobStore) -> None:
    accounts = jobstore.accounts
    jobstore.create(a_job(account="acme"), unfinished_max=PLENTY)
    assert accounts.has_jobs("acme", unfinished=True)
    assert not accounts.has_jobs("other", unfinished=False)
    jobstore.commit(
        jobstore.begin_epoch(),
        [JobMoved("job-1", event) for event in (JobEvent.CANCEL_SETTLED,)],
    )
    assert not accounts.has_jobs("acme", unfinished=True)
    assert accounts.has_jobs("acme", unfinished=False)
