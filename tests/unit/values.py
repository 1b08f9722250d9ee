"""Values with defaults, so that a test states only what it is about."""

from typing import Any

from haulier.core.job import Job, Manifest, ObjectName, OperationSpec, Report


def a_job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "id": "7f1d2b54-5f5e-4a55-9c0a-0d3b7a2f1e01",
        "account": "acme",
        "dialect": "s3control",
        "token": "token-1",
        "digest": "d" * 64,
        "created_by": "admin",
        "role": "batch",
        "role_arn": "arn:aws:iam::123456789012:role/batch",
        "region": "us-east-1",
        "priority": 10,
        "confirmation_required": False,
        "manifest": Manifest(
            location=ObjectName("lists", "manifest.csv"),
            etag="e" * 32,
            format="S3BatchOperations_CSV_20180820",
            fields=("Bucket", "Key"),
        ),
        "operation": OperationSpec(name="put_tagging", parameters={"tags": {"a": "b"}}),
        "report": Report(enabled=False),
        "as_sent": {},
        "created_ms": 1_700_000_000_000,
        "status_since_ms": 1_700_000_000_000,
    }
    return Job(**(values | changes))
