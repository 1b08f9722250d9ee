"""What a store's answer means: a refusal as a StoreError, headers as values. Pure; nothing here sends or waits."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from haulier.core.effects import Answer
from haulier.core.errors import StoreError
from haulier.core.ports import Copied, ObjectHead, ObjectPart
from haulier.objectstore.retry import Verdict, classify
from haulier.objectstore.xml import Document, Refusal, Unreadable, copied_etag

CODE_BY_STATUS: Final = {
    301: "PermanentRedirect",
    307: "TemporaryRedirect",
    400: "BadRequest",
    401: "AccessDenied",
    403: "AccessDenied",
    404: "NoSuchKey",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    409: "Conflict",
    411: "MissingContentLength",
    412: "PreconditionFailed",
    413: "EntityTooLarge",
    416: "InvalidRange",
    429: "TooManyRequests",
    500: "InternalError",
    501: "NotImplemented",
    502: "BadGateway",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}
"""For answers without a body: all HEAD answers, and errors of many stores (stores/README)."""
STATUS_BY_CODE: Final = {code: status for status, code in CODE_BY_STATUS.items() if status != 401} | {
    "NoSuchVersion": 404,
    "NoSuchBucket": 404,
    "NoSuchUpload": 404,
    "DeleteMarker": 404,
    "InvalidAccessKeyId": 403,
    "SignatureDoesNotMatch": 403,
    "InvalidObjectState": 403,
    "RequestTimeTooSkewed": 403,
    "ObjectLocked": 403,
    "OperationAborted": 409,
    "SlowDown": 503,
}
"""For errors inside an answer that is a success as a whole."""
REQUEST_ID_CHARACTERS_MAX: Final = 128


def status_of(code: str) -> int:
    """The HTTP status that an error code would have had as an answer of its own; 400 for unknown ones."""
    return STATUS_BY_CODE.get(code, 400)


class Refused(Exception):
    """An answer that is no success, with what it means for trying again."""

    def __init__(self, error: StoreError, verdict: Verdict, retry_after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.verdict = verdict
        self.retry_after = retry_after


def refusal(answer: Answer, region: str, *, of_version: bool) -> Refused:
    """Any answer but a 2xx. `of_version`: the request named a version."""
    if not answer.status:
        text = answer.failure or "no answer"
        if answer.sent:
            return Refused(StoreError(0, "NoAnswer", text), Verdict.UNCERTAIN)
        return Refused(StoreError(0, "StoreUnreachable", text), Verdict.UNSENT)
    headers = answer.headers
    status = answer.status
    code, message, document = _error_document(answer.body)
    code = code or headers.get("x-amz-error-code", "") or CODE_BY_STATUS.get(status, f"Http{status}")
    message = message or headers.get("x-amz-error-message", "") or f"the store answered {status} without an explanation"
    if status in (404, 405) and headers.get("x-amz-delete-marker") == "true":
        code = "DeleteMarker"
    elif status == 404 and of_version and document is None:
        code = "NoSuchVersion"
    elif status == 304:
        # To If-None-Match and If-Modified-Since, also to those for the source of a copy: HTTP's own answer to a GET, not S3's.
        text = "the object does not meet a condition (304)"
        return Refused(StoreError(412, "PreconditionFailed", text, request_id=request_id(headers)), Verdict.FINAL)
    elif 300 <= status < 400:
        text = _elsewhere(headers, document, region)
        return Refused(StoreError(status, code, text, request_id=request_id(headers)), Verdict.FINAL)
    error = StoreError(status, code, message, request_id=request_id(headers, document))
    return Refused(error, classify(status, code), _seconds(headers.get("retry-after")))


def bad_success(answer: Answer, problem: Refusal | Unreadable) -> Refused:
    """A 2xx that is none: an `<Error>` in it, or not the document that was expected."""
    if isinstance(problem, Refusal):
        code = problem.code or "InternalError"
        verdict = classify(status_of(code), code)
        return Refused(StoreError(status_of(code), code, problem.message, request_id=request_id(answer.headers)), verdict)
    text = f"the store answered {answer.status}, but not with what was expected: {problem}"
    error = StoreError(answer.status, "UnreadableAnswer", text, request_id=request_id(answer.headers))
    return Refused(error, Verdict.UNCERTAIN)


def request_id(headers: Mapping[str, str], document: Document | None = None) -> str | None:
    """The store's name of the request, by which its operator finds it in the logs; S3 and COS tell it in headers of their own,
    some stores only in the error's document."""
    told = headers.get("x-amz-request-id") or headers.get("x-cos-request-id") or (document and document.get("RequestId"))
    return told[:REQUEST_ID_CHARACTERS_MAX] if told else None


