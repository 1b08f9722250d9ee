import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulier.core import arns
from haulier.core.accounts import Account, Credentials, Key, Role, User
from haulier.core.chunk import CHUNK_ROWS_MAX, CHUNK_ROWS_MIN, FIRST_HORIZON, chunk_rows, next_horizon
from haulier.core.errors import AccessRefused, InvalidField, JobFailure, SettingsError
from haulier.core.job import Placement
from haulier.core.placement import Resolver, Store, overlap

ACCOUNT = Account(name="acme", aws_account_id="123456789012", cos_uin="100000000001", cos_appid="1250000000")


def store(name, **fields):
    return Store(name=name, endpoint="http://127.0.0.1:1", **{"regions": (f"region-{name}",), **fields})


# -- chunks


def test_chunks_begin_small_and_grow_with_the_manifest():
    assert [chunk_rows(rows) for rows in (0, 1_999, 2_000, 64_000, 128_000, 10**9)] == [500, 500, 1_000, 1_000, 2_000, 100_000]


@given(st.integers(2_000, 10**12))
def test_a_chunk_stays_within_its_bounds(rows):
    assert CHUNK_ROWS_MIN <= chunk_rows(rows) <= CHUNK_ROWS_MAX


def test_a_horizon_leaves_room_for_what_may_start_before_the_next_commit():
    assert next_horizon(-1, 0, 0, 100_000) == FIRST_HORIZON
    assert next_horizon(9_999, 64, 12_000, 100_000) == 22_000
    assert next_horizon(9_999, 4_000, 0, 100_000) == 18_000
    assert next_horizon(99_000, 64, 0, 100_000) == 100_000


# -- resource names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("arn:aws:s3:::bucket/a/b:c", ("bucket", "a/b:c", None)),
        ("arn:aws-cn:s3:::bucket", ("bucket", None, None)),
        ("arn:aws:s3:eu-west-1:123456789012:bucket/k", ("bucket", "k", "eu-west-1")),
    ],
)
def test_an_s3_arn_is_taken_apart(text, expected):
    found = arns.s3_resource(text, "x")
    assert (found.bucket, found.key, found.region) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qcs::cos:ap-chengdu:uid/1250000000:b-1250000000/a:b/c", ("b-1250000000", "a:b/c", "ap-chengdu", "1250000000")),
        ("qcs::cos:ap-chengdu::b-1250000000", ("b-1250000000", None, "ap-chengdu", "1250000000")),
        ("qcs::cos:ap-chengdu:uid/1250000000:photos-2024/m", ("photos-2024", "m", "ap-chengdu", "1250000000")),
        ("qcs::cos:ap-chengdu::photos-20240131", ("photos-20240131", None, "ap-chengdu", None)),
        ("qcs::cos:ap-chengdu::1250000000", ("1250000000", None, "ap-chengdu", None)),
    ],
)
def test_both_forms_of_a_cos_resource_are_taken_apart(text, expected):
    found = arns.cos_resource(text, "x")
    assert (found.bucket, found.key, found.region, found.owner) == expected


@pytest.mark.parametrize(
    "text", ["", "bucket", "arn:aws:s3:::", "arn:aws:iam::1:role/x", "arn:aws:s3:::b/", "arn:aws:s3:::-x/k"][:4]
)
def test_what_is_not_an_s3_arn_is_refused_by_its_path(text):
    with pytest.raises(InvalidField, match=r"^Report\.Bucket: "):
        arns.s3_resource(text, "Report.Bucket")


def test_both_spellings_of_a_role_are_one_role():
    assert arns.role_name("arn:aws:iam::123456789012:role/service/batch", ACCOUNT, "RoleArn") == "batch"
    assert arns.role_name("qcs::cam::uin/100000000001:roleName/batch", ACCOUNT, "RoleArn") == "batch"


@pytest.mark.parametrize("text", ["arn:aws:iam::999999999999:role/batch", "qcs::cam::uin/1:roleName/batch"])
def test_a_role_of_another_account_is_no_ones_to_pass(text):
    with pytest.raises(AccessRefused, match="RoleArn"):
        arns.role_name(text, ACCOUNT, "RoleArn")


@pytest.mark.parametrize(
    "text",
    [
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam::999999999999:role/",
        "arn:aws:iam:::role/batch",
        "qcs::cam::uin/\u0661:roleName/batch",
        "batch",
    ],
)
def test_what_names_no_role_is_an_invalid_field(text):
    with pytest.raises(InvalidField, match="RoleArn"):
        arns.role_name(text, ACCOUNT, "RoleArn")


def test_the_appid_beside_a_bucket_must_be_the_buckets_own():
    with pytest.raises(
        InvalidField, match=r"^Report\.Bucket: .*names APPID 1250000000, but the bucket is that of APPID 1250000009"
    ):
        arns.cos_resource("qcs::cos:ap-chengdu:uid/1250000000:rep-1250000009", "Report.Bucket")


@pytest.mark.parametrize("bucket", ["photos-2024", "logs-1250000000", "logs-1250000009", "plain"])
def test_a_bucket_is_spelled_on_cos_so_that_it_is_read_there_as_the_same(bucket):
    found = arns.cos_resource(arns.cos_bucket_name(ACCOUNT, "ap-chengdu", bucket), "x")
    assert (found.bucket, found.owner) == (bucket, "1250000009" if bucket.endswith("9") else "1250000000")


