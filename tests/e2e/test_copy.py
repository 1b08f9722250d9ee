import pytest

from e2e.workbench import cos_key, s3_key
from haulier.testing.server import COS_APPID

ODD = ["a b+c", "percent%2Fsign", "ü/日本/🚚", "quote\"s'n,commas", "<&>;=?#", "trailing.", "UPPER/lower"]


def cos_copy(bench, *extra):
    return f"""<COSPutObjectCopy>
        <TargetResource>qcs::cos:ap-chengdu:uid/{COS_APPID}:{bench.target}</TargetResource>{"".join(extra)}</COSPutObjectCopy>"""


def test_a_cos_copy_replaces_the_prefix_of_every_key_and_reports_each(bench):
    keys = [f"logs/{key}" for key in ODD] + [f"logs/{n:04d}.txt" for n in range(600)]
    bench.put(keys)
    missing = [f"logs/missing-{n}" for n in range(5)]
    etag = bench.manifest([(bench.source, cos_key(key)) for key in keys + missing])
    job_id = bench.cos_job(
        cos_copy(
            bench,
            "<PrefixReplace>true</PrefixReplace><ResourcesPrefix>logs/</ResourcesPrefix>",
            "<TargetKeyPrefix>archive/logs/</TargetKeyPrefix>",
        ),
        etag,
    )
    job = bench.wait(job_id)
    assert (job["Status"], bench.counts(job)) == ("Complete", (len(keys) + 5, len(keys), 5))
    assert bench.keys(bench.target) == {f"archive/{key}" for key in keys}
    for key in keys[:20]:
        assert bench.body(bench.target, f"archive/{key}") == f"<{key}>".encode()
    report = bench.report(job_id)
    assert report.manifest["Format"] == "Report_CSV_V1"
    assert report.md5_file == report.md5_file.strip()
    rows = report.by_key()
    assert set(rows) == {cos_key(key) for key in keys + missing}
    assert rows[cos_key(missing[0])][2:6] == ["", "failed", "NoSuchKey", "404"]
    assert rows[cos_key(keys[0])][2:6] == ["", "succeeded", "", "200"]


def test_keys_without_the_prefix_to_replace_fail_one_by_one(bench):
    bench.put(["logs/a", "other/b"])
    etag = bench.manifest([(bench.source, "logs/a"), (bench.source, "other/b")])
    job_id = bench.cos_job(
        cos_copy(bench, "<PrefixReplace>true</PrefixReplace><ResourcesPrefix>logs/</ResourcesPrefix><TargetKeyPrefix/>"), etag
    )
    bench.wait(job_id)
    rows = bench.report(job_id).by_key()
    assert rows["other/b"][3:6] == ["failed", "InvalidArgument", "400"]
    assert bench.keys(bench.target) == {"a"}


def test_an_s3_copy_goes_into_a_folder_with_new_tags_and_metadata(bench):
    bench.put(ODD)
    etag = bench.manifest([(bench.source, s3_key(key)) for key in ODD])
    job_id = bench.s3_job(
        {
            "S3PutObjectCopy": {
                "TargetResource": f"arn:aws:s3:::{bench.target}",
                "TargetKeyPrefix": "Folder1",
                "MetadataDirective": "REPLACE",
                "NewObjectMetadata": {"ContentType": "text/x-odd", "UserMetadata": {"origin": "tests", "name": "Zoë"}},
                "NewObjectTagging": [{"Key": "team", "Value": "blue"}],
            }
        },
        etag,
    )
    job = bench.wait(job_id)
    assert (job["Status"], bench.counts(job)) == ("Complete", (len(ODD), len(ODD), 0))
    assert bench.keys(bench.target) == {f"Folder1/{key}" for key in ODD}
    head = bench.s3.head_object(Bucket=bench.target, Key=f"Folder1/{ODD[0]}")
    assert head["ContentType"] == "text/x-odd"
    assert head["Metadata"] == {"origin": "tests", "name": "Zoë".encode().decode("latin-1")}  # as the SDK reads UTF-8
    assert bench.tags(f"Folder1/{ODD[0]}", bench.target) == {"team": "blue"}
    report = bench.report(job_id)
    assert report.manifest["ReportSchema"] == "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage"
    assert report.rows[0][3:] == ["succeeded", "200", "", "Successful"]


