"""Two accounts, one store: what account acme does can name the other's bucket in any place, and no request ever reaches it."""

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from e2e.conftest import SCRATCH
from e2e.workbench import Workbench
from haulier import boto3_client
from haulier.testing.cosclient import CosError
from haulier.testing.recorder import RecordingProxy
from haulier.testing.server import ACCESS_KEY, AWS_ACCOUNT_ID, COS_APPID, COS_ROLE, COS_UIN, S3_ROLE, SECRET_KEY, HaulierServer
from haulier.testing.stores import SeaweedFS
from wire.native import NativeClient

RIVAL_ID, RIVAL_UIN, RIVAL_APPID = "210987654321", "100000000002", "1250000002"
RIVAL_KEY, RIVAL_SECRET = "AKIRIVAL000000000001", "rival-secret-key"
RIVAL_ROLE = f"arn:aws:iam::{RIVAL_ID}:role/batch"


def account(aws_id: str, uin: str, appid: str, key: str, secret: str, buckets: list[str]) -> dict[str, Any]:
    return {
        "aws_account_id": aws_id,
        "cos_uin": uin,
        "cos_appid": appid,
        "users": [{"name": "admin", "access_key": key, "secret_key": secret, "policy": "admin"}],
        "roles": [{"name": "batch", "stores": ["main"], "buckets": buckets, "use_store_keys": True, "users": ["admin"]}],
    }


class Neighbours(Workbench):
    """The bench of account acme. `theirs` is a bucket of account rival on the same store, with an object and a manifest in it.

    Its name does not say whose it is.
    """

    def __init__(self, store: SeaweedFS, server: HaulierServer, proxy: RecordingProxy) -> None:
        super().__init__(store, server)
        self.proxy = proxy
        self.theirs = f"theirs-{uuid.uuid4().hex[:10]}-{COS_APPID}"
        self.s3.create_bucket(Bucket=self.theirs)
        self.s3.put_object(Bucket=self.theirs, Key="secret", Body=b"theirs alone")
        self.s3.put_object(Bucket=self.theirs, Key="manifest.csv", Body=f"{self.source},mine\n".encode())
        self.put(["mine"])
        self.rival = boto3_client(
            server.url, RIVAL_ID, region_name="us-east-1", aws_access_key_id=RIVAL_KEY, aws_secret_access_key=RIVAL_SECRET
        )
        self.native = NativeClient(server.port, ACCESS_KEY, SECRET_KEY)

    def untouched(self) -> bool:
        """Whether the bucket is as it was, and nothing has asked for it."""
        return (
            not self.proxy.touching(self.theirs)
            and self.keys(self.theirs) == {"secret", "manifest.csv"}
            and self.body(self.theirs, "secret") == b"theirs alone"
        )

    def failure(self, job_id: str) -> tuple[str, str, str]:
        """How the job ended: status, failure code and reason."""
        job = self.wait(job_id)
        [failed] = job["FailureReasons"]
        return job["Status"], failed["FailureCode"], failed["FailureReason"]


@pytest.fixture(scope="module")
def proxy(store: SeaweedFS) -> Iterator[RecordingProxy]:
    with RecordingProxy(store.endpoint) as started:
        yield started


@pytest.fixture(scope="module")
def shared(store: SeaweedFS, proxy: RecordingProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HaulierServer]:
    """A server for two accounts, whose store is behind the proxy."""
    ours = account(AWS_ACCOUNT_ID, COS_UIN, COS_APPID, ACCESS_KEY, SECRET_KEY, ["src-*", "dst-*", "lists-*"])
    rival = account(RIVAL_ID, RIVAL_UIN, RIVAL_APPID, RIVAL_KEY, RIVAL_SECRET, ["theirs-*"])
    stores = store.settings(endpoint=proxy.endpoint, scratch_bucket=SCRATCH)
    folder = tmp_path_factory.mktemp("shared")
    with HaulierServer(stores, folder=folder / "server", extra={"accounts": {"acme": ours, "rival": rival}}) as started:
        yield started


@pytest.fixture
def bench(store: SeaweedFS, shared: HaulierServer, proxy: RecordingProxy) -> Neighbours:
    return Neighbours(store, shared, proxy)


# -- a job of acme


S3_TAGGING = {"S3PutObjectTagging": {"TagSet": [{"Key": "a", "Value": "b"}]}}
S3_REPORT = {"Enabled": True, "Prefix": "r", "Format": "Report_CSV_20180820", "ReportScope": "AllTasks"}