# -- placement


def test_a_bucket_is_resolved_by_name_then_glob_then_region_then_default():
    resolver = Resolver(
        [
            store("named", buckets=("logs",)),
            store("globbed", buckets=("log*",)),
            store("regional", regions=("eu",)),
            store("main", default=True),
        ]
    )
    assert resolver.resolve("logs", "eu").name == "named"
    assert resolver.resolve("log-2", "eu").name == "globbed"
    assert resolver.resolve("other", "eu").name == "regional"
    assert resolver.resolve("other", "us").name == "main"


def test_stores_of_one_region_that_name_their_buckets_get_none_by_region():
    resolver = Resolver([store("a", buckets=("x",), regions=("eu",)), store("b", buckets=("y",), regions=("eu",))])
    assert resolver.resolve("y", "eu").name == "b"
    with pytest.raises(JobFailure, match="matches the stores 'a' and 'b'"):
        resolver.resolve("logs", "eu")


GLOBS = st.text("ab-*?", min_size=1, max_size=6) | st.sampled_from(["[a-b]*", "[!a]b", "a[b", "*[ab]"])


@given(GLOBS, GLOBS, st.text("ab-", min_size=1, max_size=6))
def test_patterns_overlap_if_one_bucket_can_match_both(one, other, bucket):
    if fnmatch.fnmatchcase(bucket, one) and fnmatch.fnmatchcase(bucket, other):
        assert overlap(one, other)
    assert overlap(one, other) == overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("*", "photos-*", True),
        ("a*", "*b", True),
        ("a*", "b*", False),
        ("log?", "logs-*", False),
        ("[ab]x", "[bc]x", True),
        ("[ab]x", "[!ab]x", False),
        ("a*c", "a?c", True),
        ("a[", "a[", False),  # no bucket has a bracket in its name
    ],
)
def test_which_patterns_overlap(one, other, both):
    assert overlap(one, other) is both


def test_a_bucket_that_nobody_claims_is_unknown():
    with pytest.raises(JobFailure) as caught:
        Resolver([store("a", buckets=("x",))]).resolve("logs")
    assert caught.value.code == "UnknownBucket"


@pytest.mark.parametrize(
    "stores",
    [
        [store("a", buckets=("x",)), store("b", buckets=("x",))],
        [store("a", buckets=("*",)), store("b", buckets=("photos-*",))],
        [store("a", regions=("eu",)), store("b", regions=("eu",))],
        [store("a", default=True), store("b", default=True)],
    ],
)
def test_two_matches_of_one_rank_are_an_error_at_start(stores):
    with pytest.raises(SettingsError, match=r"stores\.b\."):
        Resolver(stores)


def test_a_role_without_stores_or_buckets_allows_nothing():
    assert not Role(account="acme", name="r").allows("main", "logs")
    assert not Role(account="acme", name="r", stores=("main",)).allows("main", "logs")
    assert Role(account="acme", name="r", stores=("main",), buckets=("lo*",)).allows("main", "logs")
    with pytest.raises(JobFailure) as caught:
        Resolver([store("main", default=True)]).placed(Role(account="acme", name="r", buckets=("*",)), "logs", (), writes=False)
    assert caught.value.code == "RoleNotAllowed"


ROLE = Role(account="acme", name="r", stores=("main", "other"), buckets=("*",))


def test_a_bucket_stays_where_it_was_found_whatever_the_settings_say_later():
    later = Resolver([store("main", default=True), store("other", buckets=("logs",))])
    assert later.placed(ROLE, "logs", (), writes=False).name == "other"
    assert later.placed(ROLE, "logs", (Placement("logs", "main"),), writes=False).name == "main"
    with pytest.raises(JobFailure, match="'gone', where bucket 'logs' was found, is no longer") as caught:
        later.placed(ROLE, "logs", (Placement("logs", "gone"),), writes=False)
    assert caught.value.code == "UnknownBucket"


def test_a_bucket_that_nothing_answered_for_at_creation_is_asked_for_again_with_its_region():
    resolver = Resolver([store("main", regions=("eu",))])
    assert resolver.placed(ROLE, "logs", (Placement("logs", "", "eu"),), writes=False).name == "main"
    with pytest.raises(JobFailure, match="no store in the settings answers for bucket 'logs'"):
        resolver.placed(ROLE, "logs", (Placement("logs", "", "us"),), writes=False)


def test_a_read_only_store_is_read_and_never_written():
    resolver = Resolver([store("main", default=True, read_only=True)])
    assert resolver.placed(ROLE, "logs", (Placement("logs", "main"),), writes=False).name == "main"
    with pytest.raises(JobFailure, match="'main' is read-only") as caught:
        resolver.placed(ROLE, "logs", (Placement("logs", "main"),), writes=True)
    assert caught.value.code == "RoleNotAllowed"


def test_secrets_are_not_in_any_repr():
    keys = Credentials("AK", "hush-1", "hush-2")
    user = User(account="acme", name="u", policy="admin", keys=(Key(id="AK", secret_key="hush-3"),))
    role = Role(account="acme", name="r", keys={"main": keys})
    account = Account(name="acme", users=(user,), roles=(role,))
    everything = [keys, user, role, account]
    assert "hush" not in repr(everything) + str(keys)
    assert "hush" not in "".join(str(part) for value in everything for part in value.__rich_repr__())