ODD_METADATA = {"50%": "100%", "%s": "%%d", "a%%b": "全角\u3000空白\u00a0x"}


def test_metadata_may_have_any_name_and_text_that_a_header_can_carry(bench):
    """Names and values go into what is signed: neither is a place for something else, whatever characters it has."""
    bench.put(["a", "b"])
    etag = bench.manifest([(bench.source, key) for key in ("a", "b")])
    members = "".join(f"<member><Key>{name}</Key><Value>{value}</Value></member>" for name, value in ODD_METADATA.items())
    wanted = {name: value.encode().decode("latin-1") for name, value in ODD_METADATA.items()}  # as the SDK reads UTF-8
    new = f"<NewObjectMetadata><ContentDisposition>全角\u3000空白</ContentDisposition><UserMetadata>{members}</UserMetadata>"
    by_cos = cos_copy(bench, "<MetadataDirective>Replaced</MetadataDirective>", new, "</NewObjectMetadata>")
    by_s3 = {"TargetResource": f"arn:aws:s3:::{bench.target}", "NewObjectMetadata": {"UserMetadata": ODD_METADATA}}
    by_s3["TargetKeyPrefix"] = "s3"
    for folder, job_id in (("", bench.cos_job(by_cos, etag)), ("s3/", bench.s3_job({"S3PutObjectCopy": by_s3}, etag))):
        job = bench.wait(job_id)
        assert (job["Status"], bench.counts(job)) == ("Complete", (2, 2, 0))
        for key in ("a", "b"):
            assert bench.s3.head_object(Bucket=bench.target, Key=folder + key)["Metadata"] == wanted


@pytest.mark.parametrize("element", ["ModifiedSinceConstraint", "UnModifiedSinceConstraint"])
def test_a_constraint_that_fails_is_a_412_of_its_task(bench, element):
    bench.put(["a"])
    etag = bench.manifest([(bench.source, "a")])
    moment = {"ModifiedSinceConstraint": 4_000_000_000, "UnModifiedSinceConstraint": 1_000_000_000}[element]
    job_id = bench.cos_job(cos_copy(bench, f"<{element}>{moment}</{element}>"), etag)
    bench.wait(job_id)
    assert bench.report(job_id).by_key()["a"][3:6] == ["failed", "PreconditionFailed", "412"]
    assert bench.keys(bench.target) == set()


def test_two_rows_that_would_write_one_object_fail_the_job_before_any_copy(bench):
    bench.put(["a", "b"])
    etag = bench.manifest([(bench.source, "a"), (bench.source, "b"), (bench.target, "a")])
    operation = {"TargetResource": f"arn:aws:s3:::{bench.target}", "TargetKeyPrefix": "copies"}
    job = bench.wait(bench.s3_job({"S3PutObjectCopy": operation}, etag))
    assert job["Status"] == "Failed"
    assert job["FailureReasons"][0]["FailureCode"] == "ManifestConflict"
    assert "rows 1 and 3" in job["FailureReasons"][0]["FailureReason"]
    assert bench.keys(bench.target) == set()


def test_a_row_that_stands_twice_is_copied_twice(bench):
    bench.put(["a", "b"])
    etag = bench.manifest([(bench.source, key) for key in ("a", "b", "a")])
    job_id = bench.cos_job(cos_copy(bench), etag)
    job = bench.wait(job_id)
    assert (job["Status"], bench.counts(job)) == ("Complete", (3, 3, 0))
    assert len(bench.report(job_id).rows) == 3
