"""REST-XML driven by a service model: one reader and one writer for both dialects (design §3).

Values are plain: structures and maps are dicts, lists are lists, integers `int`, strings `str`. Times are Unix milliseconds, but
seconds where the model says `unixTimestamp` (COS's since-constraints). A member that was not sent is not in its dict; an empty
element is `{}`, `[]` or `""`.

`parse` looks at form only: what it refuses is malformed or no value of its type. `check` looks at what the model says about
values: presence, lengths, ranges, enums, patterns. What spans several fields belongs to the dialect's `mapping.py`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import botocore.loaders

from haulier.api import checks, scalars
from haulier.api.shapes import Member, Operation, Shape, Shapes, merged
from haulier.api.xmltree import (
    BODY_BYTES_MAX,
    DECLARATION,
    EchoNode,
    Element,
    Sent,
    UnwritableText,
    document,
    escape,
    read,
    root_tag,
    write_node,
)
from haulier.core.errors import InvalidField, MalformedDocument

__all__ = [
    "BODY_BYTES_MAX",
    "KEPT",
    "EchoNode",
    "Element",
    "Model",
    "Operation",
    "Sent",
    "UnwritableText",
    "document",
]

KEPT: Final = frozenset({"Manifest", "ManifestGenerator", "Operation", "Options", "Report"})
"""Top-level elements that are echoed as sent."""
STRICT: Final = KEPT - {"Options"}
"""Those in which an unknown element is an error: a filter that we overlooked would widen a delete (decisions §2). Elsewhere it
depends on the model."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Model:
    """A service: its operations, and how their bodies are read, checked and written."""

    def __init__(self, description: Mapping[str, Any], *, uri_prefix: str) -> None:
        """`description` is a `service-2.json`; only operations below `uri_prefix` are served."""
        shapes = Shapes(description["shapes"])
        served = [value for value in description["operations"].values() if value["http"]["requestUri"].startswith(uri_prefix)]
        metadata = description["metadata"]
        self.operations: Mapping[str, Operation] = {value["name"]: shapes.operation(value) for value in served}
        self.namespace: str | None = next(
            (value["input"]["xmlNamespace"]["uri"] for value in served if "xmlNamespace" in value.get("input", {})), None
        )
        self._whole_seconds: bool = metadata.get("timestampPrecision") == "seconds"
        self._wrapper_root: str | None = metadata.get("wrapperRoot")
        """A root that a client's XML writer puts around the request (cos-batch.md §7, 12)."""
        self._nested_item: str | None = metadata.get("nestedItem")
        """The tag under which that writer puts the items of a list, inside a single item."""

    @staticmethod
    def s3control(*, extensions: bool = True) -> "Model":
        """AWS S3 Batch Operations as the installed botocore knows it, what we check beyond it, and our extensions of it."""
        return _s3control(extensions)

    @staticmethod
    @cache
    def cos() -> "Model":
        """The Tencent COS Batch API, from our own description."""
        return Model(_json("cos/model.json"), uri_prefix="/jobs")

    # -- reading

    def parse(self, operation_name: str, body: bytes) -> dict[str, Any]:
        """The members that the body carries. Raises MalformedDocument, DocumentTooLarge or InvalidField, naming the path."""
        return self.parse_with_echo(operation_name, body)[0]

    def parse_with_echo(self, operation_name: str, body: bytes) -> tuple[dict[str, Any], dict[str, EchoNode]]:
        """As `parse`, and beside it the elements of `KEPT` exactly as sent."""
        value, echo = self._read(operation_name, body)
        checks.readable(value)
        return value, echo

    def checked(self, operation_name: str, body: bytes) -> tuple[dict[str, Any], dict[str, EchoNode]]:
        """`parse_with_echo` and `check` in one: form and presence of the whole document before any value of it."""
        value, echo = self._read(operation_name, body)
        self.check(operation_name, value)
        return value, echo

    def checked_tree(self, operation_name: str, root: Element) -> tuple[dict[str, Any], dict[str, EchoNode]]:
        """As `checked`, for a document that did not come as XML."""
        value, echo = self._read_tree(self.operations[operation_name], root)
        self.check(operation_name, value)
        return value, echo

    def _read(self, operation_name: str, body: bytes) -> tuple[dict[str, Any], dict[str, EchoNode]]:
        """Members, with `Unreadable` for text that is no value, and echo."""
        operation = self.operations[operation_name]
        if operation.input_root is None:
            return {}, {}
        if not body:
            raise MalformedDocument("", f"the body is empty; it must be <{operation.input_root}>")
        return self._read_tree(operation, self._request_root(read(body), operation.input_root))

    def _read_tree(self, operation: Operation, root: Element) -> tuple[dict[str, Any], dict[str, EchoNode]]:
        value = self._structure(operation.input_shape, root, "", strict=False)
        echo = {child.tag: child.echo() for child in root.children if child.tag in KEPT and self._ours(child)}
        return value, echo

    def parse_query(self, operation_name: str, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """The members that the query carries, from decoded names and values; unknown parameters are ignored, but for one that
        differs from a known one by case alone: a q-sign signature holds for both, and it would mean nothing.

        Raises InvalidField naming the parameter.
        """
        found: dict[str, Any] = {}
        for member in self.operations[operation_name].input_shape.members.values():
            if member.location != "querystring":
                continue
            values = [value for name, value in pairs if name == member.tag]
            for name, _ in pairs:
                if name != member.tag and name.lower() == member.tag.lower():
                    raise InvalidField(name[:80], f"is written {member.tag}")
            if not values:
                continue
            if member.shape.kind == "list":
                assert member.shape.item is not None
                if member.separator:
                    values = [part for value in values for part in value.split(member.separator)]
                found[member.name] = [scalars.parse(member.shape.item.shape, value, member.tag) for value in values]
            elif len(values) > 1:
                raise InvalidField(member.tag, "the parameter is given more than once")
            else:
                found[member.name] = scalars.parse(member.shape, values[0], member.tag)
        return found

    def check(self, operation_name: str, value: Mapping[str, Any]) -> None:
        """Whether the input is what the model allows: MalformedDocument for missing members and for not exactly one member of a
        choice, InvalidField for values. Members that headers and path carry are checked when they are in `value`."""
        checks.check(self.operations[operation_name].input_shape, value)

    def _ours(self, element: Element) -> bool:
        return element.namespace is None or element.namespace == self.namespace

    def _request_root(self, root: Element, expected: str) -> Element:
        if not self._ours(root):
            right = f"{self.namespace!r} or none" if self.namespace else "none"
            raise MalformedDocument(root.tag, f"the namespace {str(root.namespace)[:200]!r} is not known; it must be {right}")
        if self._wrapper_root is not None and root.tag == self._wrapper_root:
            inner = [child for child in root.children if child.tag == expected]
            if len(inner) == 1:
                inner[0].children += [child for child in root.children if child is not inner[0]]
                root = inner[0]
        if root.tag != expected:
            raise MalformedDocument(root.tag, f"the root element must be <{expected}>")
        return root

    def _value(self, shape: Shape, element: Element, path: str, *, strict: bool) -> Any:
        if shape.kind == "structure":
            return self._structure(shape, element, path, strict=strict)
        if shape.kind == "list":
            _refuse_text(element, path)
            return self._items(shape, element.children, path, strict=strict)
        if shape.kind == "map":
            _refuse_text(element, path)
            return self._entries(shape, element.children, path, strict=strict)
        if element.children:
            raise MalformedDocument(_join(path, element.children[0].tag), "elements stand where only text may stand")
        try:
            return scalars.parse(shape, element.text, path)
        except InvalidField as error:
            return scalars.Unreadable(error)

    def _structure(self, shape: Shape, element: Element, path: str, *, strict: bool) -> dict[str, Any]:
        _refuse_text(element, path)
        strict = strict or shape.strict
        found: dict[str, list[Element]] = {}
        for child in element.children:
            member = shape.tags.get(child.tag) if self._ours(child) else None
            if member is not None:
                found.setdefault(member.name, []).append(child)
            elif strict:
                known = ", ".join(sorted(shape.tags)) or "nothing"
                raise MalformedDocument(_join(path, child.tag), f"the element is not known here; known are {known}")
        return {
            name: self._member(shape.members[name], elements, _join(path, name), strict=strict or (not path and name in STRICT))
            for name, elements in found.items()
        }

    def _member(self, member: Member, elements: list[Element], path: str, *, strict: bool) -> Any:
        if member.flattened and member.shape.kind == "list":
            return self._items(member.shape, elements, path, strict=strict, tags=(member.tag, *member.aliases))
        if member.flattened and member.shape.kind == "map":
            return self._entries(member.shape, elements, path, strict=strict, tag=member.tag)
        values = [self._value(member.shape, element, path, strict=strict) for element in elements]
        if len(values) > 1 and not (member.repeats and all(value == values[0] for value in values)):
            raise MalformedDocument(path, "the element stands more than once")
        return values[-1]

    def _items(
        self, shape: Shape, elements: Sequence[Element], path: str, *, strict: bool, tags: tuple[str, ...] = ()
    ) -> list[Any]:
        item = shape.item
        assert item is not None
        tags = tags or (item.tag, *item.aliases)
        found: list[Any] = []
        for child in elements:
            if child.tag not in tags or not self._ours(child):
                raise MalformedDocument(_join(path, child.tag), f"the list holds <{tags[0]}> elements only")
            nested = bool(child.children) and all(grandchild.tag == self._nested_item for grandchild in child.children)
            for element in child.children if nested else [child]:
                found.append(self._value(item.shape, element, f"{path}[{len(found)}]", strict=strict))
        return found

    def _entries(
        self, shape: Shape, elements: Sequence[Element], path: str, *, strict: bool, tag: str = "entry"
    ) -> dict[str, Any]:
        key, item = shape.key, shape.item
        assert key is not None
        assert item is not None
        found: dict[str, Any] = {}
        for entry in elements:
            parts = {child.tag: child for child in entry.children if self._ours(child)}
            if entry.tag != tag or not self._ours(entry) or len(entry.children) != 2 or set(parts) != {key.tag, item.tag}:
                right = f"<{tag}> elements with one <{key.tag}> and one <{item.tag}>"
                raise MalformedDocument(_join(path, entry.tag), f"the map holds {right} only")
            _refuse_text(entry, _join(path, tag))
            name = self._value(key.shape, parts[key.tag], _join(path, key.tag), strict=strict)
            if name in found:
                raise MalformedDocument(path, f"the key {name!r} stands more than once")
            found[name] = self._value(item.shape, parts[item.tag], f"{path}[{name!r}]", strict=strict)
        return found

    # -- writing

    def serialize(self, operation_name: str, value: Mapping[str, Any]) -> bytes:
        """The answer's body; empty when the operation answers without one. `None` counts as absent, `Sent(node)` may stand for
        any value and is written as it is.

        Raises UnwritableText for text that XML cannot carry; TypeError and KeyError for values that are not the model's.
        """
        operation = self.operations[operation_name]
        if operation.output_root is None or operation.output_shape is None:
            return b""
        out: list[str] = [DECLARATION]
        self._write(out, operation.output_root, operation.output_shape, value, self.namespace)
        return "".join(out).encode("utf-8")

    def _write(self, out: list[str], tag: str, shape: Shape, value: Any, namespace: str | None = None) -> None:
        if isinstance(value, Sent):
            write_node(out, value.node)
            return
        if shape.kind not in ("structure", "list", "map"):
            text = escape(self._text(shape, value, tag))
            out.append(f"<{tag}>{text}</{tag}>" if text else f"<{tag}/>")
            return
        out.append(f"<{root_tag(tag, namespace)}>")
        if shape.kind == "structure":
            self._write_members(out, shape, value)
        elif shape.kind == "list":
            assert shape.item is not None
            for item in value:
                self._write(out, shape.item.tag, shape.item.shape, item)
        else:
            self._write_entries(out, "entry", shape, value)
        out.append(f"</{tag}>")

    def _write_members(self, out: list[str], shape: Shape, value: Mapping[str, Any]) -> None:
        if unknown := value.keys() - shape.members.keys():
            raise KeyError(f"{shape.name} has no member {', '.join(sorted(unknown))}")
        for name, member in shape.members.items():
            part = value.get(name)
            if part is None:
                continue
            if member.flattened and member.shape.kind == "list":
                assert member.shape.item is not None
                for item in part:
                    self._write(out, member.tag, member.shape.item.shape, item)
            elif member.flattened and member.shape.kind == "map":
                self._write_entries(out, member.tag, member.shape, part)
            else:
                self._write(out, member.tag, member.shape, part)

    def _write_entries(self, out: list[str], tag: str, shape: Shape, value: Mapping[str, Any]) -> None:
        assert shape.key is not None
        assert shape.item is not None
        for name, item in value.items():
            out.append(f"<{tag}>")
            self._write(out, shape.key.tag, shape.key.shape, name)
            self._write(out, shape.item.tag, shape.item.shape, item)
            out.append(f"</{tag}>")

    def _text(self, shape: Shape, value: Any, tag: str) -> str:
        if shape.kind == "boolean" and isinstance(value, bool):
            return "true" if value else "false"
        if shape.kind == "string" and isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            if shape.kind in ("integer", "long") or (shape.kind == "timestamp" and shape.unix_seconds):
                return str(value)
            if shape.kind == "timestamp":
                return self._iso(value)
        raise TypeError(f"<{tag}>: {type(value).__name__} is no {shape.kind}")

    def _iso(self, milliseconds: int) -> str:
        moment = (_EPOCH + timedelta(milliseconds=milliseconds)).replace(tzinfo=None)
        return moment.isoformat(timespec="seconds" if self._whole_seconds else "milliseconds") + "Z"


@cache
def _s3control(extensions: bool) -> Model:
    described = merged(botocore.loaders.Loader().load_service_model("s3control", "service-2"), _json("s3control/checks.json"))
    if extensions:
        described = merged(described, _json("s3control/extensions.json"))
    return Model(described, uri_prefix="/v20180820/jobs")


def _json(name: str) -> Any:
    return json.loads((Path(__file__).parent / name).read_text("utf-8"))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _refuse_text(element: Element, path: str) -> None:
    if stray := element.stray_text:
        raise MalformedDocument(path or element.tag, f"the text {stray[:40]!r} stands where only elements may stand")
