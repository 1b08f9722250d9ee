"""The JSON twin of a wire: a request as boto3 takes it in its arguments, made into the tree that it would be in XML.

From there on it goes the wire's own way, so every rule, every limit and the echo are the same. Here everything that the model
does not know is refused, also where XML passes over it.
"""

from collections.abc import Mapping
from typing import Any, Final

from haulier.api.native.jsonbody import join
from haulier.api.restxml import EchoNode, Element, Model
from haulier.api.shapes import Member, Shape
from haulier.core.errors import InvalidField, MalformedDocument

_KINDS: Final = {"structure": "an object", "map": "an object", "list": "an array", "boolean": "true or false"}


def checked(model: Model, operation_name: str, value: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, EchoNode]]:
    """What `Model.checked` gives for the same request in XML. Raises MalformedDocument, InvalidField, NotImplementedHere."""
    operation = model.operations[operation_name]
    assert operation.input_root is not None
    root = Element(operation.input_root, None)
    _structure(root, operation.input_shape, value, "")
    return model.checked_tree(operation_name, root)


def _structure(element: Element, shape: Shape, value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise _wrong(path, value, _KINDS["structure"])
    known = {member.name: member for member in shape.tags.values()}
    for name, part in value.items():
        member = known.get(name)
        if member is None:
            names = ", ".join(sorted(known)) or "nothing"
            raise MalformedDocument(join(path, name), f"the member is not known here; known are {names}")
        _member(element, member, part, join(path, name))


def _member(parent: Element, member: Member, value: Any, path: str) -> None:
    shape = member.shape
    if member.flattened and shape.kind == "list":
        _items(parent, member.tag, shape, value, path)
    elif member.flattened and shape.kind == "map":
        _entries(parent, member.tag, shape, value, path)
    else:
        parent.children.append(_element(member.tag, shape, value, path))


def _element(tag: str, shape: Shape, value: Any, path: str) -> Element:
    element = Element(tag, None)
    if shape.kind == "structure":
        _structure(element, shape, value, path)
    elif shape.kind == "list":
        assert shape.item is not None
        _items(element, shape.item.tag, shape, value, path)
    elif shape.kind == "map":
        _entries(element, "entry", shape, value, path)
    else:
        element.text = _text(shape, value, path)
    return element


def _items(parent: Element, tag: str, shape: Shape, value: Any, path: str) -> None:
    if not isinstance(value, list):
        raise _wrong(path, value, _KINDS["list"])
    assert shape.item is not None
    for number, item in enumerate(value):
        parent.children.append(_element(tag, shape.item.shape, item, f"{path}[{number}]"))


def _entries(parent: Element, tag: str, shape: Shape, value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise _wrong(path, value, _KINDS["map"])
    assert shape.key is not None
    assert shape.item is not None
    for name, item in value.items():
        entry = Element(tag, None)
        entry.children.append(_element(shape.key.tag, shape.key.shape, name, f"{path}.key"))
        entry.children.append(_element(shape.item.tag, shape.item.shape, item, f"{path}[{name!r}]"))
        parent.children.append(entry)


def _text(shape: Shape, value: Any, path: str) -> str:
    if shape.kind == "boolean" and isinstance(value, bool):
        return "true" if value else "false"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if shape.kind == "timestamp" and (number or isinstance(value, str)):
        return str(value)
    if shape.kind in ("integer", "long") and number and not isinstance(value, float):
        return str(value)
    if isinstance(value, str) and shape.kind not in ("boolean", "integer", "long"):
        return value
    right = {"boolean": "true or false", "integer": "a whole number", "long": "a whole number", "timestamp": "a time"}
    raise _wrong(path, value, right.get(shape.kind, "a string"))


def _wrong(path: str, value: Any, right: str) -> InvalidField:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return InvalidField(path, f"is {names.get(type(value), 'a number')}; it must be {right}")
