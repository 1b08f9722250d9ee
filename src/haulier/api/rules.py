"""Rules that both wires share word for word, and small readings of a job that both answer with."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from haulier.api.patterns import compiled
from haulier.core.errors import InvalidField, NotImplementedHere
from haulier.core.headers import uncarried
from haulier.core.job import Dialect, Job, Limits
from haulier.core.lifecycle import JobStatus

FAILURE_REASON_BYTES_MAX: Final = 256
OBJECT_TAGS_MAX: Final = 10
"""Tags of an object, on S3 and COS alike."""
TAG_KEY_MAX: Final = 128
TAG_VALUE_MAX: Final = 256
"""Characters of a tag's key and value, of objects and of jobs: S3's model."""
TAG_FORM: Final = r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*"
"""What keys and values may hold: S3's model."""
GRANTS_MAX: Final = 100
"""Of an access control list (AWS, "Access control list overview"); COS has the same."""
GRANTEE_BYTES_MAX: Final = 1024
"""Both wires' models."""
METADATA_BYTES_MAX: Final = 1024
"""Of each value of new metadata, and of a name of user metadata: both wires' models."""
USER_METADATA_BYTES_MAX: Final = 32 * 1024
"""All of it as headers. AWS and COS keep 2 KB, which is theirs to say, others more; from about here on stores refuse the request,
or make the copy, and no client can read its headers again."""
_LINE_BYTES: Final = len("x-amz-meta-: \r\n")
"""Of an entry's header, besides name and value."""

_COS_USER: Final = re.compile("qcs::cam::uin/[0-9]{1,20}:uin/[0-9]{1,20}")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def digest(request: Mapping[str, Any], dialect: Dialect) -> str:
    """SHA-256 of the parsed request without its token: equal for equal content, whatever the order of the elements."""
    content = {name: value for name, value in request.items() if name != "ClientRequestToken"}
    return hashlib.sha256(msgspec.json.encode([dialect, content], order="deterministic")).hexdigest()


def shown_reason(text: str) -> str:
    """A failure's reason as both wires show it: at most 256 bytes, cut between characters. The full text is in the job."""
    raw = text.encode("utf-8", "replace")
    return raw[:FAILURE_REASON_BYTES_MAX].decode("utf-8", "ignore")


def status_reason(job: Job) -> str | None:
    """What both wires tell beside the state: why it waits, while it does, else what came with the last change."""
    return job.status_reason if job.waits is None else shown_reason(f"{job.waits.code}: {job.waits.reason}")


def limits(request: Mapping[str, Any]) -> Limits | None:
    """What the job-level Options ask for. Raises NotImplementedHere for others (decisions §2): guards and limits that were not
    heeded would do harm."""
    options = request.get("Options") or {}
    other = next((name for name in options if name not in ("Concurrency", "RequestsPerSecond")), None)
    if other is not None:
        raise NotImplementedHere(f"Options.{other}")
    return Limits(options.get("Concurrency"), options.get("RequestsPerSecond")) if options else None


def csv_fields(fields: Sequence[str] | None, path: str) -> tuple[str, ...]:
    """The columns of a CSV manifest: Bucket and Key once each, VersionId at most once, Ignore as often as one likes."""
    found = tuple(fields or ())
    for name, least in (("Bucket", 1), ("Key", 1), ("VersionId", 0)):
        if not least <= found.count(name) <= 1:
            raise InvalidField(path, f"needs {name} {'exactly' if least else 'at most'} once, has it {found.count(name)} times")
    return found


def tag_map(tags: Sequence[Mapping[str, str]], path: str, most: int | None = None) -> dict[str, str]:
    """Tags by key. Raises InvalidField when a key is given twice or there are more than `most`."""
    found: dict[str, str] = {}
    for position, tag in enumerate(tags):
        if tag["Key"] in found:
            raise InvalidField(f"{path}[{position}].Key", f"{tag['Key']!r} is given twice")
        found[tag["Key"]] = tag["Value"]
    if most is not None and len(found) > most:
        raise InvalidField(path, f"has {len(found)} tags; an object can have {most}")
    return found


