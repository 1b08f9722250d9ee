"""A job seen on the other wire (decisions §2): its manifest, report and operation in that dialect's words, where it has them.

Only for looking: a job that came by one wire is carried out by that wire's rules whoever looks at it. The functions know the
parameters of our operations (`operations/`), not the requests they came from.
"""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.cos.elements import ELEMENTS as COS_ELEMENTS
from haulier.api.elements import Elements
from haulier.api.rules import given
from haulier.api.s3control.elements import ELEMENTS as S3_ELEMENTS
from haulier.core.accounts import Account
from haulier.core.arns import cos_bucket_name, s3_bucket_name
from haulier.core.job import Dialect, Job

MANIFEST_FORMATS: Final[Mapping[Dialect, str]] = {
    "s3control": "S3BatchOperations_CSV_20180820",
    "cos": "COSBatchOperations_CSV_V1",
}
REPORT_FORMATS: Final[Mapping[Dialect, str]] = {"s3control": "Report_CSV_20180820", "cos": "Report_CSV_V1"}

ELEMENTS: Final[Mapping[Dialect, Elements]] = {"s3control": S3_ELEMENTS, "cos": COS_ELEMENTS}


def operation_name(job: Job, dialect: Dialect, *, extensions: bool = True) -> str:
    """The operation's name as text in a list: the dialect's own where it has one, else the name it was created under."""
    translated = None if job.dialect == dialect else operation(job, dialect, extensions=extensions)
    if translated is not None:
        return next(iter(translated))
    sent = job.as_sent.get("Operation")
    return str(sent[2][0][0]) if sent else job.operation.name


def bucket_name(job: Job, account: Account, bucket: str, dialect: Dialect) -> str:
    """A bucket's resource name in the dialect."""
    return cos_bucket_name(account, job.region, bucket) if dialect == "cos" else s3_bucket_name(bucket)


def manifest(job: Job, account: Account, dialect: Dialect) -> dict[str, Any]:
    """The job's Manifest in the dialect; both shapes have the same members."""
    location = job.manifest.location
    return {
        "Location": given(
            {
                "ETag": job.manifest.etag,
                "ObjectArn": f"{bucket_name(job, account, location.bucket, dialect)}/{location.key}",
                "ObjectVersionId": location.version,
            }
        ),
        "Spec": {"Fields": list(job.manifest.fields), "Format": MANIFEST_FORMATS[dialect]},
    }


def report(job: Job, account: Account, dialect: Dialect) -> dict[str, Any]:
    """The job's Report in the dialect; both shapes have the same members."""
    if not job.report.enabled:
        return {"Enabled": False}
    return given(
        {
            "Bucket": bucket_name(job, account, job.report.bucket, dialect),
            "Enabled": True,
            "Format": REPORT_FORMATS[dialect],
            "Prefix": job.report.prefix or None,
            "ReportScope": job.report.scope,
        }
    )


def operation(job: Job, dialect: Dialect, account: Account | None = None, *, extensions: bool = True) -> dict[str, Any] | None:
    """The job's Operation in the dialect, or None where the dialect cannot say it. Without an account: names no resource."""

    def named(bucket: str) -> str:
        return "" if account is None else bucket_name(job, account, bucket, dialect)

    return ELEMENTS[dialect].write(job.operation, named, extensions=extensions)
