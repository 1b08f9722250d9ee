"""The units that read and write whole files, preparing and reporting, on memory stores and a real spool."""

import hashlib
import json

import msgspec
import pytest

from haulier.core.accounts import Credentials, Role
from haulier.core.acl import Grant
from haulier.core.chunk import Attempt, Segment
from haulier.core.effects import HashedFile
from haulier.core.errors import JobFailure, StoreError
from haulier.core.job import Manifest, ObjectName, Placement, Report
from haulier.core.placement import Resolver, Store
from haulier.engine import frames
from haulier.engine.finisher import write_report
from haulier.engine.preparer import prepare
from haulier.engine.prober import run_probe
from haulier.objectstore.memory import MemoryObjectStore
from haulier.operations import Copy, Delete, PutTagging, spec
from haulier.operations.copy import NewMetadata
from haulier.spool import FolderSpool, files
from haulier.testing.effects import EffectRunner, VirtualClock

BUCKETS = ("photos", "lists", "copies", "scratch")


class Room:
    """Stands in for a runner around its units: stores by name, everything else real."""

    def __init__(self, tmp_path):
        self.clock = VirtualClock()
        self.objects = MemoryObjectStore(self.clock, BUCKETS)
        self.settings = {"main": Store(name="main", endpoint="http://127.0.0.1:1", default=True, scratch_bucket="scratch")}
        self.spool = FolderSpool(tmp_path / "spool")
        self.scratch = tmp_path / "tmp"
        self.scratch.mkdir()
        self.effects = EffectRunner(clock=self.clock)
        self.events = []
        self.attempts = 0

    # engine.connections.Connections, as far as units use it

    def place(self, brief, bucket, *, writes):
        return Resolver(tuple(self.settings.values())).placed(brief.role, bucket, brief.placements, writes=writes)

    def store(self, brief, bucket, *, writes):
        self.place(brief, bucket, writes=writes)
        return self.objects

    def named(self, name):
        return self.settings[name]

    scratch_buckets = ("scratch",)

    def scratch_of(self, brief, store):
        return self.objects

    # doing

    def wait(self, effect, seconds=1.0):
        return self.effects.run(effect)

    def put(self, bucket, key, body):
        return self.effects.run(self.objects.put_object(bucket, key.encode(), body))

    def body(self, bucket, key):
        return self.effects.run(self.objects.get_object(bucket, key.encode())).data

    def keys(self, bucket):
        return sorted(key.decode() for key, held in self.objects.buckets[bucket].items() if held)

    def attempt(self):
        self.attempts += 1
        return Attempt(1, self.attempts)

    def prepare(self, brief):
        self.events = []
        unit = frames.PrepareJob(attempt=self.attempt(), job=brief.id)
        prepare(unit, brief, self, self.spool, self.scratch, self.effects.run, self.events.append)
        return [event.chunk for event in self.events if isinstance(event, frames.ChunkWritten)]

    def report(self, brief, chunks, segments=()):
        unit = frames.WriteReport(attempt=self.attempt(), job=brief.id, chunks=tuple(chunks), segments=tuple(segments))
        write_report(unit, brief, self, self.spool, self.scratch, self.wait, self.events.append)


@pytest.fixture
def room(tmp_path):
    return Room(tmp_path)


def a_brief(room, rows, operation=None, **changes):
    etag = room.put("lists", "m.csv", rows.encode())
    values = {
        "id": "job-1",
        "account": "acme",
        "dialect": "s3control",
        "manifest": Manifest(
            location=ObjectName("lists", "m.csv"), etag=etag, format="S3BatchOperations_CSV_20180820", fields=("Bucket", "Key")
        ),
        "operation": spec(operation or PutTagging(tags={"a": "b"})),
        "report": Report(enabled=True, bucket="lists", prefix="r", format="Report_CSV_20180820"),
        "placements": (Placement("lists", "main"),),
        "role": Role(account="acme", name="batch", stores=("main",), buckets=("*",)),
        "access": {"main": Credentials("a", "b")},
        "status": "Preparing",
        "reporting_ms": 1_700_000_000_000,
    }
    return frames.JobBrief(**(values | changes))


