"""What an S3 server answers, over objects in memory: the part of a test server that knows no sockets.

It checks the payload's digests, not the signature.
"""

from base64 import b64encode
from collections.abc import Callable, Coroutine
from hashlib import md5, sha256
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes
from xml.sax.saxutils import escape

import msgspec

from haulier.core.errors import StoreError
from haulier.core.task import Task
from haulier.objectstore.memory import MemoryObjectStore
from haulier.objectstore.xml import Document, read_acl, read_tagging, write_acl

T = TypeVar("T")


class Seen(msgspec.Struct, frozen=True):
    """A request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float
    """When, in seconds of the monotonic clock."""


class Reply(msgspec.Struct):
    """An answer on its way out."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}


class S3Answers:
    """Carries requests out on a memory store."""

    def __init__(self, store: MemoryObjectStore, guard: Callable[[Seen], StoreError | None] = lambda _: None) -> None:
        """`guard` says why a request may not be carried out."""
        self.store = store
        self._guard = guard

    def carry_out(self, seen: Seen) -> Reply:
        """Do what was asked; a refusal is a reply too."""
        path, _, query = seen.target.partition("?")
        bucket, _, key = path.removeprefix("/").partition("/")
        arguments = dict(parse_qsl(query, keep_blank_values=True))
        try:
            _check(seen)
            refused = self._guard(seen)
            if refused is not None:
                raise refused
            return self._route(seen, bucket, unquote_to_bytes(key), arguments)
        except StoreError as error:
            reply = error_reply(error.status, error.code, error.message)
            if error.code == "DeleteMarker":
                reply.headers["x-amz-delete-marker"] = "true"
            return reply

    def _route(self, seen: Seen, bucket: str, key: bytes, arguments: dict[str, str]) -> Reply:
        version = arguments["versionId"].encode() if "versionId" in arguments else None
        if seen.method == "POST" and "delete" in arguments:
            return self._delete_objects(bucket, seen)
        if not key and seen.method == "GET" and "versioning" in arguments:
            status = "<Status>Enabled</Status>" if at_once(self.store.keeps_versions(bucket)) else ""
            return _xml(200, f"<VersioningConfiguration>{status}</VersioningConfiguration>")
        if not key:
            raise StoreError(501, "NotImplemented", "this server has no operations on buckets")
        if seen.method == "HEAD":
            return self._head(bucket, key, version)
        if seen.method == "GET":
            return self._get(bucket, key, version, seen, arguments)
        if seen.method == "PUT":
            return self._put(bucket, key, version, seen, arguments)
        if seen.method == "DELETE":
            match = seen.headers.get("if-match")
            if_match = None if match is None else match.strip('"')
            return Reply(at_once(self.store.delete_object(bucket, key, version, if_match=if_match)).status)
        raise StoreError(405, "MethodNotAllowed", seen.method)

    def _head(self, bucket: str, key: bytes, version: bytes | None) -> Reply:
        head = at_once(self.store.head_object(bucket, key, version))
        headers = dict(head.headers) | ({} if head.version is None else {"x-amz-version-id": head.version})
        headers.pop("date")
        headers["Content-Length"] = headers.pop("content-length")
        return Reply(200, b"", headers)

    def _get(self, bucket: str, key: bytes, version: bytes | None, seen: Seen, arguments: dict[str, str]) -> Reply:
        if "tagging" in arguments:
            tags = at_once(self.store.get_tags(bucket, key, version))
            inner = "".join(f"<Tag><Key>{escape(k)}</Key><Value>{escape(v)}</Value></Tag>" for k, v in tags.items())
            return _xml(200, f"<Tagging><TagSet>{inner}</TagSet></Tagging>")
        if "acl" in arguments:
            return _xml(200, write_acl(at_once(self.store.get_acl(bucket, key, version))).decode())
        match = seen.headers.get("if-match")
        span = seen.headers.get("range", "")
        first, _, last = span.removeprefix("bytes=").partition("-")
        begin = int(first or "0")
        length = int(last) - begin + 1 if last else None
        if_match = None if match is None else match.strip('"')
        part = at_once(self.store.get_object(bucket, key, version, first=begin, length=length, if_match=if_match))
        headers = {"ETag": f'"{part.etag}"'} | ({} if part.version is None else {"x-amz-version-id": part.version})
        if not span:
            return Reply(200, part.data, headers)
        if not part.data:
            raise StoreError(416, "InvalidRange", "the range begins behind the object's end")
        headers["Content-Range"] = f"bytes {begin}-{begin + len(part.data) - 1}/{part.size}"
        return Reply(206, part.data, headers)

    def _put(self, bucket: str, key: bytes, version: bytes | None, seen: Seen, arguments: dict[str, str]) -> Reply:
        if "tagging" in arguments:
            at_once(self.store.put_tags(bucket, key, version, read_tagging(seen.body)))
            return Reply(200)
        if "acl" in arguments:
            at_once(self.store.put_acl(bucket, key, version, read_acl(seen.body) if seen.body else seen.headers["x-amz-acl"]))
            return Reply(200)
        source = seen.headers.get("x-amz-copy-source")
        if source is None:
            content_type = seen.headers.get("content-type", "binary/octet-stream")
            if_absent = seen.headers.get("if-none-match") == "*"
            etag = at_once(self.store.put_object(bucket, key, seen.body, content_type=content_type, if_absent=if_absent))
            return Reply(200, b"", {"ETag": f'"{etag}"'})
        path, _, query = source.partition("?")
        source_bucket, _, source_key = path.removeprefix("/").partition("/")
        source_version = dict(parse_qsl(query)).get("versionId")
        copied = at_once(
            self.store.copy_object(
                source_bucket,
                unquote_to_bytes(source_key),
                None if source_version is None else source_version.encode(),
                bucket,
                key,
                tuple(seen.headers.items()),
            )
        )
        headers = {} if copied.version is None else {"x-amz-version-id": copied.version}
        when = "<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        return _xml(200, f"<CopyObjectResult>{when}<ETag>&quot;{copied.etag}&quot;</ETag></CopyObjectResult>", headers)

    def _delete_objects(self, bucket: str, seen: Seen) -> Reply:
        document = Document(seen.body)
        quiet = document.get("Quiet") == "true"
        parts = []
        for item in document.each("Object"):
            version = item.get("VersionId")
            task = Task(0, bucket, item["Key"].encode(), None if version is None else version.encode(), etag=item.get("ETag"))
            outcome = at_once(self.store.delete_objects(bucket, [task]))[0]
            key = escape(item["Key"], {"\r": "&#13;"})
            if outcome.code is not None:
                parts.append(f"<Error><Key>{key}</Key><Code>{outcome.code}</Code><Message>{outcome.message}</Message></Error>")
            elif not quiet:
                parts.append(f"<Deleted><Key>{key}</Key></Deleted>")
        return _xml(200, f"<DeleteResult>{''.join(parts)}</DeleteResult>")


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine of the memory store: it never waits."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]
    raise AssertionError("the memory store must not wait")


def _check(seen: Seen) -> None:
    if "authorization" not in seen.headers or "host" not in seen.headers:
        raise StoreError(403, "AccessDenied", "the request is not signed")
    if seen.headers.get("x-amz-content-sha256") != sha256(seen.body).hexdigest():
        raise StoreError(400, "XAmzContentSHA256Mismatch", "x-amz-content-sha256 is not that of the body")
    given = seen.headers.get("content-md5")
    if given is not None and given != b64encode(md5(seen.body, usedforsecurity=False).digest()).decode():
        raise StoreError(400, "BadDigest", "Content-MD5 is not that of the body")


def _xml(status: int, text: str, headers: dict[str, str] | None = None) -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
    return Reply(status, body, {"Content-Type": "application/xml"} | (headers or {}))


def error_reply(status: int, code: str, message: str) -> Reply:
    """An `<Error>`."""
    return _xml(status, f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>")