def s3_manifest(bench: Neighbours) -> str:
    etag = bench.s3.head_object(Bucket=bench.theirs, Key="manifest.csv")["ETag"]
    location = {"ObjectArn": f"arn:aws:s3:::{bench.theirs}/manifest.csv", "ETag": etag}
    spec = {"Format": "S3BatchOperations_CSV_20180820", "Fields": ["Bucket", "Key"]}
    return bench.s3_job(S3_TAGGING, "", Manifest={"Location": location, "Spec": spec})


def s3_row(operation: dict[str, Any]) -> Callable[[Neighbours], str]:
    return lambda bench: bench.s3_job(operation, bench.manifest([(bench.source, "mine"), (bench.theirs, "secret")]))


def s3_copied_row(bench: Neighbours) -> str:
    copy = {"S3PutObjectCopy": {"TargetResource": f"arn:aws:s3:::{bench.target}"}}
    return bench.s3_job(copy, bench.manifest([(bench.theirs, "secret")]))


def s3_target(bench: Neighbours) -> str:
    copy = {"S3PutObjectCopy": {"TargetResource": f"arn:aws:s3:::{bench.theirs}"}}
    return bench.s3_job(copy, bench.manifest([(bench.source, "mine")]))


def s3_report(bench: Neighbours) -> str:
    report = {**S3_REPORT, "Bucket": f"arn:aws:s3:::{bench.theirs}"}
    return bench.s3_job(S3_TAGGING, bench.manifest([(bench.source, "mine")]), Report=report)


def cos_job(bench: Neighbours, operation: str, etag: str, *, manifest: str | None = None, report: str | None = None) -> str:
    def named(bucket: str) -> str:
        return f"qcs::cos:ap-chengdu:uid/{bucket.rpartition('-')[2]}:{bucket}"

    return bench.server.cos_client.create_job(
        f"""<CreateJobRequest><ClientRequestToken>{uuid.uuid4()}</ClientRequestToken><ConfirmationRequired>false</ConfirmationRequired>
        <Manifest><Location><ETag>{etag}</ETag><ObjectArn>{named(manifest or bench.lists)}/manifest.csv</ObjectArn></Location>
        <Spec><Fields><member>Bucket</member><member>Key</member></Fields><Format>COSBatchOperations_CSV_V1</Format></Spec></Manifest>
        <Operation>{operation.format(named(bench.target), named(bench.theirs))}</Operation><Priority>1</Priority>
        <Report><Bucket>{named(report or bench.lists)}</Bucket><Enabled>true</Enabled><Format>Report_CSV_V1</Format>
        <Prefix>r</Prefix><ReportScope>AllTasks</ReportScope></Report><RoleArn>{COS_ROLE}</RoleArn></CreateJobRequest>"""
    )


COS_DELETE = "<COSDeleteObject/>"
COS_COPY = "<COSPutObjectCopy><TargetResource>{}</TargetResource></COSPutObjectCopy>"
COS_COPY_TO_THEM = "<COSPutObjectCopy><TargetResource>{1}</TargetResource></COSPutObjectCopy>"


def cos_manifest(bench: Neighbours) -> str:
    etag = bench.s3.head_object(Bucket=bench.theirs, Key="manifest.csv")["ETag"]
    return cos_job(bench, COS_DELETE, etag.replace('"', ""), manifest=bench.theirs)


def cos_row(operation: str) -> Callable[[Neighbours], str]:
    return lambda bench: cos_job(bench, operation, bench.manifest([(bench.theirs, "secret")]))


def cos_target(bench: Neighbours) -> str:
    return cos_job(bench, COS_COPY_TO_THEM, bench.manifest([(bench.source, "mine")]))


def cos_report(bench: Neighbours) -> str:
    return cos_job(bench, COS_DELETE, bench.manifest([(bench.source, "mine")]), report=bench.theirs)


def native_manifest(bench: Neighbours) -> str:
    etag = bench.s3.head_object(Bucket=bench.theirs, Key="manifest.csv")["ETag"]
    return bench.native.create(manifest={"bucket": bench.theirs, "key": "manifest.csv", "etag": etag})


def native_job(bench: Neighbours, row: tuple[str, str], **changes: Any) -> str:
    manifest = {"bucket": bench.lists, "key": "manifest.csv", "etag": bench.manifest([row])}
    return bench.native.create(manifest=manifest, confirm=False, **changes)


def native_row(bench: Neighbours) -> str:
    return native_job(bench, (bench.theirs, "secret"), operation={"name": "delete"})


def native_target(bench: Neighbours) -> str:
    copy = {"name": "copy", "parameters": {"target_bucket": bench.theirs}}
    return native_job(bench, (bench.source, "mine"), operation=copy)


