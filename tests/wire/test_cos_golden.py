"""What DescribeJob answers on the COS wire in each of the 13 states, byte for byte; two parsers read the same in it.

`WRITE_GOLDEN=1 pytest tests/wire/test_cos_golden.py` writes the files anew: look at the difference before you commit it.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from haulier.core.chunk import Chunk
from haulier.core.failures import FailureClass
from haulier.core.job import Failure
from haulier.core.lifecycle import JobEvent as E
from haulier.core.lifecycle import JobStatus
from haulier.core.ports import ChunkSealed, ChunksStaged
from haulier.testing import cosclient
from wire import serving
from wire.serving import Serving
from wire.xmls import read_twice

FILES = Path(__file__).parent / "golden" / "cos"
CREATED_MS = 1_772_439_300_999
JOB_ID = "1f6d6b5e-7a50-4c3b-8f0e-2f8b6f1f9c11"
FAILURE = Failure("ReportDeliveryFailed", "the report could not be written: 403 AccessDenied <no & no>")
REQUEST = """<CreateJobRequest>
  <ClientRequestToken>6f0c9a52-0c1f-4d53-9a44-5a8b1f2f7d10</ClientRequestToken>
  <ConfirmationRequired> TRUE </ConfirmationRequired>
  <Description>move logs &lt;old&gt; under archive/ 归档</Description>
  <Manifest>
    <Location>
      <ETag><![CDATA["9b2cf535f27731c974343645a3985328"]]></ETag>
      <ObjectArn>qcs::cos:ap-chengdu::lists-1250000000/2026/logs &amp; more.csv</ObjectArn>
      <ObjectVersionId>MTg0NDY3NDI1NTk0MzUwNDQxMjk</ObjectVersionId>
    </Location>
    <Spec>
      <Format> COSBatchOperations_CSV_V1 </Format>
      <Fields><member>Bucket</member><member>Key</member><member>VersionId</member><member>Ignore</member></Fields>
    </Spec>
  </Manifest>
  <Operation>
    <COSPutObjectCopy>
      <AccessControlDirective>Replaced</AccessControlDirective>
      <AccessControlGrants><COSGrant><Grantee><DisplayName>qcs::cam::uin/100000000001:uin/100000000011</DisplayName>
        <Identifier>qcs::cam::uin/100000000001:uin/100000000011</Identifier><TypeIdentifier>ID</TypeIdentifier></Grantee>
        <Permission>READ</Permission></COSGrant></AccessControlGrants>
      <MetadataDirective>replaced</MetadataDirective>
      <ModifiedSinceConstraint>2026-01-01T00:00:00Z</ModifiedSinceConstraint>
      <NewObjectMetadata><CacheControl> no-cache </CacheControl><SSEAlgorithm>AES256</SSEAlgorithm>
        <UserMetadata><member><Key>origin</Key><Value>日志</Value></member></UserMetadata></NewObjectMetadata>
      <NewObjectTagging></NewObjectTagging>
      <PrefixReplace>True</PrefixReplace>
      <ResourcesPrefix>logs/</ResourcesPrefix>
      <StorageClass>STANDARD_IA</StorageClass>
      <TaggingDirective>Replace</TaggingDirective>
      <TargetKeyPrefix></TargetKeyPrefix>
      <TargetResource>qcs::cos:ap-chengdu:uid/1250000000:cold-1250000000</TargetResource>
    </COSPutObjectCopy>
  </Operation>
  <Priority> 10 </Priority>
  <Report>
    <Bucket>qcs::cos:ap-chengdu:uid/1250000000:lists-1250000000</Bucket>
    <Enabled>true</Enabled>
    <Format>Report_CSV_V1</Format>
    <Prefix>reports</Prefix>
    <ReportScope>AllTasks</ReportScope>
  </Report>
  <RoleArn>qcs::cam::uin/100000000001:roleName/batch</RoleArn>
</CreateJobRequest>"""

CONFIRMED = {E.PREPARED: (E.CONFIRMATION_DUE, E.CONFIRMED)}
WAYS = {status: tuple(step for event in way for step in CONFIRMED.get(event, (event,))) for status, way in serving.WAYS.items()}
"""As any job goes, but confirmed on its way."""
FACTS: dict[E, dict[str, Any]] = {
    E.CONFIRMATION_DUE: {"total": 42},
    E.CONFIRMED: {"reason": "looks right, 确认"},
    E.FAILED: {"failure": FAILURE},
}


@pytest.fixture
def stopped(fresh: Serving, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    """A server at a moment of our choice, that gives its job the id of our choice."""
    fresh.clock.fixed_ms = CREATED_MS
    monkeypatch.setattr(cosclient, "time", SimpleNamespace(time=lambda: fresh.clock.now_ms() / 1000))
    monkeypatch.setattr(fresh.service, "_new_id", lambda: JOB_ID)
    return fresh


def go(served: Serving, status: str) -> None:
    """Take the job to the state, a minute for each step; 41 of its 42 tasks succeed."""
    assert served.clock.fixed_ms is not None
    for event in WAYS[status]:
        served.clock.fixed_ms += 60_000
        served.move(JOB_ID, event, **FACTS.get(event, {}))
        if event is E.PICKED_UP:
            chunk = Chunk(job=JOB_ID, index=0, first_row=0, rows=42, name="chunk")
            served.jobstore.commit(served.epoch, [ChunksStaged(JOB_ID, (chunk,))])
        elif event is E.STARTED:
            served.jobstore.commit(
                served.epoch, [ChunkSealed(JOB_ID, 0, "sealed", 41, 1, (FailureClass(code="NoSuchKey", status=404, count=1),))]
            )


def test_there_is_a_file_for_every_state_and_no_other() -> None:
    assert {path.stem for path in FILES.iterdir()} == set(WAYS) == {str(status) for status in JobStatus}


@pytest.mark.parametrize("status", WAYS)
def test_a_job_is_described_as_its_file_says(stopped: Serving, status: str) -> None:
    client = stopped.cos()
    assert client.create_job(REQUEST) == JOB_ID
    go(stopped, status)
    body = client.describe_job(JOB_ID).body
    path = FILES / f"{status}.xml"
    if os.environ.get("WRITE_GOLDEN"):
        path.write_bytes(body + b"\n")
    assert body + b"\n" == path.read_bytes()
    root = read_twice(body)
    assert (root.tag, root.findtext("Job/Status")) == ("DescribeJobResult", status)


def test_what_was_sent_is_echoed_as_it_was_sent(stopped: Serving) -> None:
    """All of it, but for white space between elements, and what the Go SDK could not decode otherwise."""
    client = stopped.cos()
    client.create_job(REQUEST)
    described = client.describe_job(JOB_ID).body.decode()
    dense = re.sub(r">\s+<", "><", REQUEST)
    for sent, told in (
        ('<![CDATA["9b2cf535f27731c974343645a3985328"]]>', '"9b2cf535f27731c974343645a3985328"'),
        ("2026-01-01T00:00:00Z", "1767225600"),
        ("<PrefixReplace>True<", "<PrefixReplace>true<"),
        ("<NewObjectTagging></NewObjectTagging>", "<NewObjectTagging/>"),
        ("<TargetKeyPrefix></TargetKeyPrefix>", "<TargetKeyPrefix/>"),
    ):
        assert dense.count(sent) == 1
        dense = dense.replace(sent, told)
    for name in ("Manifest", "Operation", "Report", "RoleArn", "Description"):
        element = dense[dense.index(f"<{name}>") : dense.index(f"</{name}>")]
        assert element in described
