"""The condition keys that a policy may name: what each is worth, and when. docs/reference/policies.md is made of this."""

from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from haulier.core.job import OperationSpec


class Kind(Enum):
    """What a key's value is, and so which operators compare it."""

    TEXT = "text"
    NUMBER = "number"
    TRUTH = "true or false"
    DATE = "date"
    ADDRESS = "IP address"
    ARN = "ARN"
    TEXTS = "several texts"


class ConditionKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key, or the family of keys that begin with `name` where that ends with a slash."""

    name: str
    kind: Kind
    meaning: str
    given: str = "always"
    """For which calls there is a value."""
    of_request: bool = False
    """Whether there is a value only while a request is being answered: not when a job of an earlier request is handed work."""
    values: frozenset[str] | None = None
    """All that it can be worth, where that is known."""


OPERATION_NAMES: Final[Mapping[str, str]] = {
    "compute_checksum": "S3ComputeObjectChecksum",
    "copy": "S3PutObjectCopy",
    "delete": "S3DeleteObject",
    "delete_tagging": "S3DeleteObjectTagging",
    "invoke_function": "LambdaInvoke",
    "put_acl": "S3PutObjectAcl",
    "put_legal_hold": "S3PutObjectLegalHold",
    "put_retention": "S3PutObjectRetention",
    "put_tagging": "S3PutObjectTagging",
    "replicate": "S3ReplicateObject",
    "restore": "S3InitiateRestoreObject",
    "undelete": "S3UndeleteObject",
    "update_encryption": "S3UpdateObjectEncryption",
    "update_properties": "S3UpdateObjectProperties",
    "verify": "S3VerifyObject",
}
"""Our operations, also those that this version cannot run: a policy may be written before it can."""
MERGE_TAGGING: Final = "S3MergeObjectTagging"

OPERATIONS: Final = frozenset(OPERATION_NAMES.values()) | {MERGE_TAGGING}
"""Every operation as policies call it, whatever wire a job came by: as the S3 wire does."""


def operation_name(operation: OperationSpec) -> str:
    """What policies call it."""
    if operation.name == "put_tagging" and operation.parameters.get("mode") == "add":
        return MERGE_TAGGING
    return OPERATION_NAMES.get(operation.name, operation.name)


_CREATION: Final = "CreateJob, and what needs the same right: confirming and resuming"
_OF_A_JOB: Final = "calls about one job"

CONDITION_KEYS: Final = (
    ConditionKey(
        name="s3:RequestJobPriority",
        kind=Kind.NUMBER,
        meaning="the priority asked for; when confirming and resuming, that of the job",
        given=f"{_CREATION}; UpdateJobPriority",
    ),
    ConditionKey(
        name="s3:RequestJobOperation",
        kind=Kind.TEXT,
        meaning="the operation asked for, by its name on the S3 wire whatever wire it came by",
        given=_CREATION,
        values=OPERATIONS,
    ),
    ConditionKey(name="s3:ExistingJobPriority", kind=Kind.NUMBER, meaning="the job's priority before the call", given=_OF_A_JOB),
    ConditionKey(
        name="s3:ExistingJobOperation",
        kind=Kind.TEXT,
        meaning="the job's operation, by its name on the S3 wire",
        given=_OF_A_JOB,
        values=OPERATIONS,
    ),
    ConditionKey(
        name="s3:JobSuspendedCause",
        kind=Kind.TEXT,
        meaning="why the job is Suspended",
        given=f"{_OF_A_JOB} that is Suspended",
        values=frozenset({"AWAITING_CONFIRMATION"}),
    ),
    ConditionKey(
        name="aws:RequestTag/",
        kind=Kind.TEXT,
        meaning="the value of that tag among those sent; the tag's key is compared to the letter",
        given=f"{_CREATION}; PutJobTagging",
    ),
    ConditionKey(
        name="aws:ResourceTag/",
        kind=Kind.TEXT,
        meaning="the value of that tag of the job; the tag's key is compared to the letter",
        given=_OF_A_JOB,
    ),
    ConditionKey(name="aws:TagKeys", kind=Kind.TEXTS, meaning="the keys of the tags sent", given=f"{_CREATION}; PutJobTagging"),
    ConditionKey(
        name="iam:PassedToService",
        kind=Kind.TEXT,
        meaning="whom a role is passed to: `batchoperations.s3.amazonaws.com`, on every wire",
        given="PassRole",
    ),
    ConditionKey(name="aws:username", kind=Kind.TEXT, meaning="the user's name"),
    ConditionKey(
        name="aws:PrincipalAccount",
        kind=Kind.TEXT,
        meaning="the account's AWS account id",
        given="accounts that have one",
    ),
    ConditionKey(
        name="aws:PrincipalArn",
        kind=Kind.ARN,
        meaning="the user, as `arn:aws:iam::ACCOUNT:user/NAME`",
        given="accounts with an AWS account id",
    ),
    ConditionKey(name="aws:RequestedRegion", kind=Kind.TEXT, meaning="the region the request is for", of_request=True),
    ConditionKey(name="aws:SourceIp", kind=Kind.ADDRESS, meaning="the address the request came from", of_request=True),
    ConditionKey(name="aws:SecureTransport", kind=Kind.TRUTH, meaning="whether the request came over TLS", of_request=True),
    ConditionKey(name="aws:CurrentTime", kind=Kind.DATE, meaning="the server's time", of_request=True),
    ConditionKey(name="aws:EpochTime", kind=Kind.DATE, meaning="the same", of_request=True),
    ConditionKey(
        name="haulier:Dialect",
        kind=Kind.TEXT,
        meaning="the wire that the request came by",
        of_request=True,
        values=frozenset({"s3control", "cos", "native"}),
    ),
)

OF_REQUEST: Final = frozenset(key.name.lower() for key in CONDITION_KEYS if key.of_request)
"""The keys, as `Question.context` spells them, that have a value only while a request is being answered."""

_BY_NAME: Final = {key.name.lower(): key for key in CONDITION_KEYS}
TAG_KEY_CHARACTERS_MAX: Final = 128


def condition_key(name: str) -> ConditionKey | None:
    """The key of that name: in any case, but for what follows a slash. None if there is none."""
    prefix, slash, tag = name.partition("/")
    if slash and not 1 <= len(tag) <= TAG_KEY_CHARACTERS_MAX:
        return None
    return _BY_NAME.get(prefix.lower() + slash)


def canonical(name: str) -> str:
    """A key's name as `Question.context` spells it."""
    prefix, slash, tag = name.partition("/")
    return prefix.lower() + slash + tag