def tag_forms(tags: Mapping[str, str], path: str) -> None:
    """Of tags by key: lengths in characters, and the characters that S3 and COS allow. Raises InvalidField."""
    form = compiled(TAG_FORM)
    for key, value in tags.items():
        if not 1 <= len(key) <= TAG_KEY_MAX:
            raise InvalidField(path, f"the key {key[:40]!r} has {len(key)} characters; 1 to {TAG_KEY_MAX} are allowed")
        if len(value) > TAG_VALUE_MAX:
            raise InvalidField(f"{path}.{key}", f"has {len(value)} characters; {TAG_VALUE_MAX} are allowed")
        for what, text in (("the key", key), ("the value", value)):
            if not form.fullmatch(text):
                raise InvalidField(
                    f"{path}.{key}", f"{what} {text[:80]!r} may hold letters, digits, spaces and + - = . _ : / @ only"
                )


def text_bytes(text: str, path: str, most: int) -> str:
    """The text. Raises InvalidField where it has too many bytes in UTF-8."""
    size = len(text.encode("utf-8"))
    if size > most:
        raise InvalidField(path, f"has {size} bytes; {most} are allowed")
    return text


def user_metadata(user: Mapping[str, str], path: str) -> None:
    """User metadata travels as headers (RFC 9110): names must be tokens that differ by more than case, values hold no
    control characters, and all of it must be such that it can be read again. Raises InvalidField."""
    seen: set[str] = set()
    size = 0
    for name, value in user.items():
        if not _TOKEN.fullmatch(name):
            raise InvalidField(path, f"{name[:80]!r} cannot be the name of a header")
        text_bytes(name, path, METADATA_BYTES_MAX)
        text_bytes(header_value(value, f"{path}[{name[:80]!r}]"), f"{path}[{name[:80]!r}]", METADATA_BYTES_MAX)
        if name.lower() in seen:
            raise InvalidField(path, f"{name[:80]!r} is given twice, for case makes no difference")
        seen.add(name.lower())
        size += _LINE_BYTES + len(name) + len(value.encode("utf-8"))
    if size > USER_METADATA_BYTES_MAX:
        raise InvalidField(path, f"takes {size} bytes as headers; {USER_METADATA_BYTES_MAX} are allowed")


def grant_count(count: int, path: str) -> None:
    """Raises InvalidField for more grants than an access control list can have."""
    if count > GRANTS_MAX:
        raise InvalidField(path, f"has {count} grants; an access control list can have {GRANTS_MAX}")


def grantee(text: str, path: str) -> str:
    """Who is granted something, by the target store's own name: a user of COS has one form, other stores have theirs. Raises
    InvalidField."""
    if not text:
        raise InvalidField(path, "is empty")
    if text.startswith("qcs:") and not _COS_USER.fullmatch(text):
        raise InvalidField(path, f"{text[:80]!r} is not qcs::cam::uin/ROOT:uin/USER")
    return text_bytes(text, path, GRANTEE_BYTES_MAX)


def header_value(text: str, path: str) -> str:
    """The text. Raises InvalidField where no header could carry it."""
    if bad := uncarried(text):
        raise InvalidField(path, f"{text[:80]!r} holds the control character {bad}, which no header can carry")
    return text


def unquoted(etag: str, path: str) -> str:
    """An ETag without its quotes. Raises InvalidField when nothing is left, or no If-Match could carry it."""
    bare = etag.strip().removeprefix('"').removesuffix('"')
    if not bare:
        raise InvalidField(path, "is empty")
    return header_value(bare, path)


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that were given: those that are not None."""
    return {name: value for name, value in parameters.items() if value is not None}


def active_seconds(job: Job, now_ms: int) -> int:
    """Whole seconds spent in Active, the current stretch included."""
    current = max(0, now_ms - job.status_since_ms) if job.status == JobStatus.ACTIVE else 0
    return (job.active_ms + current) // 1000
