"""COS copies that add to what the source has, and copies with an access control list of their own."""

from haulier.testing.server import COS_APPID
from haulier.testing.stores import SeaweedFS

STRANGER = "qcs::cam::uin/100000000001:uin/100000000099"
"""A user that the store does not know."""
OWNER = "demo"


def cos_copy(bench, *inside):
    target = f"<TargetResource>qcs::cos:ap-chengdu:uid/{COS_APPID}:{bench.target}</TargetResource>"
    return f"<COSPutObjectCopy>{target}{''.join(inside)}</COSPutObjectCopy>"


def grant(permission, grantee=SeaweedFS.grantee):
    named = f"<Grantee><Identifier>{grantee}</Identifier><TypeIdentifier>ID</TypeIdentifier></Grantee>"
    return f"<AccessControlGrants><COSGrant>{named}<Permission>{permission}</Permission></COSGrant></AccessControlGrants>"


def directive(word):
    return f"<AccessControlDirective>{word}</AccessControlDirective>"


def grants(bench, bucket, key):
    found = bench.s3.get_object_acl(Bucket=bucket, Key=key)["Grants"]
    return {(one["Grantee"].get("ID") or one["Grantee"]["URI"].rpartition("/")[2], one["Permission"]) for one in found}


def share(bench, key, *permissions):
    owner = {"Type": "CanonicalUser", "ID": OWNER}
    shared = [{"Grantee": {"Type": "CanonicalUser", "ID": SeaweedFS.grantee}, "Permission": name} for name in permissions]
    policy = {"Owner": {"ID": OWNER}, "Grants": [{"Grantee": owner, "Permission": "FULL_CONTROL"}, *shared]}
    bench.s3.put_object_acl(Bucket=bench.source, Key=key, AccessControlPolicy=policy)


def run(bench, operation, keys):
    etag = bench.manifest([(bench.source, key) for key in keys])
    job_id = bench.cos_job(operation, etag)
    return job_id, bench.wait(job_id)


def test_metadata_and_tags_are_added_to_those_of_each_source(bench):
    for key in ("plain", "full"):
        bench.put([key])
    bench.s3.put_object(
        Bucket=bench.source,
        Key="full",
        Body=b"<full>",
        ContentType="text/x-full",
        CacheControl="no-cache",
        Metadata={"colour": "blue", "size": "xl"},
        Tagging="old=1&both=1",
    )
    bench.s3.put_object(Bucket=bench.source, Key="tagged", Body=b"", Tagging="&".join(f"t{n}=1" for n in range(9)))
    _, job = run(
        bench,
        cos_copy(
            bench,
            "<MetadataDirective>Add</MetadataDirective><NewObjectMetadata><ContentDisposition>inline</ContentDisposition>",
            "<UserMetadata><member><Key>colour</Key><Value>red</Value></member></UserMetadata></NewObjectMetadata>",
            "<TaggingDirective>Add</TaggingDirective><NewObjectTagging><COSTag><Key>new</Key><Value>2</Value></COSTag>",
            "<COSTag><Key>both</Key><Value>2</Value></COSTag></NewObjectTagging>",
        ),
        ["plain", "full", "tagged", "missing"],
    )
    assert (job["Status"], bench.counts(job)) == ("Complete", (4, 2, 2))
    assert job["ProgressSummary"]["FailuresByCode"] == {"InvalidTag": 1, "NoSuchKey": 1}
    full = bench.s3.head_object(Bucket=bench.target, Key="full")
    assert (full["ContentType"], full["CacheControl"], full["ContentDisposition"]) == ("text/x-full", "no-cache", "inline")
    assert full["Metadata"] == {"colour": "red", "size": "xl"}
    assert bench.s3.head_object(Bucket=bench.target, Key="plain")["Metadata"] == {"colour": "red"}
    assert bench.tags("full", bench.target) == {"old": "1", "both": "2", "new": "2"}
    assert bench.tags("plain", bench.target) == {"both": "2", "new": "2"}
    assert bench.keys(bench.target) == {"plain", "full"}


LISTS = {
    "copy": ((directive("Copy"),), {(OWNER, "FULL_CONTROL"), (SeaweedFS.grantee, "READ_ACP")}),
    "add": (
        (directive("Add"), grant("READ")),
        {(OWNER, "FULL_CONTROL"), (SeaweedFS.grantee, "READ_ACP"), (SeaweedFS.grantee, "READ")},
    ),
    "replaced": ((directive("Replaced"), grant("WRITE")), {(OWNER, "FULL_CONTROL"), (SeaweedFS.grantee, "WRITE")}),
    "canned": (
        (directive("Replaced"), "<CannedAccessControlList>public-read</CannedAccessControlList>"),
        {(OWNER, "FULL_CONTROL"), ("AllUsers", "READ")},
    ),
    "private": (("<CannedAccessControlList>private</CannedAccessControlList>",), {(OWNER, "FULL_CONTROL")}),
}


def test_a_copy_has_the_access_control_list_that_was_asked_for(bench):
    """SeaweedFS passes over `x-amz-acl` on a copy and takes the source's list along: only the call of its own counts."""
    keys = ["a", "b"]
    bench.put(keys)
    for key in keys:
        share(bench, key, "READ_ACP")
    etag = bench.manifest([(bench.source, key) for key in keys])
    jobs = []
    for folder, (inside, _) in LISTS.items():
        prefix = f"<PrefixReplace>true</PrefixReplace><TargetKeyPrefix>{folder}/</TargetKeyPrefix>"
        jobs.append(bench.cos_job(cos_copy(bench, *inside, prefix), etag))
    for job_id in jobs:
        job = bench.wait(job_id)
        assert (job["Status"], bench.counts(job)) == ("Complete", (2, 2, 0))
    for folder, (_, wanted) in LISTS.items():
        for key in keys:
            assert grants(bench, bench.target, f"{folder}/{key}") == wanted, folder


def test_the_list_is_that_of_the_version_that_was_made(bench):
    bench.s3.put_bucket_versioning(Bucket=bench.target, VersioningConfiguration={"Status": "Enabled"})
    bench.put(["a"])
    bench.put(["a"], bench.target)
    _, job = run(bench, cos_copy(bench, grant("READ")), ["a"])
    assert (job["Status"], bench.counts(job)) == ("Complete", (1, 1, 0))
    assert grants(bench, bench.target, "a") == {(OWNER, "FULL_CONTROL"), (SeaweedFS.grantee, "READ")}
    versions = bench.s3.list_object_versions(Bucket=bench.target)["Versions"]
    [older] = [one["VersionId"] for one in versions if not one["IsLatest"]]
    found = bench.s3.get_object_acl(Bucket=bench.target, Key="a", VersionId=older)["Grants"]
    assert [(one["Grantee"]["ID"], one["Permission"]) for one in found] == [(OWNER, "FULL_CONTROL")]


def test_a_grant_to_a_user_that_the_store_does_not_know_is_found_out_before_the_first_task(bench):
    """SeaweedFS answers 400 InvalidRequest to a list that names one, so nothing proves that it can keep the list."""
    bench.put(["a"])
    _, job = run(bench, cos_copy(bench, grant("READ", STRANGER)), ["a"])
    [failure] = job["FailureReasons"]
    assert (job["Status"], failure["FailureCode"]) == ("Failed", "StoreUnproven")
    assert "InvalidRequest" in failure["FailureReason"]
    assert bench.keys(bench.target) == set()