def with_manifest(brief, **changes):
    return msgspec.structs.replace(brief, manifest=msgspec.structs.replace(brief.manifest, **changes))


# -- preparing


def test_a_manifest_is_staged_with_its_total_and_the_stores_of_its_rows(room):
    brief = a_brief(room, "".join(f"photos,k/{n}\n" for n in range(1_200)))
    chunks = room.prepare(brief)
    assert [(chunk.index, chunk.first_row, chunk.rows) for chunk in chunks] == [(0, 0, 500), (1, 500, 500), (2, 1000, 200)]
    assert room.events[-1].total == 1_200
    assert room.events[-1].row_stores == ("main",)
    assert room.events[-1].placements == (Placement("photos", "main"),)
    table = files.decode_chunk(room.spool.read(chunks[1].name))
    assert table.column("key").to_pylist()[0] == b"k/500"


def test_a_manifest_is_read_in_ranges_of_one_version_of_the_object(room, monkeypatch):
    monkeypatch.setattr("haulier.engine.preparer.RANGE_BYTES", 7)
    rows = "".join(f"photos,k/{n}\n" for n in range(100))
    assert sum(chunk.rows for chunk in room.prepare(a_brief(room, rows))) == 100


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"etag": "0" * 32}, "ManifestETagMismatch"),
        ({"location": ObjectName("lists", "absent.csv")}, "ManifestNotFound"),
        ({"location": ObjectName("nowhere", "m.csv")}, "ManifestNotFound"),
    ],
)
def test_a_manifest_that_is_not_what_was_named_fails_the_job(room, changes, code):
    brief = with_manifest(a_brief(room, "photos,a\n"), **changes)
    with pytest.raises(JobFailure) as caught:
        room.prepare(brief)
    assert caught.value.code == code


def test_a_cos_manifest_whose_arn_is_url_encoded_is_found(room):
    brief = a_brief(room, "photos,a\n", dialect="cos")
    etag = room.put("lists", "with blank.csv", b"photos,a\n")
    brief = with_manifest(brief, location=ObjectName("lists", "with%20blank.csv"), etag=etag, format="COSBatchOperations_CSV_V1")
    assert [chunk.rows for chunk in room.prepare(brief)] == [1]


def test_a_manifest_that_is_too_large_for_the_accounts_spool_fails_the_job(room):
    rows = "".join(f"photos,{n:06}\n" for n in range(3_000))
    chunks = room.prepare(a_brief(room, rows))
    size = sum(len(room.spool.read(chunk.name)) for chunk in chunks)
    assert len(room.prepare(a_brief(room, rows, spool_bytes_max=size))) == len(chunks)
    with pytest.raises(JobFailure, match=f"SpoolQuotaExceeded: .* larger than the {size - 1} bytes that account 'acme'"):
        room.prepare(a_brief(room, rows, spool_bytes_max=size - 1))
    with pytest.raises(JobFailure, match="SpoolQuotaExceeded"):
        room.prepare(a_brief(room, rows, spool_bytes_max=0))


def test_a_role_that_may_not_touch_a_rows_bucket_fails_the_job(room):
    role = Role(account="acme", name="batch", stores=("main",), buckets=("lists",))
    with pytest.raises(JobFailure, match="'photos'") as caught:
        room.prepare(a_brief(room, "photos,a\n", role=role))
    assert caught.value.code == "RoleNotAllowed"


def test_a_read_only_store_is_not_written(room):
    room.settings["main"] = msgspec.structs.replace(room.settings["main"], read_only=True)
    with pytest.raises(JobFailure, match="read-only"):
        room.prepare(a_brief(room, "photos,a\n"))


