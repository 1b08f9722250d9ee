"""The page on the JSON API: the prose of `native_api.md`, with what the OpenAPI says of calls, errors and documents."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from haulier import operations
from haulier.api.heads import HEAD_BYTES_MAX, HEADERS_MAX
from haulier.api.native import documents as d
from haulier.api.native import streams, watching
from haulier.api.native.errors import ERRORS
from haulier.api.native.jsonbody import DEPTH_MAX, MARKS_MAX
from haulier.api.native.openapi import openapi
from haulier.api.xmltree import BODY_BYTES_MAX
from haulier.core.history import FIRST_KEPT, NEWEST_KEPT, EventKind

TEMPLATE: Final = Path(__file__).with_suffix(".md")
METHODS: Final = ("get", "post", "put", "delete")
OF_ANY_CALL: Final = frozenset({400, 401, 403, 408, 413, 421, 431, 500, 501, 503})

Schema = Mapping[str, Any]


def page() -> str:
    """The text of native-api.md."""
    document = openapi()
    schemas = document["components"]["schemas"]
    parts = {
        "errors": _table(("status", "code"), _errors()),
        "limits": _table(("limit", ""), _limits()),
        "calls": "\n\n".join(_calls(document["paths"])),
        "documents": "\n\n".join(_documents(schemas)),
        "operations": "\n\n".join(_section(kind.name, kind.__name__, schemas) for kind in operations.ALL),
    }
    text = TEMPLATE.read_text("utf-8")
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part)
    return text


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def _errors() -> list[tuple[str, str]]:
    by_status: dict[int, set[str]] = {}
    for error in (*ERRORS.answers.values(), ERRORS.internal):
        by_status.setdefault(error.status, set()).add(f"`{error.code}`")
    return [(str(status), ", ".join(sorted(codes))) for status, codes in sorted(by_status.items())]


def _limits() -> list[tuple[str, str]]:
    return [
        (
            "A body",
            (
                f"{BODY_BYTES_MAX:,} bytes (less by `limits.body_bytes`), values at most {DEPTH_MAX} deep, "
                f"{MARKS_MAX:,} strings, brackets and commas"
            ),
        ),
        ("Target and headers", f"{HEAD_BYTES_MAX:,} bytes, {HEADERS_MAX} headers"),
        ("A page of jobs, an answer of events", "1,000"),
        ("A job's record", f"its first {FIRST_KEPT} and its newest {NEWEST_KEPT} events"),
        ("A description, a reason", f"{d.TEXT_BYTES_MAX} bytes"),
        ("Clients that wait", f"{watching.WAITERS_MAX:,}, of one account {watching.WAITERS_PER_ACCOUNT_MAX:,}"),
        ("A client that takes nothing from its stream", f"is hung up on after {streams.SEND_SECONDS:g} s"),
    ]


def _calls(paths: Schema) -> Iterator[str]:
    for path, methods in paths.items():
        for method in METHODS:
            if method in methods:
                yield _call(path, method, methods[method])


def _call(path: str, method: str, call: Schema) -> str:
    rows = [
        (f"`{parameter['name']}`", parameter["in"], _type(parameter["schema"]), parameter.get("description", ""))
        for parameter in call["parameters"]
        if parameter["in"] != "path"
    ]
    parts = [f"### `{method.upper()} {path}`", f"{call['summary']} {call['description']}"]
    if rows:
        parts.append(_table(("parameter", "in", "type", ""), rows))
    body = call.get("requestBody")
    if body is not None:
        parts.append(f"Body{'' if body['required'] else ', which can be left out'}: {_type(_content(body))}.")
    good = [f"{status}{_answer(answer)}" for status, answer in call["responses"].items() if int(status) < 400]
    bad = [
        f"{status} ({answer['description']})"
        for status, answer in call["responses"].items()
        if int(status) >= 400 and int(status) not in OF_ANY_CALL
    ]
    parts.append(f"Answers {'; '.join(good)}." + (f" Refusals of its own: {'; '.join(bad)}." if bad else ""))
    return "\n\n".join(parts)


def _content(part: Schema) -> Schema:
    (content,) = part["content"].values()
    schema: Schema = content["schema"]
    return schema


def _answer(answer: Schema) -> str:
    kinds = ", ".join(answer.get("content", ()))
    if kinds == "application/json":
        return f" with {_type(_content(answer))}"
    return f" with `{kinds}`: {answer['description'].rstrip('.')}" if kinds else f": {answer['description'].rstrip('.')}"


_SHOWN: Final = (
    d.NewJob,
    d.OperationDocument,
    d.ManifestDocument,
    d.ReportDocument,
    d.TagsDocument,
    d.ReasonDocument,
    d.PriorityDocument,
    d.JobDocument,
    d.ProgressDocument,
    d.FailureDocument,
    d.PlacementDocument,
    d.ListedJob,
    d.JobList,
    d.EventDocument,
    d.EventList,
    d.ProgressMessage,
    d.EndDocument,
    d.Problem,
)


def _documents(schemas: Schema) -> Iterator[str]:
    for kind in _SHOWN:
        yield _section(kind.__name__, kind.__name__, schemas)
        if kind is d.EventDocument:
            yield "An event's `kind` is one of " + ", ".join(f"`{event.value}`" for event in EventKind) + "."


def _section(title: str, name: str, schemas: Schema) -> str:
    schema = schemas[name]
    required = schema.get("required", ())
    rows = [
        (f"`{member}`{'*' if member in required else ''}", _type(part), _about(part), _default(part))
        for member, part in schema.get("properties", {}).items()
    ]
    about = schema.get("description", "").partition("\n\n")[0].replace("\n", " ")
    return "\n\n".join([f"### {title}", about, _table(("member", "type", "", "left out"), rows) if rows else "No members."])


def _about(schema: Schema) -> str:
    found = [part["description"] for part in (schema, *schema.get("anyOf", ())) if "description" in part]
    return found[0] if found else ""


def _default(schema: Schema) -> str:
    if "default" not in schema or schema["default"] is None:
        return ""
    text = str(schema["default"]).replace("'", '"')
    return f"`{text.lower() if isinstance(schema['default'], bool) else text}`"


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "name" in schema.get("oneOf", [{}])[0].get("properties", {}):
        return d.OperationDocument.__name__
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(dict.fromkeys(_type(choice) for choice in schema[word]))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "any value")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        items = schema.get("items") or schema["prefixItems"][0]
        return f"array of {_type(items)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return _bounded(kind, schema)


def _bounded(kind: str, schema: Schema) -> str:
    for least, most, of_what in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters")):
        if most in schema:
            return f"{kind}, {schema.get(least, 0):,} to {schema[most]:,}{of_what}"
        if least in schema:
            return f"{kind} from {schema[least]}"
    return kind if schema.get("format") is None else f"{kind} ({schema['format']})"