def _error_document(body: bytes) -> tuple[str, str, Document | None]:
    if not body:
        return "", "", None
    try:
        document = Document(body)
    except Unreadable:
        return "", "", None  # a proxy's HTML, for example: the status decides
    if document.root != "Error":
        return "", "", None
    return document.get("Code") or "", document.get("Message") or "", document


def _elsewhere(headers: Mapping[str, str], document: Document | None, region: str) -> str:
    place = headers.get("x-amz-bucket-region") or (document and document.get("Region"))
    if place:
        return f"the bucket is in region {place!r}, but the store is set up for {region!r}: name {place!r} first in its regions"
    place = (document and document.get("Endpoint")) or headers.get("location") or "another address"
    return f"the store says that the bucket is at {place}: set that as its endpoint"


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() else None


# -- successes ----------------------------------------------------------------------------------------------------------------


def time_ms(text: str | None) -> int | None:
    """An HTTP date as Unix milliseconds; None where there is none or it is none."""
    if not text:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 1000
    except ValueError:
        return None


def etag_of(headers: Mapping[str, str]) -> str:
    """The ETag without quotes and weakness. Raises Unreadable."""
    etag = headers.get("etag", "").removeprefix("W/").strip('"')
    if not etag:
        raise Unreadable("no ETag")
    return etag


def read_copied(answer: Answer) -> Copied:
    """A finished copy. Raises Refusal or Unreadable."""
    etag = copied_etag(answer.body)
    raw = answer.raw_headers
    if b"-version-id:" not in raw and b"-Version-Id:" not in raw:
        return Copied(etag)
    headers = answer.headers
    return Copied(etag, headers.get("x-amz-version-id") or headers.get("x-cos-version-id"))


def read_head(answer: Answer) -> ObjectHead:
    """What HEAD tells. Raises Unreadable."""
    headers = answer.headers
    size = headers.get("content-length", "")
    modified_ms = time_ms(headers.get("last-modified"))
    if not size.isdecimal() or modified_ms is None:
        raise Unreadable("no Content-Length or no Last-Modified")
    return ObjectHead(
        size=int(size),
        etag=etag_of(headers),
        modified_ms=modified_ms,
        version=headers.get("x-amz-version-id"),
        storage_class=headers.get("x-amz-storage-class"),
        metadata={name[11:]: value for name, value in headers.items() if name.startswith("x-amz-meta-")},
        headers=headers,
    )


def read_part(answer: Answer, first: int, length: int | None) -> ObjectPart:
    """A range of an object; a store that ignores ranges sends the whole. Raises Unreadable."""
    headers = answer.headers
    data = answer.body
    size = len(data)
    if answer.status == 206:
        unit, _, span = headers.get("content-range", "").partition(" ")
        span, _, total = span.partition("/")
        begin, _, last = span.partition("-")
        if unit != "bytes" or begin != str(first) or not last.isdecimal() or not total.isdecimal():
            raise Unreadable(f"Content-Range {headers.get('content-range')!r} for a range that begins at {first}")
        if int(last) - first + 1 != size or (length is not None and size > length):
            raise Unreadable(f"{size} bytes for Content-Range {headers.get('content-range')!r}")
        size = int(total)
    else:
        data = data[first:] if length is None else data[first : first + length]
    return ObjectPart(data=data, size=size, etag=etag_of(headers), version=headers.get("x-amz-version-id"))


def read_nothing(answer: Answer) -> int:
    """A success without content: its status. Raises Refusal for an `<Error>`, Unreadable for what is not XML."""
    if answer.body.strip():
        document = Document(answer.body)
        if document.root == "Error":
            raise Refusal(document.get("Code") or "", document.get("Message") or "", document)
    return answer.status
