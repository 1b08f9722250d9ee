"""botocore as the judge of the S3 wire: what it writes we read, what we write it reads, for random values of the whole model."""

import datetime as dt
from typing import Any

import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.serialize
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haulier.api.restxml import KEPT, Model, Sent
from haulier.api.xmltree import read
from s3model import SERVICE as EXTENDED
from wire.xmls import read_twice

MODEL = Model.s3control()
SERVICE = botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("s3control", "service-2"))
SERIALIZER = botocore.serialize.create_serializer("rest-xml", include_validation=False)
PARSER = botocore.parsers.create_parser("rest-xml")
UTC = dt.UTC

FORBIDDEN = "\ufffe\uffff" + "".join(map(chr, [*range(9), 11, 12, *range(14, 32)]))
WRITABLE = st.characters(exclude_categories=["Cs"], exclude_characters=FORBIDDEN)
# botocore's own writer leaves a carriage return raw, which XML turns into a newline: not ours to repair.
SENDABLE = st.characters(exclude_categories=["Cs"], exclude_characters=FORBIDDEN + "\r")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 32_503_680_000_000).map(lambda milliseconds: EPOCH + dt.timedelta(milliseconds=milliseconds))


def values(shape: botocore.model.Shape, characters: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    kind = shape.type_name
    if kind == "structure":
        members = {
            name: values(member, characters) for name, member in shape.members.items() if "location" not in member.serialization
        }
        if getattr(shape, "is_tagged_union", False):
            return st.one_of([st.fixed_dictionaries({name: strategy}) for name, strategy in members.items()])
        return st.fixed_dictionaries({}, optional=members)
    if kind == "list":
        return st.lists(values(shape.member, characters), max_size=3)
    if kind == "map":
        return st.dictionaries(values(shape.key, characters), values(shape.value, characters), max_size=3)
    if kind in ("integer", "long"):
        top = 2**31 - 1 if kind == "integer" else 2**63 - 1
        least = shape.metadata.get("min", -top)
        return st.integers(least, shape.metadata.get("max", top))
    if kind == "boolean":
        return st.booleans()
    if kind == "timestamp":
        return MOMENTS
    assert kind == "string"
    return st.sampled_from(shape.enum) if shape.enum else st.text(characters, max_size=12)


def ours(value: Any) -> Any:
    """The value as our models have it: times in Unix milliseconds."""
    if isinstance(value, dict):
        return {name: ours(part) for name, part in value.items()}
    if isinstance(value, list):
        return [ours(part) for part in value]
    if isinstance(value, dt.datetime):
        return (value - EPOCH) // dt.timedelta(milliseconds=1)
    return value


def in_utc(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: in_utc(part) for name, part in value.items() if name != "ResponseMetadata"}
    if isinstance(value, list):
        return [in_utc(part) for part in value]
    return value.astimezone(UTC) if isinstance(value, dt.datetime) else value


RELAXED = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.mark.parametrize("name", ["CreateJob", "PutJobTagging"])
def test_what_botocore_sends_is_what_we_read(name: str) -> None:
    operation = SERVICE.operation_model(name)

    @RELAXED
    @given(values(operation.input_shape, SENDABLE))
    def same(value: dict[str, Any]) -> None:
        elsewhere = {"AccountId": "123456789012", "JobId": "job-12345"}
        sent = {name: part for name, part in elsewhere.items() if name in operation.input_shape.members} | value
        body = SERIALIZER.serialize_to_request(sent, operation)["body"]
        if value:  # botocore sends no body at all for no members
            assert MODEL.parse(name, body) == ours(value)

    same()


@pytest.mark.parametrize(
    "name", ["CreateJob", "DescribeJob", "ListJobs", "UpdateJobPriority", "UpdateJobStatus", "GetJobTagging", "PutJobTagging"]
)
def test_what_we_answer_is_what_botocore_reads(name: str) -> None:
    shape = SERVICE.operation_model(name).output_shape

    @RELAXED
    @given(values(shape, WRITABLE))
    def same(value: dict[str, Any]) -> None:
        body = MODEL.serialize(name, ours(value))
        answer = {"body": body, "headers": {"content-type": "application/xml"}, "status_code": 200}
        assert in_utc(PARSER.parse(answer, shape)) == value
        assert not body or read(body).tag == shape.name

    same()


def test_a_page_of_a_thousand_jobs_reads_back() -> None:
    jobs = [
        {"JobId": f"job-{n:05}", "Status": "Complete", "Priority": n, "CreationTime": 1_700_000_000_000 + n} for n in range(1000)
    ]
    body = MODEL.serialize("ListJobs", {"Jobs": jobs, "NextToken": "a+b/c="})
    answer = {"body": body, "headers": {}, "status_code": 200}
    parsed = PARSER.parse(answer, SERVICE.operation_model("ListJobs").output_shape)
    assert ours(in_utc(parsed)) == {"Jobs": jobs, "NextToken": "a+b/c="}


@pytest.mark.parametrize("service", [SERVICE, EXTENDED], ids=["stock", "extended"])
def test_what_botocore_sends_is_what_it_reads_back(service: botocore.model.ServiceModel) -> None:
    """Manifest, generator, every operation, report and options: also those that no code carries out."""
    create, describe = service.operation_model("CreateJob"), service.operation_model("DescribeJob")
    kept = {name: shape for name, shape in create.input_shape.members.items() if name in KEPT}

    @RELAXED
    @given(st.fixed_dictionaries({}, optional={name: values(shape, SENDABLE) for name, shape in kept.items()}))
    def same(value: dict[str, Any]) -> None:
        body = SERIALIZER.serialize_to_request({"AccountId": "123456789012", "Priority": 1, **value}, create)["body"]
        parsed, echo = MODEL.parse_with_echo("CreateJob", body)
        assert parsed == {"Priority": 1, **ours(value)}
        answer = MODEL.serialize("DescribeJob", {"Job": {name: Sent(node) for name, node in echo.items()}})
        assert read_twice(answer) is not None
        shown = PARSER.parse({"body": answer, "headers": {}, "status_code": 200}, describe.output_shape)
        assert in_utc(shown["Job"]) == value

    same()
