"""Every limit of CreateJob that the model states: just inside it is let through, just outside it is refused by path.

Lengths are tried with characters of three bytes, so that bytes and characters differ; what is sent is written by botocore.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import botocore.model
import pytest

from haulier.api.restxml import Model
from haulier.core.errors import InvalidField
from s3model import CREATE, SERIALIZER, SERVICE, simplest, text

MODEL = Model.s3control()

Step = str | int
Where = tuple[Step, ...]
"""Members by name, items of lists by number, entries of maps as `key` and `value`."""


class Case(NamedTuple):
    where: Where
    value: Any
    allowed: bool

    def __str__(self) -> str:
        text = str(self.value)
        shown = f"{len(text.encode())} bytes" if isinstance(self.value, str) else str(self.value)[:20]
        return f"{path_of(self.where)} {shown}"


def path_of(where: Where) -> str:
    path = ""
    for number, step in enumerate(where):
        of_map = number > 0 and shape_at(where[:number]).type_name == "map"
        if isinstance(step, int):
            path += f"[{step}]"
        elif of_map and step == "value":
            path += "['x']"
        else:
            path += f".{step}" if path else step
    return path


def shape_at(where: Where) -> botocore.model.Shape:
    shape = CREATE.input_shape
    for step in where:
        if shape.type_name == "structure":
            shape = shape.members[step]
        elif shape.type_name == "list":
            shape = shape.member
        else:
            shape = shape.key if step == "key" else shape.value
    return shape


def places(shape: botocore.model.Shape, where: Where = ()) -> Iterator[Where]:
    """Every place in the body below the shape, itself included."""
    if where:
        yield where
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            if "location" not in member.serialization:
                yield from places(member, (*where, name))
    elif shape.type_name == "list":
        yield from places(shape.member, (*where, 0))
    elif shape.type_name == "map":
        yield from places(shape.key, (*where, "key"))
        yield from places(shape.value, (*where, "value"))


def with_value(shape: botocore.model.Shape, where: Where, value: Any) -> Any:
    """The simplest value of the shape that has `value` at the place."""
    if not where:
        return value
    step, rest = where[0], where[1:]
    if shape.type_name == "structure":
        below = {step: with_value(shape.members[step], rest, value)}
        alone = getattr(shape, "is_tagged_union", False) or shape.name == "JobOperation"
        return below if alone else {**simplest(shape), **below}
    if shape.type_name == "list":
        return [with_value(shape.member, rest, value)]
    if step == "key":
        return {value: simplest(shape.value)}
    return {"x": with_value(shape.value, rest, value)}


def cases() -> Iterator[Case]:
    for where in places(CREATE.input_shape):
        shape = shape_at(where)
        least, most = shape.metadata.get("min"), shape.metadata.get("max")
        if shape.type_name == "string":
            yield from strings(where, shape, least, most)
        elif shape.type_name in ("integer", "long"):
            if least is not None:
                yield from (Case(where, least, True), Case(where, least - 1, False))
            if most is not None:
                yield from (Case(where, most, True), Case(where, most + 1, False))
        elif shape.type_name in ("list", "map"):
            yield from collections(where, shape, least, most)


def strings(where: Where, shape: botocore.model.Shape, least: int | None, most: int | None) -> Iterator[Case]:
    if shape.enum:
        yield from (Case(where, value, True) for value in shape.enum)
        yield from (Case(where, wrong, False) for wrong in ("", "界", f"{shape.enum[0]}x", shape.enum[0].swapcase()))
        return
    if shape.metadata.get("pattern"):
        yield Case(where, "\u00a0!?", False)
    lengths = {0, 1} | ({least, least - 1} if least else set()) | ({most, most + 1} if most is not None else set())
    for length in sorted(lengths):
        allowed = (least or 0) <= length and (most is None or length <= most)
        made = text(shape, length)
        if made is not None:
            yield Case(where, made, allowed)
        elif not allowed:
            yield Case(where, "界" * length, False)


def collections(where: Where, shape: botocore.model.Shape, least: int | None, most: int | None) -> Iterator[Case]:
    def some(number: int) -> Any:
        if shape.type_name == "map":
            return {f"k{n}": simplest(shape.value) for n in range(number)}
        return [simplest(shape.member)] * number

    if least:
        yield from (Case(where, some(least), True), Case(where, some(least - 1), False))
    if most is not None and most < 1000:  # larger ones meet the limit of elements in a document first
        yield from (Case(where, some(most), True), Case(where, some(most + 1), False))


CASES = list(cases())


def test_there_are_cases_for_every_string_of_the_model() -> None:
    tried = {case.where for case in CASES}
    free = {
        path_of(where) for where in places(CREATE.input_shape) if shape_at(where).type_name == "string" and where not in tried
    }
    assert free == set()
    assert len(CASES) > 600


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_limit_of_the_model_holds(case: Case) -> None:
    elsewhere = {"AccountId": "123456789012"}
    asked = with_value(CREATE.input_shape, case.where, case.value)
    body = SERIALIZER.serialize_to_request({**elsewhere, **asked}, CREATE)["body"]
    if case.allowed:
        MODEL.checked("CreateJob", body)
        return
    with pytest.raises(InvalidField) as refused:
        MODEL.checked("CreateJob", body)
    found, wanted = refused.value.path, path_of(case.where)
    assert found == wanted or (isinstance(case.value, list | dict) and found.startswith(wanted))


# -- the other APIs


class Asked(NamedTuple):
    api: str
    member: str
    value: str
    allowed: bool

    def __str__(self) -> str:
        return f"{self.api} {self.member} {len(self.value.encode())} bytes: {self.value[:12]}"


def parameters() -> Iterator[Asked]:
    """Every limit of a query parameter."""
    for api in ("ListJobs", "UpdateJobPriority", "UpdateJobStatus"):
        for name, member in SERVICE.operation_model(api).input_shape.members.items():
            if member.serialization.get("location") == "querystring" and name != "NextToken":
                # (A wrong token has one code, whatever is wrong with it.)
                shape = member.member if member.type_name == "list" else member
                yield from (Asked(api, name, *tried) for tried in values_of(shape))


def values_of(shape: botocore.model.Shape) -> list[tuple[str, bool]]:
    """Values at the limits of the shape, and whether they are allowed."""
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if shape.type_name == "integer":
        wrong = (str(least - 1), str(most + 1), "", "1.0", "१")
        return [(str(least), True), (str(most), True), *((value, False) for value in wrong)]
    if shape.enum:
        return [*((value, True) for value in shape.enum), *((value, False) for value in ("", "界", shape.enum[0].lower()))]
    return [(text(shape, length) or "", least <= length <= most) for length in (0, 1, most, most + 1)]


@pytest.mark.parametrize("asked", list(parameters()), ids=str)
def test_a_limit_of_a_parameter_holds(asked: Asked) -> None:
    operation = MODEL.operations[asked.api]
    member = operation.input_shape.members[asked.member]
    needed = {"UpdateJobPriority": {"Priority": 1}, "UpdateJobStatus": {"RequestedJobStatus": "Ready"}}.get(asked.api, {})

    def checked() -> None:
        query = MODEL.parse_query(asked.api, [(member.tag, asked.value)])
        MODEL.check(asked.api, {**needed, **query})

    if asked.allowed:
        checked()
        return
    with pytest.raises(InvalidField) as refused:
        checked()
    assert refused.value.path.partition("[")[0] == member.tag


@pytest.mark.parametrize("name", ["Key", "Value"])
def test_a_tag_of_a_job_has_as_many_characters_as_a_tag_of_an_object(name: str) -> None:
    put = SERVICE.operation_model("PutJobTagging")
    shape = put.input_shape.members["Tags"].member.members[name]
    most = shape.metadata["max"]
    for length, allowed in ((0, shape.metadata["min"] == 0), (1, True), (most, True), (most + 1, False)):
        tag = {"Key": "k", "Value": "v", name: "界" * length}
        sent = {"AccountId": "123456789012", "JobId": "12345", "Tags": [tag]}
        body = SERIALIZER.serialize_to_request(sent, put)["body"]
        request = MODEL.parse("PutJobTagging", body)
        if allowed:
            MODEL.check("PutJobTagging", request)
        else:
            with pytest.raises(InvalidField, match=rf"^Tags\[0\]\.{name}: "):
                MODEL.check("PutJobTagging", request)
