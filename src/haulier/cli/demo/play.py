"""The demo's three acts: create a job, watch it, show what it left, check what it claims."""

import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from rich.console import Console

from haulier.cli.demo import claims
from haulier.cli.demo.stage import LISTS, REPORTS, SOURCE_PREFIX, TAGS, TARGET, TARGET_PREFIX, Stage, copied_key
from haulier.cli.progress import State, view
from haulier.core.lifecycle import TERMINAL
from haulier.testing.cosclient import CosAnswer
from haulier.testing.jobs import JobReport, PutManifest, cos_bucket, cos_job, read_report, s3_job
from haulier.testing.server import WaitedTooLong

_LookUp = Callable[[Stage], Iterator[claims.Claim]]

_POLL_SECONDS: Final = 0.1
_LINE_SECONDS: Final = 1.0
_JOB_SECONDS_MAX: Final = 300.0
_COPY: Final = f"""<COSPutObjectCopy>
    <PrefixReplace>true</PrefixReplace>
    <ResourcesPrefix>{SOURCE_PREFIX}</ResourcesPrefix>
    <TargetKeyPrefix>{TARGET_PREFIX}</TargetKeyPrefix>
    <TargetResource>{cos_bucket(TARGET)}</TargetResource>
  </COSPutObjectCopy>"""


class Play:
    """Plays the acts one after the other."""

    def __init__(self, console: Console, stage: Stage) -> None:
        self._console = console
        self._stage = stage
        self._cos = stage.server.cos_client

    def run(self) -> bool:
        """All acts; whether every claim held."""
        return all([self._copy(), self._tag(), self._delete()])

    def _copy(self) -> bool:
        keys = [*self._stage.objects.bodies, *self._stage.objects.missing]
        self._title("1. COS Batch: copy every object to another bucket, under a new prefix, once it is confirmed")
        job_id = self._create_cos(_COPY, self._stage.manifests.copy, "move albums under archive/", confirmation=True)
        waiting = self._follow(job_id, until={"Suspended"})
        total = waiting.text("Job/ProgressSummary/TotalNumberOfTasks")
        self._console.print(
            f"The manifest was read: {total} tasks. The job waits, {waiting.text('Job/SuspendedCause')}; confirming."
        )
        self._cos.confirm_job(job_id, "looks right")
        return self._ended(job_id, keys, {"NoSuchKey": len(self._stage.objects.missing)}, claims.copied)

    def _tag(self) -> bool:
        keys = [copied_key(key) for key in (*self._stage.objects.bodies, *self._stage.objects.missing)]
        self._title("2. S3 Batch Operations, by boto3: tag every copy")
        operation = {"S3PutObjectTagging": {"TagSet": [{"Key": key, "Value": value} for key, value in TAGS.items()]}}
        request = s3_job(operation, self._stage.manifests.tag, REPORTS, Description="tag the archive")
        job_id = self._stage.server.s3control().create_job(**request)["JobId"]
        return self._ended(job_id, keys, {"NoSuchKey": len(self._stage.objects.missing)}, claims.tagged)

    def _delete(self) -> bool:
        keys = [*self._stage.objects.deleted, *self._stage.objects.missing]
        self._title("3. COS Batch: delete every second source object")
        job_id = self._create_cos("<COSDeleteObject/>", self._stage.manifests.delete, "thin out albums")
        # Deleting what is not there succeeds, as it does on S3 and COS.
        return self._ended(job_id, keys, {}, claims.deleted)

    def _create_cos(self, operation: str, manifest: PutManifest, description: str, *, confirmation: bool = False) -> str:
        body = cos_job(operation, manifest, REPORTS, description=description, confirmation=confirmation)
        return self._cos.create_job(body)

    def _ended(self, job_id: str, keys: Sequence[str], failures: Mapping[str, int], looked_up: _LookUp) -> bool:
        """Watch the job to its end, show everything about it, check every claim."""
        answer = self._follow(job_id, until=TERMINAL)
        report = read_report(self._stage.s3, LISTS, REPORTS, job_id)
        self._show(answer, report)
        found = [*claims.counted(_state(answer), report, keys, failures), *looked_up(self._stage)]
        for claim in found:
            self._console.print(
                f"  {'NO: ' if claim.problem else 'yes:'} {claim.sentence}{claim.problem and ', but ' + claim.problem}"
            )
        return not any(claim.problem for claim in found)

    def _follow(self, job_id: str, *, until: Iterable[str]) -> CosAnswer:
        """Show the job's progress until it is in one of the states. Raises WaitedTooLong.

        A job of either wire is seen on both; the S3 one tells failures by code while the job runs.
        """
        client = self._stage.server.s3control()
        wanted, end, shown = {*until, *TERMINAL}, time.monotonic() + _JOB_SECONDS_MAX, view(time.monotonic, _LINE_SECONDS)
        try:
            while True:
                answer = self._cos.describe_job(job_id)
                state = _state(answer)
                shown.show(State.of(client.describe_job(JobId=job_id)["Job"]))
                if state.status in wanted:
                    return answer
                if time.monotonic() > end:
                    raise WaitedTooLong(f"job {job_id} is still {state.status}\n{self._stage.server.log_tail()}")
                time.sleep(_POLL_SECONDS)
        finally:
            shown.close()

    def _show(self, answer: CosAnswer, report: JobReport) -> None:
        failures = ", ".join(f"{count} {code}" for code, count in report.failures().most_common())
        self._console.print(f"failures by code: {failures or 'none'}\n\nDescribeJob:")
        document = answer.xml
        ET.indent(document)
        self._console.print(ET.tostring(document, encoding="unicode"))
        self._console.print(f"\nReport: s3://{LISTS}/{report.manifest_key}, {len(report.rows):,} rows; its first:")
        for line in report.first_lines:
            self._console.print(f"  {line}")
        self._console.print("\nLooked up in the store itself:")

    def _title(self, text: str) -> None:
        self._console.print(f"\n{text}\n{'─' * len(text)}")


def _state(answer: CosAnswer) -> State:
    def count(name: str) -> int:
        return int(answer.text(f"Job/ProgressSummary/{name}") or 0)

    return State(
        answer.text("Job/JobId") or "",
        answer.text("Job/Status") or "",
        count("TotalNumberOfTasks"),
        count("NumberOfTasksSucceeded"),
        count("NumberOfTasksFailed"),
    )