def native_report(bench: Neighbours) -> str:
    return native_job(bench, (bench.source, "mine"), report={"bucket": bench.theirs, "prefix": "r"})


NAMED = {
    "s3 manifest": s3_manifest,
    "s3 row to tag": s3_row(S3_TAGGING),
    "s3 row to delete": s3_row({"S3DeleteObject": {}}),
    "s3 row to copy": s3_copied_row,
    "s3 copy's target": s3_target,
    "s3 report": s3_report,
    "cos manifest": cos_manifest,
    "cos row to delete": cos_row(COS_DELETE),
    "cos row to copy": cos_row(COS_COPY),
    "cos copy's target": cos_target,
    "cos report": cos_report,
    "native manifest": native_manifest,
    "native row": native_row,
    "native copy's target": native_target,
    "native report": native_report,
}


@pytest.mark.parametrize("create", NAMED.values(), ids=NAMED)
def test_a_job_that_names_the_others_bucket_fails_and_no_request_reaches_it(
    bench: Neighbours, create: Callable[[Neighbours], str]
) -> None:
    status, code, reason = bench.failure(create(bench))
    assert (status, code) == ("Failed", "RoleNotAllowed")
    assert bench.theirs in reason
    assert bench.untouched()
    assert bench.keys(bench.source) == {"mine"}
    assert bench.keys(bench.target) == set()


@pytest.mark.parametrize("named", ["manifest", "report"])
def test_cos_refuses_a_bucket_that_is_named_as_anothers_before_there_is_a_job(bench: Neighbours, named: str) -> None:
    with pytest.raises(CosError, match=f"400 InvalidArgument: .*belongs to APPID {RIVAL_APPID}"):
        cos_job(bench, COS_DELETE, bench.manifest([(bench.source, "mine")]), **{named: f"x-{RIVAL_APPID}"})


@pytest.mark.parametrize("key", ["../{}/secret", "a/../../{}/secret", "../{}"])
def test_no_way_leads_up_from_a_key_to_the_others_bucket(bench: Neighbours, key: str) -> None:
    key = key.format(bench.theirs)
    for operation in (
        S3_TAGGING,
        {"S3DeleteObject": {}},
        {"S3PutObjectCopy": {"TargetResource": f"arn:aws:s3:::{bench.target}"}},
    ):
        job = bench.wait(bench.s3_job(operation, bench.manifest([(bench.source, key)])))
        assert (job["Status"], bench.counts(job)) == ("Complete", (1, 0, 1))
    assert bench.untouched()


def test_the_proxy_does_see_what_the_owner_does(bench: Neighbours) -> None:
    bench.s3.put_object(Bucket=bench.theirs, Key="manifest.csv", Body=f"{bench.theirs},secret\n".encode())
    etag = bench.s3.head_object(Bucket=bench.theirs, Key="manifest.csv")["ETag"]
    job_id = bench.rival.create_job(
        Operation=S3_TAGGING,
        Manifest={
            "Spec": {"Format": "S3BatchOperations_CSV_20180820", "Fields": ["Bucket", "Key"]},
            "Location": {"ObjectArn": f"arn:aws:s3:::{bench.theirs}/manifest.csv", "ETag": etag},
        },
        Report={"Enabled": False},
        Priority=1,
        RoleArn=RIVAL_ROLE,
        ConfirmationRequired=False,
        ClientRequestToken=uuid.uuid4().hex,
    )["JobId"]
    rivals = NativeClient(bench.server.port, RIVAL_KEY, RIVAL_SECRET)
    assert rivals.get(f"jobs/{job_id}", query={"wait": 15}, timeout=30).json["status"] == "Complete"
    assert {passed.method for passed in bench.proxy.touching(bench.theirs)} >= {"GET", "PUT"}
    with pytest.raises(ClientError, match="NotFoundException"):
        bench.server.s3control().describe_job(JobId=job_id)


def test_a_generated_manifest_is_refused_before_there_is_a_job(bench: Neighbours) -> None:
    before = len(bench.server.s3control().list_jobs()["Jobs"])
    generator = {
        "S3JobManifestGenerator": {
            "SourceBucket": f"arn:aws:s3:::{bench.source}",
            "ManifestOutputLocation": {
                "Bucket": f"arn:aws:s3:::{bench.theirs}",
                "ManifestFormat": "S3InventoryReport_CSV_20211130",
            },
            "EnableManifestOutput": True,
        }
    }
    with pytest.raises(ClientError, match=r"BadRequestException.*ManifestGenerator"):
        bench.server.s3control().create_job(
            Operation=S3_TAGGING,
            ManifestGenerator=generator,
            Report={"Enabled": False},
            Priority=1,
            RoleArn=S3_ROLE,
            ClientRequestToken="t",
        )
    assert len(bench.server.s3control().list_jobs()["Jobs"]) == before
    assert bench.untouched()