@pytest.mark.parametrize("row", ["lists,m.csv", "lists,r/job-job-1/results/x.csv", "scratch,haulier-probe/x"])
@pytest.mark.parametrize("operation", [Delete(), PutTagging(tags={"a": "b"})])
def test_what_haulier_itself_needs_is_not_touched(room, row, operation):
    with pytest.raises(JobFailure, match="row 2 ") as caught:
        room.prepare(a_brief(room, f"photos,a\n{row}\n", operation))
    assert caught.value.code == "ProtectedObject"


@pytest.mark.parametrize("named", ["with%20blank.csv", "with blank.csv"])
def test_a_cos_manifest_is_not_touched_under_any_key_that_its_arn_may_mean(room, named):
    brief = a_brief(room, "lists,with%20blank.csv\n", Delete(), dialect="cos")
    etag = room.put("lists", "with blank.csv", b"lists,with%20blank.csv\n")
    brief = with_manifest(brief, location=ObjectName("lists", named), etag=etag, format="COSBatchOperations_CSV_V1")
    with pytest.raises(JobFailure) as caught:
        room.prepare(brief)
    assert caught.value.code == "ProtectedObject"


@pytest.mark.parametrize("operation", [Delete(), PutTagging(tags={"a": "b"}), Copy(target_bucket="copies", dialect="s3control")])
def test_versions_are_named_only_where_there_are_any(room, operation):
    def versioned(bucket, version):
        rows = f"photos,a,null\n{bucket},b,{version}\n"
        return with_manifest(a_brief(room, rows, operation), fields=("Bucket", "Key", "VersionId"))

    room.prepare(versioned("photos", "null"))
    room.prepare(versioned("photos", ""))
    with pytest.raises(JobFailure, match=r"^InvalidManifest: row 2 .* bucket 'photos' keeps none"):
        room.prepare(versioned("photos", "v7"))
    room.settings["main"] = msgspec.structs.replace(room.settings["main"], probe="known")
    room.prepare(versioned("photos", "v7"))
    room.settings["main"] = msgspec.structs.replace(room.settings["main"], probe="auto")
    room.objects = MemoryObjectStore(room.clock, BUCKETS, versioned=["photos"])
    room.prepare(versioned("photos", "v7"))
    assert room.events[-1].total == 2


def test_where_nobody_tells_whether_versions_are_kept_none_may_be_named(room):
    class Silent(MemoryObjectStore):
        async def keeps_versions(self, bucket):
            raise StoreError(501, "NotImplemented", "no such thing")

    room.objects = Silent(room.clock, BUCKETS)
    room.prepare(a_brief(room, "photos,a\n"))
    brief = with_manifest(a_brief(room, "photos,a,v1\n", Delete()), fields=("Bucket", "Key", "VersionId"))
    with pytest.raises(JobFailure, match=r"^StoreUnproven: row 1 .*GetBucketVersioning"):
        room.prepare(brief)


def test_a_copy_onto_the_jobs_own_manifest_or_report_is_refused(room):
    for key in ("m.csv", "r/job-job-1/manifest.json"):
        with pytest.raises(JobFailure) as caught:
            room.prepare(a_brief(room, f"photos,{key}\n", Copy(target_bucket="lists", dialect="s3control")))
        assert caught.value.code == "ProtectedObject"


def test_a_copy_from_another_store_than_the_targets_is_refused(room):
    room.settings["other"] = Store(name="other", endpoint="http://127.0.0.1:2", buckets=("copies",), regions=("eu",))
    role = Role(account="acme", name="batch", stores=("main", "other"), buckets=("*",))
    with pytest.raises(JobFailure, match="between two stores"):
        room.prepare(a_brief(room, "photos,a\n", Copy(target_bucket="copies", dialect="s3control"), role=role))


def test_the_place_of_the_report_is_tried_and_left_as_it_was(room):
    brief = a_brief(room, "photos,a\n")
    room.prepare(brief)
    assert room.keys("lists") == ["m.csv"]
    brief = msgspec.structs.replace(brief, report=msgspec.structs.replace(brief.report, bucket="nowhere"))
    with pytest.raises(JobFailure) as caught:
        room.prepare(brief)
    assert caught.value.code == "ReportDeliveryFailed"


