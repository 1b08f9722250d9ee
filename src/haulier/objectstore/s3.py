"""`core.ports.ObjectStore` over S3's HTTP protocol: signs, sends, reads the answer in full, and tries again where that can help.

A call that cannot be repeated blindly (copies, deletes, `if_absent`) is never repeated after a try that may have been carried
out: it raises StoreError with `unknown`, and the operation goes on by the replay rules (decisions §3, "In doubt").
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import md5, sha256
from typing import Final, NamedTuple

from haulier.core.accounts import Credentials
from haulier.core.acl import Acl
from haulier.core.effects import Answer, HashedFile, Request, Sleep
from haulier.core.errors import BatchInDoubt, StoreError
from haulier.core.placement import Store
from haulier.core.ports import Clock, Copied, ObjectHead, ObjectPart
from haulier.core.task import Outcome, Task
from haulier.objectstore import xml
from haulier.objectstore.answers import etag_of, read_copied, read_head, read_nothing, read_part, request_id, status_of
from haulier.objectstore.exchange import NO_QUERY, SECONDS, XML_HEADERS, Exchange, Headers, query_of
from haulier.objectstore.keys import check_key, names_object
from haulier.objectstore.retry import Tries, Verdict, classify
from haulier.objectstore.sigv4 import encode_key, encode_value
from haulier.objectstore.throttle import Throttle

COPY_SECONDS: Final = 300.0
"""A store copies up to 5 GiB before it answers, and the size is not known beforehand."""
BATCH_SECONDS: Final = 120.0
BYTES_PER_SECOND_MIN: Final = 1 << 20
"""Bodies get a second more for each MiB."""
DELETE_OBJECTS_MAX: Final = 1000
DELETED: Final = Outcome(204)
_BYPASS: Final = (("x-amz-bypass-governance-retention", "true"),)
_SOURCE: Final = ("x-amz-copy-source",)


class _Refusals(NamedTuple):
    """The keys that one DeleteObjects was refused."""

    keys: Sequence[xml.RefusedKey]
    request_id: str | None


def _read_refusals(answer: Answer) -> _Refusals:
    keys = xml.read_delete_result(answer.body)
    return _Refusals(keys, request_id(answer.headers) if keys else None)


class S3ObjectStore:
    """One store under one set of credentials, for a driver's thread. What `core.ports.ObjectStore` promises."""

    def __init__(
        self, store: Store, credentials: Credentials, *, throttle: Throttle, clock: Clock, random: Callable[[], float]
    ) -> None:
        """`random` gives numbers in [0, 1), for the jitter of retries."""
        self._calls = Exchange(store, credentials, throttle=throttle, clock=clock, random=random)

    def when_rejected(self, told: Callable[[Credentials], None]) -> None:
        """Call it when the store says that credentials are over for which newer ones will come."""
        self._calls.when_rejected = told

    @property
    def ahead_ms(self) -> int:
        """The store's clock minus ours, from the Date of its answers: right to about a second, 0 before the first answer."""
        return self._calls.ahead_ms

    @property
    def width(self) -> int:
        """See `core.ports.ObjectStore`."""
        return self._calls.throttle.share()

    def replace_credentials(self, credentials: Credentials) -> None:
        """Sign with these from now on; calls that met an expired token go on with them."""
        self._calls.replace_credentials(credentials)

    # -- one object -----------------------------------------------------------------------------------------------------------

    async def head_object(self, bucket: str, key: bytes, version: bytes | None = None) -> ObjectHead:
        """See `core.ports.ObjectStore`."""
        return await self._calls.run(self._calls.plain("HEAD", bucket, key, version), read_head, of_version=version is not None)

    async def get_object(
        self,
        bucket: str,
        key: bytes,
        version: bytes | None = None,
        *,
        first: int = 0,
        length: int | None = None,
        if_match: str | None = None,
    ) -> ObjectPart:
        """See `core.ports.ObjectStore`."""
        headers: list[tuple[str, str]] = []
        if first or length is not None:
            last = "" if length is None else str(first + length - 1)
            headers.append(("range", f"bytes={first}-{last}"))
        if if_match is not None:
            headers.append(("if-match", f'"{if_match}"'))
        seconds = SECONDS + (SECONDS * 9 if length is None else length / BYTES_PER_SECOND_MIN)
        make = self._calls.plain("GET", bucket, key, version, headers, seconds=seconds)
        try:
            part = await self._calls.run(make, lambda answer: read_part(answer, first, length), of_version=version is not None)
        except StoreError as error:
            if error.status != 416 or first:
                raise
            # An empty object has no first byte, so that any range of it is refused.
            head = await self.head_object(bucket, key, version)
            if head.size:
                raise
            part = ObjectPart(data=b"", size=0, etag=head.etag, version=head.version)
        if if_match is not None and part.etag != if_match:
            raise StoreError(412, "PreconditionFailed", f"the object's ETag is {part.etag!r}, not {if_match!r}")
        return part

    async def put_object(
        self,
        bucket: str,
        key: bytes,
        body: bytes | HashedFile,
        *,
        content_type: str = "application/octet-stream",
        if_absent: bool = False,
    ) -> str:
        """See `core.ports.ObjectStore`."""
        if isinstance(body, HashedFile):
            size, payload, plain_etag = body.size, body.sha256, body.md5
        else:
            size, payload, plain_etag = len(body), sha256(body).hexdigest(), md5(body, usedforsecurity=False).hexdigest()
        headers: Headers = (("content-type", content_type),)
        if if_absent:
            headers = (*headers, ("if-none-match", "*"))

        def make() -> Request:
            return self._calls.request(
                "PUT",
                bucket,
                key,
                NO_QUERY,
                headers,
                ("x-amz-content-sha256",),
                (payload,),
                payload=payload,
                body=body,
                seconds=SECONDS + size / BYTES_PER_SECOND_MIN,
                once=if_absent,
            )

        while True:
            try:
                return await self._calls.run(make, lambda answer: etag_of(answer.headers), once=if_absent)
            except StoreError as error:
                if not (if_absent and error.unknown):
                    raise
            try:
                head = await self.head_object(bucket, key)
            except StoreError as error:
                if error.status != 404:
                    raise
                continue
            if head.etag == plain_etag and head.size == size:
                return head.etag
            raise StoreError(412, "PreconditionFailed", "the object is there already, with other content")

    async def copy_object(
        self,
        source_bucket: str,
        source_key: bytes,
        source_version: bytes | None,
        target_bucket: str,
        target_key: bytes,
        headers: Headers = (),
    ) -> Copied:
        """See `core.ports.ObjectStore`. `headers` should be one tuple for all objects of a job: what it costs is kept by it."""
        check_key(source_key)
        source = f"/{source_bucket}/{encode_key(source_key)}"
        if source_version is not None:
            source += f"?versionId={encode_value(source_version)}"

        def make() -> Request:
            return self._calls.request(
                "PUT", target_bucket, target_key, NO_QUERY, headers, _SOURCE, (source,), seconds=COPY_SECONDS, once=True
            )

        return await self._calls.run(make, read_copied, once=True)

    async def put_tags(self, bucket: str, key: bytes, version: bytes | None, tags: Mapping[str, str]) -> None:
        """See `core.ports.ObjectStore`."""
        make = self._calls.with_xml("PUT", bucket, key, query_of("tagging", version), xml.write_tagging(tags))
        await self._calls.run(make, read_nothing, of_version=version is not None)

    async def get_tags(self, bucket: str, key: bytes, version: bytes | None = None) -> Mapping[str, str]:
        """See `core.ports.ObjectStore`."""
        make = self._calls.plain("GET", bucket, key, version, sub_resource="tagging")
        try:
            return await self._calls.run(make, lambda answer: xml.read_tagging(answer.body), of_version=version is not None)
        except StoreError as error:
            if error.code == "NoSuchTagSet":
                return {}
            raise

    async def put_acl(self, bucket: str, key: bytes, version: bytes | None, acl: Acl | str) -> None:
        """See `core.ports.ObjectStore`."""
        if isinstance(acl, str):
            make = self._calls.plain("PUT", bucket, key, version, (("x-amz-acl", acl),), sub_resource="acl")
        else:
            make = self._calls.with_xml("PUT", bucket, key, query_of("acl", version), xml.write_acl(acl))
        await self._calls.run(make, read_nothing, of_version=version is not None)

    async def get_acl(self, bucket: str, key: bytes, version: bytes | None = None) -> Acl:
        """See `core.ports.ObjectStore`."""
        make = self._calls.plain("GET", bucket, key, version, sub_resource="acl")
        return await self._calls.run(make, lambda answer: xml.read_acl(answer.body), of_version=version is not None)

    async def keeps_versions(self, bucket: str) -> bool:
        """See `core.ports.ObjectStore`. A store that takes the sub-resource for a plain list of the bucket is not understood."""
        make = self._calls.plain("GET", bucket, None, None, sub_resource="versioning")
        return await self._calls.run(make, lambda answer: xml.read_versioning(answer.body))

    async def delete_object(
        self,
        bucket: str,
        key: bytes,
        version: bytes | None = None,
        *,
        if_match: str | None = None,
        bypass_governance: bool = False,
    ) -> Outcome:
        """See `core.ports.ObjectStore`. Raises StoreError with `unknown` as soon as a try may have been carried out."""
        headers: Headers = _BYPASS if bypass_governance else ()
        if if_match is not None:
            headers = (*headers, ("if-match", f'"{if_match}"'))
        make = self._calls.plain("DELETE", bucket, key, version, headers, once=True)
        status = await self._calls.run(make, read_nothing, of_version=version is not None, once=True)
        return DELETED if status == 204 else Outcome(status)

    # -- many objects ---------------------------------------------------------------------------------------------------------

    async def delete_objects(self, bucket: str, tasks: Sequence[Task], *, bypass_governance: bool = False) -> Sequence[Outcome]:
        """See `core.ports.ObjectStore`. Keys that XML cannot carry are deleted one by one. What is decided stays so, however a
        later request of the batch ends."""
        if len(tasks) > DELETE_OBJECTS_MAX:
            raise ValueError(f"{len(tasks)} keys in one DeleteObjects; {DELETE_OBJECTS_MAX} at most")
        headers = (*XML_HEADERS, *_BYPASS) if bypass_governance else XML_HEADERS
        keys = [task.key for task in tasks]
        outcomes: list[Outcome | None] = [None] * len(tasks)
        left: dict[tuple[bytes, bytes | None], int] = {}
        refused: _Refusals | None = None
        doubt: StoreError | None = None
        if (
            all(map(names_object, keys))
            and xml.all_plain(keys)
            and not any(task.version is not None or task.etag is not None for task in tasks)
        ):
            refused = await self._delete(bucket, xml.write_delete(keys), headers)
            if not refused.keys:
                return [DELETED] * len(tasks)
            left = {(key, None): n for n, key in enumerate(keys)}
        else:
            for n, task in enumerate(tasks):
                if names_object(task.key) and xml.carries(task.key) and (task.version is None or xml.carries(task.version)):
                    left[task.key, task.version] = n
                    continue
                try:
                    outcomes[n] = await self._delete_one(bucket, task, bypass_governance=bypass_governance)
                except StoreError as error:
                    doubt = doubt or error
        try:
            await self._delete_rounds(bucket, tasks, headers, left, refused, outcomes)
        except StoreError as error:
            if doubt is None and not any(outcomes):
                raise
            if error.unknown:
                doubt = doubt or error
            else:
                refusal = error.outcome()
                for n in left.values():
                    outcomes[n] = outcomes[n] or refusal
        if doubt is not None:
            raise BatchInDoubt(doubt, outcomes)
        return [outcome for outcome in outcomes if outcome is not None]

    async def _delete_rounds(
        self,
        bucket: str,
        tasks: Sequence[Task],
        headers: Headers,
        left: Mapping[tuple[bytes, bytes | None], int],
        refused: _Refusals | None,
        outcomes: list[Outcome | None],
    ) -> None:
        """Ask for the keys that are left until each has its outcome. `refused` is the answer to a first round, if there was one.
        Raises StoreError: those without an outcome are then the ones that it is about."""
        tries = Tries(self._calls.clock.monotonic(), self._calls.random)
        while left:
            if refused is None:
                body = xml.write_delete_of((key, version, tasks[n].etag) for (key, version), n in left.items())
                refused = await self._delete(bucket, body, headers)
            left = await self._refused_keys(refused, left, outcomes, tries)
            refused = None

    async def _delete(self, bucket: str, body: bytes, headers: Headers) -> _Refusals:
        make = self._calls.with_xml("POST", bucket, None, ("delete=", "?delete"), body, headers, seconds=BATCH_SECONDS, once=True)
        return await self._calls.run(make, _read_refusals, once=True)

    async def _refused_keys(
        self,
        refused: _Refusals,
        asked: Mapping[tuple[bytes, bytes | None], int],
        outcomes: list[Outcome | None],
        tries: Tries,
    ) -> dict[tuple[bytes, bytes | None], int]:
        """Set the outcomes of the keys that were asked for; returns those to ask again, after the wait that they are worth."""
        found: dict[tuple[bytes, bytes | None], Outcome] = {}
        again: dict[tuple[bytes, bytes | None], int] = {}
        worst = Verdict.FINAL
        for key, version, code, message in refused.keys:
            name = (key, version) if (key, version) in asked else (key, None)
            if name not in asked:
                text = f"DeleteObjects refused the key {key!r}, which it was not asked for"
                raise StoreError(200, "UnreadableAnswer", text, unknown=True, since_ms=self._calls.signed_ms)
            status = status_of(code)
            found[name] = Outcome(status, code, message or f"the store refused it with {code}", refused.request_id)
            verdict = classify(status, code)
            if verdict in (Verdict.TRANSIENT, Verdict.THROTTLED):
                again[name] = asked[name]
                worst = verdict if worst is not Verdict.THROTTLED else worst
        for name, n in asked.items():
            outcomes[n] = found.get(name, DELETED)
        if again:
            if worst is Verdict.THROTTLED:
                self._calls.throttle.throttled()
            now = self._calls.clock.monotonic()
            delay = tries.refused(worst, now=now, quota=self._calls.throttle.quota, begun_ms=0)
            if delay is None:
                return {}
            await Sleep(delay)
            for n in again.values():
                outcomes[n] = None
        return again

    async def _delete_one(self, bucket: str, task: Task, *, bypass_governance: bool) -> Outcome:
        try:
            return await self.delete_object(
                bucket, task.key, task.version, if_match=task.etag, bypass_governance=bypass_governance
            )
        except StoreError as error:
            if error.unknown:
                raise
            return error.outcome()
