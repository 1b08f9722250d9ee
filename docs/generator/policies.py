"""The page on policies: the prose of `policies.md`, with tables of what the evaluator knows, and examples that it reads."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from haulier.core.calls import Call, Target
from haulier.core.policy import parse
from haulier.core.policy.builtin import DOCUMENTS
from haulier.core.policy.conditions import OPERATORS
from haulier.core.policy.words import CONDITION_KEYS, OPERATIONS, ConditionKey, Kind

TEMPLATE: Final = Path(__file__).with_suffix(".md")

EXAMPLES: Final = {
    "A team may create jobs of low priority, and nothing but its own": """{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": "s3:CreateJob",
      "Resource": "*",
      "Condition": {
        "NumericLessThanEquals": {"s3:RequestJobPriority": 10},
        "StringEquals": {"aws:RequestTag/team": "media"}
      }
    },
    {
      "Effect": "Allow",
      "Action": "s3:PutJobTagging",
      "Resource": "*",
      "Condition": {"StringEquals": {"aws:RequestTag/team": "media", "aws:ResourceTag/team": "media"}}
    },
    {
      "Effect": "Allow",
      "Action": ["s3:DescribeJob", "s3:UpdateJobStatus", "s3:GetJobTagging"],
      "Resource": "*",
      "Condition": {"StringEquals": {"aws:ResourceTag/team": "media"}}
    },
    {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::123456789012:role/media"}
  ]
}""",
    "Everything but deleting objects": """{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": "*", "Resource": "*"},
    {
      "Sid": "NoDeletes",
      "Effect": "Deny",
      "Action": "s3:CreateJob",
      "Resource": "*",
      "Condition": {"StringEquals": {"s3:RequestJobOperation": ["S3DeleteObject", "S3DeleteObjectTagging"]}}
    }
  ]
}""",
    "Confirming and cancelling what waits for confirmation, from the office": """{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": ["s3:CreateJob", "s3:ListJobs", "s3:DescribeJob", "iam:PassRole"], "Resource": "*"},
    {
      "Effect": "Allow",
      "Action": "s3:UpdateJobStatus",
      "Resource": "*",
      "Condition": {
        "StringEquals": {"s3:JobSuspendedCause": "AWAITING_CONFIRMATION"},
        "IpAddress": {"aws:SourceIp": "192.0.2.0/24"}
      }
    }
  ]
}""",
    "A COS program that watches jobs": """{
  "Version": "2012-10-17",
  "Statement": {"Effect": "Allow", "Action": "cos:ListJobs", "Resource": "*"}
}""",
}
"""What the page shows; each is read when the page is made."""

_TARGETS: Final = {
    Target.EVERYTHING: "`*` alone",
    Target.JOB: "the job",
    Target.ROLE: "the role",
}
_CALLS: Final = {
    Call.CREATE: "create a job; with another job's right: confirm and resume it",
    Call.DESCRIBE: "look at a job and at its events",
    Call.LIST: "list jobs",
    Call.SET_PRIORITY: "change a job's priority",
    Call.SET_LIMITS: "limit what a job does to its stores",
    Call.SET_STATUS: "cancel, pause, confirm or resume a job",
    Call.GET_TAGS: "see a job's tags",
    Call.PUT_TAGS: "replace a job's tags; create a job with tags",
    Call.DELETE_TAGS: "remove a job's tags",
    Call.DELETE: "delete a job's record",
    Call.PASS_ROLE: "let a job act as the role: when creating, confirming and resuming it, and whenever it is handed work",
}


def page() -> str:
    """The page."""
    for name, text in (EXAMPLES | DOCUMENTS).items():
        parse(text, name)
    tables = {
        "actions": _table(
            ("action", "for", "resource"),
            [(_codes(call.names), _CALLS[call], _TARGETS[call.target]) for call in Call],
        ),
        "keys": _table(
            ("key", "is", "has a value for", "means"),
            [(_codes([_spelled(key)]), key.kind.value, key.given, key.meaning) for key in CONDITION_KEYS],
        ),
        "operations": _codes(sorted(OPERATIONS)),
        "operators": _table(("for a key that is", "operators"), [(kind.value, _operators(kind)) for kind in Kind]),
        "built_in": "\n\n".join(f"`{name}`\n\n```json\n{text}\n```" for name, text in DOCUMENTS.items()),
        "examples": "\n\n".join(f"{name}:\n\n```json\n{text}\n```" for name, text in EXAMPLES.items()),
    }
    return re.sub(r"\{([a-z_]+)\}", lambda found: tables[found[1]], TEMPLATE.read_text("utf-8"))


def _spelled(key: ConditionKey) -> str:
    return f"{key.name}KEY" if key.name.endswith("/") else key.name


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _operators(kind: Kind) -> str:
    return _codes(name for name, operator in OPERATORS.items() if kind in operator.kinds and name != "Null")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