@pytest.mark.parametrize("call", ["get_object", "put_object", "keeps_versions"])
@pytest.mark.parametrize(
    ("refusal", "passing"),
    [
        (StoreError(500, "InternalError", "starting"), True),
        (StoreError(502, "BadGateway", "starting"), True),
        (StoreError(0, "NoAnswer", "reset", unknown=True), True),
        (StoreError(501, "NotImplemented", "never heard of it"), False),
        (StoreError(400, "InvalidRequest", "no"), False),
        (StoreError(0, "StoreUnreachable", "connection refused"), True),
    ],
)
def test_a_store_in_trouble_fails_no_job_that_is_being_prepared(room, call, refusal, passing):
    """Manifest, place of the report, and whether a bucket has versions are asked for again later."""

    class InTrouble(MemoryObjectStore):
        pass

    async def refused(self, bucket, *args, **options):
        raise refusal

    room.objects = InTrouble(room.clock, BUCKETS, ("photos",))
    rows = with_manifest(a_brief(room, "photos,a,v1\n"), fields=("Bucket", "Key", "VersionId"))
    setattr(InTrouble, call, refused)
    with pytest.raises(JobFailure) as caught:
        room.prepare(rows)
    assert caught.value.passing == passing
    assert str(refusal) in caught.value.reason


@pytest.mark.parametrize("refusal", [StoreError(403, "AccessDenied", "no"), StoreError(0, "NoAnswer", "reset", unknown=True)])
def test_only_writing_decides_whether_a_report_can_be_written(room, monkeypatch, refusal):
    class Keeping(MemoryObjectStore):
        refused = 0

        async def delete_object(self, *args, **options):
            if refusal.unknown and self.refused:
                return await super().delete_object(*args, **options)
            self.refused += 1
            raise refusal

    room.objects = Keeping(room.clock, BUCKETS)
    room.prepare(a_brief(room, "photos,a\n"))
    assert room.events[-1].total == 1
    assert room.keys("lists") == (["m.csv"] if refusal.unknown else ["m.csv", "r/job-job-1/write-test"])


# -- reporting


def outcomes(room, name, rows, failed=()):
    room.spool.write(
        name,
        files.encode_outcomes(
            rows,
            [404 if row in failed else 200 for row in rows],
            ["NoSuchKey" if row in failed else None for row in rows],
            ["gone" if row in failed else "Successful" for row in rows],
            [False] * len(rows),
        ),
    )
    return name


def sealed(room, chunks, failed=()):
    done = []
    for chunk in chunks:
        rows = list(range(chunk.first_row, chunk.first_row + chunk.rows))
        name = outcomes(room, f"acme/job-1/sealed/{chunk.index}.arrow", rows, failed)
        done.append(msgspec.structs.replace(chunk, sealed_name=name))
    return done


def test_a_report_written_again_gives_the_same_bytes_under_the_same_names(room):
    brief = a_brief(room, "".join(f"photos,k/{n}\n" for n in range(700)))
    chunks = sealed(room, room.prepare(brief), failed={3, 650})
    room.report(brief, chunks)
    first = {key: room.body("lists", key) for key in room.keys("lists")}
    listing = json.loads(first["r/job-job-1/manifest.json"])
    assert [result["TaskExecutionStatus"] for result in listing["Results"]] == ["succeeded", "failed"]
    assert hashlib.md5(first["r/job-job-1/manifest.json"]).hexdigest() == first["r/job-job-1/manifest.json.md5"].decode().strip()
    writes = len(room.objects.log)
    room.report(brief, chunks)
    assert {key: room.body("lists", key) for key in room.keys("lists")} == first
    assert len(room.objects.log) == writes, "what is there already is not written again"


