import pytest

from e2e.workbench import cos_key

TAGS = "<COSPutObjectTagging><TagSet><COSTag><Key>k</Key><Value>v</Value></COSTag></TagSet></COSPutObjectTagging>"


def test_a_cos_job_deletes_what_the_manifest_names_and_nothing_else(bench):
    doomed = [f"old/{n:05d}" for n in range(2_300)] + ["odd key+%", "ü🚚", "<&>"]
    kept = [f"new/{n}" for n in range(20)]
    bench.put(doomed + kept)
    etag = bench.manifest([(bench.source, cos_key(key)) for key in [*doomed, "missing"]])
    job_id = bench.cos_job("<COSDeleteObject/>", etag)
    job = bench.wait(job_id)
    assert (job["Status"], bench.counts(job)) == ("Complete", (len(doomed) + 1, len(doomed) + 1, 0))
    assert bench.keys(bench.source) == set(kept)
    rows = bench.report(job_id).by_key()
    assert len(rows) == len(doomed) + 1
    assert rows["old/00000"][3:6] == ["succeeded", "", "204"]


def test_the_s3_wire_deletes_by_the_extension(bench):
    bench.put(["a", "b"])
    etag = bench.manifest([(bench.source, "a")])
    job = bench.wait(bench.s3_job({"S3DeleteObject": {}}, etag))
    assert (job["Status"], bench.keys(bench.source)) == ("Complete", {"b"})
    assert job["Operation"] == {"S3DeleteObject": {}}


def test_an_older_version_is_deleted_and_the_newest_stays(bench):
    bench.s3.put_bucket_versioning(Bucket=bench.source, VersioningConfiguration={"Status": "Enabled"})
    first = bench.s3.put_object(Bucket=bench.source, Key="a", Body=b"1")["VersionId"]
    second = bench.s3.put_object(Bucket=bench.source, Key="a", Body=b"2")["VersionId"]
    etag = bench.manifest([(bench.source, "a", first)])
    job_id = bench.cos_job("<COSDeleteObject/>", etag, fields=("Bucket", "Key", "VersionId"))
    assert bench.wait(job_id)["Status"] == "Complete"
    versions = bench.s3.list_object_versions(Bucket=bench.source)["Versions"]
    assert [version["VersionId"] for version in versions] == [second]
    assert bench.report(job_id).rows[0][2] == first


@pytest.mark.parametrize("element", ["<COSDeleteObject/>", TAGS])
def test_versions_where_there_are_none_fail_the_job_and_the_current_objects_stay(bench, element):
    """SeaweedFS passes over the version in a bucket without versions: it would delete, or tag, the current object."""
    bench.put(["a", "b"])
    etag = bench.manifest([(bench.source, "a", "null"), (bench.source, "b", "0123456789abcdef0123456789abcdef")])
    job = bench.wait(bench.cos_job(element, etag, fields=("Bucket", "Key", "VersionId")))
    assert (job["Status"], job["FailureReasons"][0]["FailureCode"]) == ("Failed", "InvalidManifest")
    assert job["FailureReasons"][0]["FailureReason"].startswith("row 2 of the manifest names a version, but bucket")
    assert bench.keys(bench.source) == {"a", "b"}
    assert bench.tags("b") == {}


def test_the_null_version_of_a_bucket_without_versions_is_its_object(bench):
    bench.put(["a", "b"])
    etag = bench.manifest([(bench.source, "a", "null")])
    job = bench.wait(bench.cos_job("<COSDeleteObject/>", etag, fields=("Bucket", "Key", "VersionId")))
    assert (job["Status"], bench.keys(bench.source)) == ("Complete", {"b"})


def test_a_manifest_that_names_itself_is_refused_before_anything_is_deleted(bench):
    bench.put(["a"], bench.lists)
    etag = bench.manifest([(bench.lists, "a"), (bench.lists, "manifest.csv")])
    job = bench.wait(bench.cos_job("<COSDeleteObject/>", etag))
    assert (job["Status"], job["FailureReasons"][0]["FailureCode"]) == ("Failed", "ProtectedObject")
    assert bench.keys(bench.lists) == {"a", "manifest.csv"}
