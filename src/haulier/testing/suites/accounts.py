"""What every account store promises (`core.stored.AccountStore`). Subclass it and provide the `accounts` fixture."""

# A test's name is the sentence that a docstring would repeat.
from collections.abc import Sequence

import msgspec
import pytest

from haulier.core.accounts import KeyKind
from haulier.core.errors import InvalidRequest
from haulier.core.sealing import Sealed
from haulier.core.stored import (
    AccountStore,
    Change,
    Put,
    Remove,
    Stored,
    StoredAccount,
    StoredKey,
    StoredMasterKey,
    StoredPart,
    StoredRole,
    StoredRoleKey,
    StoredStop,
    StoredUser,
)

ACCOUNT = StoredAccount(name="acme", aws_account_id="123456789012", cos_uin="1", cos_appid="2", created_ms=1)
USER = StoredUser(account="acme", name="„ä“", policy='{"Statement": []}', disabled=True, created_ms=2)
KEY = StoredKey(
    id="K1",
    account="acme",
    user="admin",
    kind=KeyKind.SESSION,
    secret=Sealed(3, b"\0sealed"),
    token_hash=b"\xff" * 32,
    actions=("s3:*Job*", "cos:ListJobs"),
    expires_ms=9,
    disabled=True,
    created_ms=3,
)
ROLE = StoredRole(
    account="acme", name="batch", stores=("main",), buckets=("a*",), users=("admin", "b"), use_store_keys=True, created_ms=4
)
ROLE_KEY = StoredRoleKey(account="acme", role="batch", store="main", access_key="AK", secret=Sealed(1, b"sealed"))
MASTER_KEY = StoredMasterKey(version=3, proof=Sealed(3, b"proof"), created_ms=5)
STOP = StoredStop(since_ms=8)
ALL: Sequence[StoredPart] = (ACCOUNT, USER, KEY, ROLE, ROLE_KEY, MASTER_KEY, STOP)


def put(accounts: AccountStore, *stored: StoredPart) -> Stored:
    """Store the parts."""
    return accounts.write(lambda _: [Put(part) for part in stored])


def remove(accounts: AccountStore, *stored: StoredPart) -> Stored:
    """Remove the parts."""
    return accounts.write(lambda _: [Remove(part) for part in stored])


class AccountStoreSuite:
    """The promises."""

    def test_an_empty_store_has_no_records(self, accounts: AccountStore) -> None:
        assert accounts.read() == Stored()

    def test_every_record_comes_back_as_it_was_put(self, accounts: AccountStore) -> None:
        after = put(accounts, *ALL)
        assert after == accounts.read()
        assert after == Stored(
            accounts={"acme": ACCOUNT},
            users={("acme", "„ä“"): USER},
            keys={"K1": KEY},
            roles={("acme", "batch"): ROLE},
            role_keys={("acme", "batch", "main"): ROLE_KEY},
            master_keys={3: MASTER_KEY},
            stop=STOP,
        )
        assert after.sealed() == [KEY, ROLE_KEY]

    def test_a_key_of_each_kind_comes_back(self, accounts: AccountStore) -> None:
        bearer = StoredKey(id="B", account="a", user="u", kind=KeyKind.BEARER, token_hash=b"h", actions=(), created_ms=1)
        access = StoredKey(id="A", account="a", user="u", kind=KeyKind.ACCESS, secret=Sealed(1, b"s"), created_ms=1)
        assert put(accounts, bearer, access).keys == {"A": access, "B": bearer}
        assert accounts.read().sealed() == [access]

    def test_a_record_of_the_same_name_is_replaced(self, accounts: AccountStore) -> None:
        put(accounts, *ALL)
        renewed = msgspec.structs.replace(ROLE, buckets=("b*",))
        after = put(accounts, renewed)
        assert after.roles == {("acme", "batch"): renewed}
        assert after.role_keys == {("acme", "batch", "main"): ROLE_KEY}

    def test_a_removed_record_is_gone_with_what_is_part_of_it(self, accounts: AccountStore) -> None:
        put(accounts, *ALL)
        accounts.note_uses({"K1": 7})
        assert remove(accounts, KEY, ROLE, USER, ACCOUNT, MASTER_KEY, STOP) == Stored()

    def test_removing_what_is_not_there_changes_nothing(self, accounts: AccountStore) -> None:
        assert remove(accounts, *ALL) == Stored()

    def test_what_is_decided_rests_on_what_is_stored(self, accounts: AccountStore) -> None:
        put(accounts, USER)
        seen: list[Stored] = []

        def decide(stored: Stored) -> Sequence[Change]:
            seen.append(stored)
            return [Remove(user) for user in stored.users.values()]

        assert accounts.write(decide) == Stored()
        assert seen[0].users == {("acme", "„ä“"): USER}

    def test_a_decision_that_raises_changes_nothing(self, accounts: AccountStore) -> None:
        def decide(_records: Stored) -> Sequence[Change]:
            raise InvalidRequest("no")

        put(accounts, USER)
        with pytest.raises(InvalidRequest, match="no"):
            accounts.write(decide)
        assert accounts.read() == Stored(users={("acme", "„ä“"): USER})

    @pytest.mark.parametrize(
        "impossible",
        [
            msgspec.structs.replace(ACCOUNT, name="b"),
            StoredAccount(name="b", created_ms=1),
            StoredAccount(name="b", cos_uin="7", created_ms=1),
            msgspec.structs.replace(KEY, id="K2"),
            msgspec.structs.replace(KEY, secret=None),
            msgspec.structs.replace(KEY, token_hash=None),
            msgspec.structs.replace(KEY, expires_ms=None),
            msgspec.structs.replace(KEY, kind=KeyKind.ACCESS),
            msgspec.structs.replace(KEY, kind=KeyKind.BEARER),
            msgspec.structs.replace(ROLE_KEY, role="gone"),
        ],
        ids=lambda part: repr(part)[:60],
    )
    def test_what_must_never_be_true_is_refused_whole(self, accounts: AccountStore, impossible: StoredPart) -> None:
        put(accounts, *ALL)
        before = accounts.read()
        with pytest.raises(ValueError, match="must never be true"):
            put(accounts, msgspec.structs.replace(USER, name="new"), impossible)
        assert accounts.read() == before

    def test_the_last_use_of_a_key_is_kept(self, accounts: AccountStore) -> None:
        put(accounts, KEY)
        accounts.note_uses({"K1": 5, "of the settings": 6})
        accounts.note_uses({"K1": 8})
        accounts.note_uses({})
        assert accounts.read().used_ms == {"K1": 8, "of the settings": 6}