def test_report_files_come_to_the_store_with_their_digests(room, monkeypatch):
    bodies = {}
    put_object = room.objects.put_object

    def put(bucket, key, body, **options):
        bodies[key] = body
        if isinstance(body, HashedFile):
            data = body.path.read_bytes()
            assert body.size == len(data)
            assert (body.sha256, body.md5) == (hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest())
        return put_object(bucket, key, body, **options)

    brief = a_brief(room, "photos,a\nphotos,b\n")
    chunks = sealed(room, room.prepare(brief), failed={1})
    monkeypatch.setattr(room.objects, "put_object", put)
    room.report(brief, chunks)
    assert {key.rpartition(b".")[2]: type(body) for key, body in bodies.items()} == {
        b"csv": HashedFile,
        b"json": bytes,
        b"md5": bytes,
    }


def test_a_crash_between_two_report_files_leaves_no_manifest_and_is_made_good(room, monkeypatch):
    brief = a_brief(room, "photos,a\nphotos,b\n")
    chunks = sealed(room, room.prepare(brief), failed={1})
    real, calls = room.objects.put_object, []

    async def breaks_at_the_second(bucket, key, body, **options):
        calls.append(key)
        if len(calls) == 2:
            raise StoreError(500, "InternalError", "on fire")
        return await real(bucket, key, body, **options)

    monkeypatch.setattr(room.objects, "put_object", breaks_at_the_second)
    with pytest.raises(JobFailure, match="on fire"):
        room.report(brief, chunks)
    assert "r/job-job-1/manifest.json" not in room.keys("lists")
    room.report(brief, chunks)
    assert "r/job-job-1/manifest.json" in room.keys("lists")
    assert len(calls) == len(set(calls)) + 1


def test_other_bytes_under_a_name_of_the_report_are_never_overwritten(room):
    brief = a_brief(room, "photos,a\n")
    chunks = sealed(room, room.prepare(brief))
    room.put("lists", "r/job-job-1/manifest.json", b"mine")
    with pytest.raises(JobFailure, match="not overwritten"):
        room.report(brief, chunks)
    assert room.body("lists", "r/job-job-1/manifest.json") == b"mine"


def test_a_report_of_a_stopped_job_holds_what_was_done_in_segments_too(room):
    brief = a_brief(room, "".join(f"photos,k/{n}\n" for n in range(700)))
    first, second = room.prepare(brief)
    (first,) = sealed(room, [first])
    name = outcomes(room, "acme/job-1/segments/1-0.arrow", [502, 500], failed={500})
    segment = Segment(job="job-1", chunk=1, attempt=Attempt(1, 9), sequence=0, name=name, rows=2, failed=1)
    room.report(brief, [first, second], [segment])
    results = json.loads(room.body("lists", "r/job-job-1/manifest.json"))["Results"]
    lines = [room.body("lists", result["Key"]).decode().splitlines() for result in results]
    assert [len(part) for part in lines] == [501, 1]
    assert lines[0][-1].startswith("photos,k/502,,succeeded")
    assert lines[1] == ["photos,k/500,,failed,404,NoSuchKey,gone"]


# -- probing


class Lying(MemoryObjectStore):
    """Runs the plain PUT for a sub-resource that it does not know, as some stores do."""

    async def put_tags(self, bucket, key, version, tags):
        await self.put_object(bucket, key, b"<Tagging/>")

    async def put_acl(self, bucket, key, version, acl):
        await self.put_object(bucket, key, b"")


class Forgetful(MemoryObjectStore):
    """Answers success to access control lists and drops them, as some stores do."""

    async def put_acl(self, bucket, key, version, acl):
        pass


class Refusing(MemoryObjectStore):
    """Has no access control lists, and says so."""

    async def put_acl(self, bucket, key, version, acl):
        raise StoreError(501, "NotImplemented", "no ACLs here")


class Passing(MemoryObjectStore):
    """Passes over a header of CopyObject: the one that the class names."""

    header = ""

    async def copy_object(self, bucket, key, version, target, target_key, headers=()):
        kept = tuple((name, value) for name, value in headers if name != self.header)
        return await super().copy_object(bucket, key, version, target, target_key, kept)


