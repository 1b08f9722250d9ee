"""The description of the native API in OpenAPI 3.1, made of the table that serves it and of the types that read and write it."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

import msgspec

from haulier import __version__, operations
from haulier.api.native import documents as d
from haulier.api.native.apis import APIS, ROOT, Api
from haulier.api.native.errors import ERRORS
from haulier.api.native.parameters import INTERNAL
from haulier.api.restxml import Model
from haulier.api.shapes import Member, Shape

_REFERENCE: Final = "#/components/schemas/{name}"
_DIALECTS: Final = {"s3control": "S3", "cos": "Cos"}
"""Dialect → what the names of its schemas begin with."""

Schema = dict[str, Any]


@cache
def openapi_json(*, extensions: bool = True) -> bytes:
    """The document as it is served, with our extensions of the S3 wire or without."""
    return msgspec.json.encode(openapi(extensions=extensions))


def openapi(*, extensions: bool = True) -> Schema:
    """The document."""
    schemas = _schemas(extensions=extensions)
    paths: dict[str, dict[str, Any]] = {}
    for api in APIS:
        paths.setdefault(f"{ROOT}{api.path}", {})[api.method.lower()] = _operation(api)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Haulier",
            "version": __version__,
            "description": "Batch operations on any S3-compatible store. Errors are RFC 9457 documents whose `code` stays.",
        },
        "security": [{"sigv4": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4 for the service `s3`, in the header; for reads also in the query.",
                },
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token of a key."},
            },
        },
    }


# -- calls -----------------------------------------------------------------------------------------------------------------------


def _operation(api: Api) -> Schema:
    described: Schema = {
        "operationId": api.name,
        "summary": api.about,
        "description": f"Allowed by {' or '.join(f'`{action}`' for action in api.call.value)}.",
        "parameters": list(_parameters(api)),
        "responses": _responses(api),
    }
    if api.body is not None:
        body = _new_job() if api.name == "create" else _reference(api.body)
        described["requestBody"] = {"required": not api.body_optional, "content": {"application/json": {"schema": body}}}
    return described


def _reference(kind: type[Any]) -> Schema:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}


def _new_job() -> Schema:
    mapping = {"native": _REFERENCE.format(name="NewJob")}
    mapping |= {dialect: _REFERENCE.format(name=f"{name}NewJob") for dialect, name in _DIALECTS.items()}
    return {"oneOf": [{"$ref": reference} for reference in mapping.values()]}


def _parameters(api: Api) -> Iterator[Schema]:
    if "{id}" in api.path:
        yield {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "description": "The job."}
    _, components = msgspec.json.schema_components([api.query], ref_template=_REFERENCE)
    for name, described in components[api.query.__name__].get("properties", {}).items():
        choices = [choice for choice in described.get("anyOf", [described]) if choice != {"type": "null"}]
        schema = {word: value for word, value in choices[0].items() if word != "description" and value is not None}
        parameter = {"name": name, "in": "query", "required": False, "schema": schema}
        if about := choices[0].get("description"):
            parameter["description"] = about
        yield parameter
    headers = dict(api.headers)
    if api.changes_version:
        headers["If-Match"] = "Change nothing (412) unless this is still the ETag."
    for name, about in headers.items():
        schema = {"type": "string", **_HEADERS.get(name, {})}
        yield {"name": name, "in": "header", "required": False, "schema": schema, "description": about}


_ETAGS: Final = r'^(\*|(W/)?"[^"\\]*"(, *(W/)?"[^"\\]*")*)$'
_HEADERS: Final[Mapping[str, Schema]] = {
    "Idempotency-Key": {"minLength": 1, "maxLength": d.TOKEN_CHARACTERS_MAX, "pattern": "^[!-~]+$"},
    "If-Match": {"pattern": _ETAGS},
    "If-None-Match": {"pattern": _ETAGS},
}


_STREAM: Final = (
    "Messages whose data is JSON: `event` (an EventDocument), `progress` (a ProgressMessage), `end` (an EndDocument). The id of "
    "a message is the number of the last event before it."
)


def _responses(api: Api) -> Schema:
    good: Schema = {"description": "Done."}
    if api.stream:
        good = {"description": _STREAM, "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    elif api.answer is not None:
        good = {"description": "Done.", "content": {"application/json": {"schema": _reference(api.answer)}}}
    responses = {str(api.status): good}
    if api.stream:
        responses["204"] = {"description": "The job has ended, and the client has read all: it need not come back."}
    if "If-None-Match" in api.headers:
        responses["304"] = {"description": "It is still what the ETag names."}
    for status, codes in sorted(_codes(api).items()):
        responses[str(status)] = {
            "description": ", ".join(f"`{code}`" for code in sorted(codes)),
            "content": {"application/problem+json": {"schema": _reference(d.Problem)}},
        }
    return responses


_ONLY: Final[Mapping[str, Callable[[Api], bool]]] = {
    "DocumentTooLarge": lambda api: api.method != "GET",
    "IdempotencyKeyReused": lambda api: api.name in ("create", "retry"),
    "IllegalTransition": lambda api: api.conflicts and api.name != "create",
    "InvalidCursor": lambda api: api.name == "list",
    "JobNotFound": lambda api: "{id}" in api.path,
    "MethodNotAllowed": lambda _: False,
    "NotImplemented": lambda api: api.name == "create",
    "NothingToRetry": lambda api: api.name == "retry",
    "OutcomesGone": lambda api: api.name in ("retry", "deliver_report"),
    "TooManyJobs": lambda api: api.name in ("create", "retry"),
    "TooManyTags": lambda api: api.name in ("create", "put_tags"),
    "TooManyWaiting": lambda api: api.waits,
    "UnknownPath": lambda api: "{id}" in api.path,
    "VersionMismatch": lambda api: api.changes_version,
}
"""Errors that only some calls can answer with."""


def _codes(api: Api) -> Mapping[int, set[str]]:
    """The errors that the call can answer with, by status."""
    found: dict[int, set[str]] = {}
    for error in (*ERRORS.answers.values(), ERRORS.internal):
        particular = _ONLY.get(error.code)
        if particular is None or particular(api):
            found.setdefault(error.status, set()).add(error.code)
    return found


# -- types -----------------------------------------------------------------------------------------------------------------------


def _schemas(*, extensions: bool) -> Schema:
    kinds = [api.body for api in APIS if api.body is not None] + [api.answer for api in APIS if api.answer is not None]
    kinds += [api.query for api in APIS if api.query is d.ListQuery]  # for the statuses
    kinds += [d.Problem, d.ProgressMessage, d.EndDocument]
    _, schemas = msgspec.json.schema_components(dict.fromkeys(kinds), ref_template=_REFERENCE)
    schemas = dict(schemas)
    schemas["NewJob"] = {
        **schemas["NewJob"],
        "properties": {**schemas["NewJob"]["properties"], "operation": _operations(schemas)},
    }
    models = {"s3control": Model.s3control(extensions=extensions), "cos": Model.cos()}
    for dialect, prefix in _DIALECTS.items():
        shape = models[dialect].operations["CreateJob"].input_shape
        twin = _Twin(prefix, schemas)
        new = twin.structure(shape)
        new["properties"] = {"dialect": {"const": dialect}, **new["properties"]}
        new["required"] = ["dialect", *(name for name in new.get("required", ()) if name != "ClientRequestToken")]
        schemas[f"{prefix}NewJob"] = new
    return schemas


def _operations(schemas: Schema) -> Schema:
    """Each operation by its name, with its own parameters."""
    choices = []
    for kind in operations.ALL:
        _, components = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
        schemas.update(components)
        own = dict(components[kind.__name__])
        own["properties"] = {name: value for name, value in own["properties"].items() if name not in INTERNAL}
        own["required"] = [name for name in own.get("required", ()) if name not in INTERNAL]
        schemas[kind.__name__] = own
        needs = ["name", "parameters"] if own["required"] else ["name"]
        properties = {"name": {"const": kind.name}, "parameters": _reference(kind)}
        choices.append({"type": "object", "properties": properties, "required": needs, "additionalProperties": False})
    return {"oneOf": choices, "description": d.OperationDocument.__doc__}


class _Twin:
    """Schemas of a model's shapes, as `twin` reads them from JSON."""

    def __init__(self, prefix: str, schemas: Schema) -> None:
        """Shapes that have members become components of their own in `schemas`."""
        self._prefix = prefix
        self._schemas = schemas

    def structure(self, shape: Shape) -> Schema:
        """An object with the shape's members."""
        members = {member.name: member for member in shape.tags.values()}
        schema: Schema = {
            "type": "object",
            "properties": {name: self._of(member) for name, member in members.items()},
            "additionalProperties": False,
        }
        required = [name for name in shape.required if name in members]
        if required and shape.unchecked_unless is not None:
            off = {"properties": {shape.unchecked_unless: {"const": False}}, "required": [shape.unchecked_unless]}
            schema |= {"if": off, "else": {"required": required}}
        elif required:
            schema["required"] = required
        if shape.union:
            schema |= {"minProperties": 1, "maxProperties": 1}
        return schema

    def _of(self, member: Member) -> Schema:
        shape = member.shape
        if shape.kind == "structure":
            name = self._prefix + shape.name
            if name not in self._schemas:
                self._schemas[name] = {}  # a shape may hold itself
                self._schemas[name] = self.structure(shape)
            return {"$ref": _REFERENCE.format(name=name)}
        bounds = (("min", shape.least), ("max", shape.most))
        if shape.kind == "list":
            assert shape.item is not None
            return {"type": "array", "items": self._of(shape.item), **{f"{end}Items": n for end, n in bounds if n is not None}}
        if shape.kind == "map":
            assert shape.item is not None
            return {"type": "object", "additionalProperties": self._of(shape.item)}
        if shape.kind in ("integer", "long"):
            return {"type": "integer", **{f"{end}imum": n for end, n in bounds if n is not None}}
        if shape.kind == "boolean":
            return {"type": "boolean"}
        if shape.kind == "timestamp":
            return {"type": ["string", "integer"], "description": "RFC 3339 in UTC, or Unix seconds."}
        if shape.enum:
            return {"enum": list(shape.enum)}
        return {"type": "string", **{f"{end}Length": n for end, n in bounds if n is not None}}
