"""Resource names of both clouds: AWS ARNs and COS six-segment QCS names. One parser each way, bounded, no regex on keys."""

import re
from typing import Final

import msgspec

from haulier.core.accounts import Account
from haulier.core.errors import AccessRefused, InvalidField

_COS_OWNER: Final = re.compile(r"(uid/[0-9]{1,20})?")
_APPID_TAIL: Final = re.compile(r"-([0-9]{10})\Z")
"""Ten digits, as all APPIDs have. Fewer are part of the bucket's own name (`photos-2024`): other stores than COS have names
without APPID (docs/decisions/0017)."""
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


class Resource(msgspec.Struct, frozen=True):
    """A bucket or object that a resource name points at."""

    bucket: str
    key: str | None
    region: str | None
    owner: str | None
    """COS: the APPID in the name, where one is given."""


def s3_resource(text: str, path: str) -> Resource:
    """`arn:aws:s3:::bucket[/key]`, also with region and account filled in. Raises InvalidField naming `path`."""
    parts = text.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != "s3" or not parts[1]:
        raise InvalidField(path, f"{text!r} is not an S3 ARN (arn:aws:s3:::bucket/key)")
    bucket, slash, key = parts[5].partition("/")
    if parts[4] and bucket == "accesspoint":
        raise InvalidField(path, f"{text!r} names an access point; name the bucket itself (arn:aws:s3:::bucket/key)")
    _check_bucket(bucket, text, path)
    return Resource(bucket, key if slash else None, parts[3] or None, None)


def cos_resource(text: str, path: str) -> Resource:
    """`qcs::cos:<region>:uid/<APPID>:<bucket-APPID>[/key]`; the account segment may be empty. Raises InvalidField."""
    parts = text.split(":", 5)
    if len(parts) != 6 or parts[:3] != ["qcs", "", "cos"] or not _COS_OWNER.fullmatch(parts[4]):
        raise InvalidField(path, f"{text!r} is not a COS resource (qcs::cos:region:uid/APPID:bucket-APPID/key)")
    bucket, slash, key = parts[5].partition("/")
    _check_bucket(bucket, text, path)
    named, own = parts[4].removeprefix("uid/"), appid_of(bucket)
    if named and own is not None and named != own:
        raise InvalidField(path, f"{text!r} names APPID {named}, but the bucket is that of APPID {own}")
    return Resource(bucket, key if slash else None, parts[3] or None, named or own)


def appid_of(bucket: str) -> str | None:
    """The APPID at the end of a bucket's name, which says whose it is on COS; None where there is none."""
    found = _APPID_TAIL.search(bucket)
    return found[1] if found else None


def _check_bucket(bucket: str, text: str, path: str) -> None:
    if not _BUCKET.fullmatch(bucket):
        raise InvalidField(path, f"{text!r} does not name a bucket")


def s3_bucket_name(bucket: str) -> str:
    """The bucket as the S3 wire spells it."""
    return f"arn:aws:s3:::{bucket}"


def cos_bucket_name(account: Account, region: str, bucket: str) -> str:
    """The bucket as the COS wire spells it: of the owner that its name tells, else of the account."""
    return f"qcs::cos:{region}:uid/{appid_of(bucket) or account.cos_appid}:{bucket}"


def role_name(text: str, account: Account, path: str) -> str:
    """The role's name in the caller's account, from either cloud's form.

    Raises InvalidField naming `path` for what is no role's name, AccessRefused for the role of another account.
    `arn:aws:iam::123456789012:role/batch` and `qcs::cam::uin/100000000001:roleName/batch` are one role.
    """
    if text.startswith("qcs:"):
        parts = text.split(":", 5)
        if len(parts) == 6 and parts[2] == "cam" and parts[5].startswith("roleName/") and parts[4].startswith("uin/"):
            return _owned(text, parts[4][4:], account.cos_uin, parts[5][9:], path)
    else:
        parts = text.split(":", 5)
        if len(parts) == 6 and parts[0] == "arn" and parts[2] == "iam" and parts[5].startswith("role/"):
            return _owned(text, parts[4], account.aws_account_id, parts[5][5:].rpartition("/")[2], path)
    raise InvalidField(path, f"{text!r} is not a role (arn:aws:iam::ACCOUNT:role/NAME or qcs::cam::uin/UIN:roleName/NAME)")


def _owned(text: str, owner: str, own: str | None, name: str, path: str) -> str:
    if not name or not (owner.isascii() and owner.isdigit()):
        raise InvalidField(path, f"{text!r} names no {'account' if name else 'role'}")
    if owner != own:
        raise AccessRefused(f"{path}: {text!r} does not belong to the calling account.")
    return name


def s3_role_arn(account: Account, name: str) -> str:
    """The role as the S3 wire spells it."""
    return f"arn:aws:iam::{account.aws_account_id}:role/{name}"


def cos_role_arn(account: Account, name: str) -> str:
    """The role as the COS wire spells it."""
    return f"qcs::cam::uin/{account.cos_uin}:roleName/{name}"


def role_names(account: Account, name: str) -> tuple[str, ...]:
    """The role under every name that it has: one for each identity of the account. A path in a name that was sent is no part of
    it, for roles have none here."""
    return (
        *((s3_role_arn(account, name),) if account.aws_account_id is not None else ()),
        *((cos_role_arn(account, name),) if account.cos_uin is not None else ()),
    )


def s3_user_arn(account: Account, name: str) -> str:
    """The user as AWS spells it."""
    return f"arn:aws:iam::{account.aws_account_id}:user/{name}"


def job_names(account: Account, region: str, job_id: str) -> tuple[str, ...]:
    """The job under every name that policies can know it by: one for each identity of the account."""
    return (
        *((s3_job_arn(account, region, job_id),) if account.aws_account_id is not None else ()),
        *((cos_job_name(account, region, job_id),) if account.cos_appid is not None else ()),
    )


def cos_job_name(account: Account, region: str, job_id: str) -> str:
    """`qcs::cos:{region}:uid/{APPID}:job/{id}`: ours, for COS gives jobs no resource name."""
    return f"qcs::cos:{region}:uid/{account.cos_appid}:job/{job_id}"


def s3_job_arn(account: Account, region: str, job_id: str) -> str:
    """`arn:aws:s3:{region}:{account}:job/{id}`."""
    return f"arn:aws:s3:{region}:{account.aws_account_id}:job/{job_id}"