def passing_over(header):
    return type("Passing", (Passing,), {"header": header})


def copying(**parameters):
    return Copy(target_bucket="copies", dialect="s3control", **parameters)


SHARED = Copy(target_bucket="copies", dialect="cos", grants=(Grant("id", "someone", "READ"),))
ADDING = Copy(
    target_bucket="copies",
    dialect="cos",
    metadata=NewMetadata(user={"Colour": "red"}),
    metadata_mode="add",
    tags={"t": "1"},
    tags_mode="add",
    unmodified_since_ms=1,
)


@pytest.mark.parametrize(
    ("kind", "operation", "verdict"),
    [
        (MemoryObjectStore, PutTagging(tags={"a": "b"}), "proven"),
        (MemoryObjectStore, Copy(target_bucket="copies", dialect="cos", replace_prefix=("x/", "y/"), tags={"t": "1"}), "proven"),
        (MemoryObjectStore, Delete(), "proven"),
        (MemoryObjectStore, ADDING, "proven"),
        (MemoryObjectStore, SHARED, "proven"),
        (MemoryObjectStore, Copy(target_bucket="copies", dialect="cos", inherit_acl=True), "proven"),
        (Lying, PutTagging(tags={"a": "b"}), "lying"),
        (Lying, SHARED, "lying"),
        (Forgetful, SHARED, "lying"),
        (Refusing, SHARED, "inconclusive"),
        (Refusing, Copy(target_bucket="copies", dialect="cos", canned_acl="private"), "proven"),
        (Lying, Delete(), "proven"),
        (MemoryObjectStore, copying(storage_class="GLACIER_IR", sse="AES256", redirect="/x"), "proven"),
        (MemoryObjectStore, copying(modified_since_ms=1, unmodified_since_ms=4_000_000_000_000), "proven"),
        (passing_over("x-amz-storage-class"), copying(storage_class="GLACIER_IR"), "lying"),
        (passing_over("x-amz-server-side-encryption"), copying(sse="AES256"), "lying"),
        (passing_over("x-amz-website-redirect-location"), copying(redirect="/x"), "lying"),
        (passing_over("x-amz-copy-source-if-modified-since"), copying(modified_since_ms=1), "lying"),
        (passing_over("x-amz-copy-source-if-unmodified-since"), copying(unmodified_since_ms=1), "lying"),
    ],
)
def test_a_probe_believes_what_it_reads_back_and_leaves_nothing_behind(room, kind, operation, verdict):
    room.objects = kind(room.clock, BUCKETS)
    brief = a_brief(room, "photos,a\n", operation)
    run_probe(
        frames.ProbeStore(attempt=Attempt(1, 1), job="job-1", store="main"), brief, room, room.effects.run, room.events.append
    )
    assert (room.events[0].finding.verdict, room.keys("scratch")) == (verdict, [])


@pytest.mark.parametrize(("status", "passing"), [(500, True), (0, True), (403, False)])
def test_a_probe_tells_whether_the_store_was_only_in_trouble(room, status, passing):
    class InTrouble(MemoryObjectStore):
        async def head_object(self, *args):
            raise StoreError(status, "Whatever", "not now")

    room.objects = InTrouble(room.clock, BUCKETS)
    unit = frames.ProbeStore(attempt=Attempt(1, 1), job="job-1", store="main")
    run_probe(unit, a_brief(room, "photos,a\n"), room, room.effects.run, room.events.append)
    finding = room.events[0].finding
    assert (finding.verdict, finding.passing) == ("inconclusive", passing)


def test_a_probe_without_a_scratch_bucket_is_inconclusive(room):
    room.settings["main"] = msgspec.structs.replace(room.settings["main"], scratch_bucket=None)
    brief = a_brief(room, "photos,a\n")
    run_probe(
        frames.ProbeStore(attempt=Attempt(1, 1), job="job-1", store="main"), brief, room, room.effects.run, room.events.append
    )
    assert room.events[0].finding.verdict == "inconclusive"
