from e2e.workbench import s3_key


def test_an_s3_job_replaces_the_tags_of_every_object(bench):
    keys = [f"k/{n:04d}" for n in range(300)] + ["odd key+1", "ü"]
    bench.put(keys)
    etag = bench.manifest([(bench.source, s3_key(key)) for key in [*keys, "missing"]])
    tags = [{"Key": "class", "Value": "cold"}, {"Key": "team", "Value": "a b"}]
    job_id = bench.s3_job({"S3PutObjectTagging": {"TagSet": tags}}, etag)
    job = bench.wait(job_id)
    assert (job["Status"], bench.counts(job)) == ("Complete", (303, 302, 1))
    assert job["ProgressSummary"]["FailuresByCode"] == {"NoSuchKey": 1}
    assert all(bench.tags(key) == {"class": "cold", "team": "a b"} for key in keys[::25] + keys[-2:])
    assert bench.body(bench.source, keys[0]) == f"<{keys[0]}>".encode()
    row = bench.report(job_id).by_key()["missing"]
    assert row[3:6] == ["failed", "404", "NoSuchKey"]


def test_a_cos_job_adds_tags_to_those_that_are_there(bench):
    bench.put(["a", "b"])
    bench.s3.put_object_tagging(Bucket=bench.source, Key="a", Tagging={"TagSet": [{"Key": "old", "Value": "1"}]})
    etag = bench.manifest([(bench.source, "a"), (bench.source, "b")])
    job_id = bench.cos_job(
        "<COSPutObjectTagging><TaggingDirective>Add</TaggingDirective>"
        "<TagSet><COSTag><Key>new</Key><Value>2</Value></COSTag></TagSet></COSPutObjectTagging>",
        etag,
    )
    assert bench.wait(job_id)["Status"] == "Complete"
    assert (bench.tags("a"), bench.tags("b")) == ({"old": "1", "new": "2"}, {"new": "2"})


def test_an_s3_job_merges_tags_by_our_own_element(bench):
    bench.put(["a", "b"])
    old = [{"Key": "old", "Value": "1"}, {"Key": "new", "Value": "0"}]
    bench.s3.put_object_tagging(Bucket=bench.source, Key="a", Tagging={"TagSet": old})
    etag = bench.manifest([(bench.source, "a"), (bench.source, "b")])
    job_id = bench.s3_job({"S3MergeObjectTagging": {"TagSet": [{"Key": "new", "Value": "2"}]}}, etag)
    assert bench.wait(job_id)["Status"] == "Complete"
    assert (bench.tags("a"), bench.tags("b")) == ({"old": "1", "new": "2"}, {"new": "2"})
    shown = bench.server.cos_client.describe_job(job_id)
    assert shown.text("Job/Operation/COSPutObjectTagging/TaggingDirective") == "Add"


def test_only_failed_tasks_are_reported_when_asked(bench):
    bench.put(["a", "b"])
    etag = bench.manifest([(bench.source, key) for key in ("a", "b", "missing")])
    job_id = bench.cos_job(
        "<COSPutObjectTagging><TagSet><COSTag><Key>x</Key><Value>y</Value></COSTag></TagSet></COSPutObjectTagging>",
        etag,
        scope="FailedTasksOnly",
    )
    bench.wait(job_id)
    assert [row[1] for row in bench.report(job_id).rows] == ["missing"]


def test_a_job_is_seen_on_both_wires(bench):
    bench.put(["a"])
    etag = bench.manifest([(bench.source, "a")])
    job_id = bench.s3_job({"S3PutObjectTagging": {"TagSet": [{"Key": "x", "Value": "y"}]}}, etag)
    bench.wait(job_id)
    seen = bench.server.cos_client.describe_job(job_id)
    assert (seen.text("Job/Status"), seen.text("Job/ProgressSummary/NumberOfTasksSucceeded")) == ("Complete", "1")
    assert seen.text("Job/RoleArn") == "qcs::cam::uin/100000000001:roleName/batch"