def test_the_others_role_is_refused_before_there_is_a_job(bench: Neighbours) -> None:
    before = len(bench.server.s3control().list_jobs()["Jobs"])
    with pytest.raises(ClientError, match="AccessDenied"):
        bench.s3_job(S3_TAGGING, bench.manifest([(bench.theirs, "secret")]), RoleArn=RIVAL_ROLE)
    assert len(bench.server.s3control().list_jobs()["Jobs"]) == before
    assert bench.untouched()


# -- a report's place (reliability.md §10, row 43)


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("prefix", "folder"),
    [("/", "/"), ("//", "//"), ("/etc/cron.d", "/etc/cron.d/"), ("a//b", "a//b/"), ("....//x", "....//x/"), ("C:\\x", "C:\\x/")],
)
def test_a_reports_prefix_is_a_key_and_never_a_path(bench: Neighbours, shared: HaulierServer, prefix: str, folder: str) -> None:
    before = files(shared.folder.parent)
    report = {**S3_REPORT, "Bucket": f"arn:aws:s3:::{bench.lists}", "Prefix": prefix}
    job_id = bench.s3_job({"S3DeleteObject": {}}, bench.manifest([(bench.source, "mine")]), Report=report)
    assert bench.wait(job_id)["Status"] == "Complete"
    written = {passed.target for passed in bench.proxy.passed if passed.method == "PUT" and job_id in passed.target}
    assert f"/{bench.lists}/{folder.replace(chr(92), '%5C').replace(':', '%3A')}job-{job_id}/manifest.json" in written
    new = {path.relative_to(shared.folder) for path in files(shared.folder.parent) - before}
    assert all(path.parts[0] == "data" and path.parts[1] in ("audit", "spool", "tmp") for path in new)
    assert bench.untouched()


@pytest.mark.parametrize("prefix", ["..", "../{}", "a/../../{}", "./../{}/x"])
def test_a_reports_prefix_that_leads_above_its_bucket_ends_the_job_before_any_task(bench: Neighbours, prefix: str) -> None:
    report = {**S3_REPORT, "Bucket": f"arn:aws:s3:::{bench.lists}", "Prefix": prefix.format(bench.theirs)}
    job_id = bench.s3_job({"S3DeleteObject": {}}, bench.manifest([(bench.source, "mine")]), Report=report)
    status, code, reason = bench.failure(job_id)
    assert (status, code) == ("Failed", "ReportDeliveryFailed")
    assert "lead above its bucket" in reason
    assert bench.keys(bench.source) == {"mine"}
    assert bench.untouched()


@pytest.mark.parametrize("character", ["\0", "\x01", "&#0;", "&#1;"])
def test_what_no_xml_can_carry_is_no_prefix(bench: Neighbours, character: str) -> None:
    body = f"<CreateJobRequest><Report><Prefix>a{character}b</Prefix></Report></CreateJobRequest>"
    answer = bench.server.cos("POST", "/jobs", body)
    assert (answer.status, answer.text("Code")) == (400, "MalformedXML")


# -- a role that is taken away (reliability.md §10, row 16)


def test_a_job_at_work_ends_within_a_minute_when_its_creator_may_no_longer_pass_its_role(
    store: SeaweedFS, tmp_path: Path
) -> None:
    stores = store.settings(scratch_bucket=SCRATCH, requests_per_second=20)
    with HaulierServer(stores, folder=tmp_path / "server", runners=1) as server:
        bench = Workbench(store, server)
        keys = [f"k/{number:05}" for number in range(3_000)]
        etag = bench.manifest([(bench.source, key) for key in keys])
        job_id = bench.s3_job(S3_TAGGING, etag, Report={"Enabled": False})  # at that rate it would run for minutes
        server.wait_for(job_id, ("Active",))
        text = server.config_file.read_text()
        server.config_file.write_text(text.replace('users = ["admin"]', "users = []"))
        os.kill(server.pid, signal.SIGHUP)
        began = time.monotonic()
        job = bench.wait(job_id, ("Failed",), seconds=60)
        assert time.monotonic() - began < 60
        assert job["FailureReasons"][0]["FailureCode"] == "RoleNotAllowed"
        assert "user 'admin' may no longer pass role 'batch'" in job["FailureReasons"][0]["FailureReason"]
        assert bench.counts(job)[1] + bench.counts(job)[2] < 3_000
        with pytest.raises(ClientError, match="AccessDenied"):
            bench.s3_job(S3_TAGGING, etag)
