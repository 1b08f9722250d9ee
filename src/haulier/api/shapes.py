"""A service model as data: operations and shapes in the language of botocore's `service-2.json`.

Beside botocore's own traits our models and overlays may use these:

* `aliases` (member, list item): further tags that mean the same element.
* `repeats` (member): the element may stand more than once if it says the same each time.
* `separator` (query member): a list may also come in one parameter, cut at this character.
* `trim` (string): white space around the value does not count.
* `lengthIn: characters` (string): min and max count characters; without it they count UTF-8 bytes.
* `structural` (string): a value outside the enum is a fault of the document's structure, not of a value.
* `strict` (structure): an element that it does not know is an error, not passed over.
* `uncheckedUnless` (structure): names a boolean member; while that is false the other members are neither required nor checked.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from haulier.api.patterns import UnknownPattern, compiled

Definition = Mapping[str, Any]


@dataclass(slots=True, eq=False)
class Shape:
    """A type. `kind` is structure, list, map, string, integer, long, boolean, timestamp, or one that only newer models have."""

    name: str
    kind: str
    members: "dict[str, Member]" = field(default_factory=dict)
    """Structure: by member name."""
    tags: "dict[str, Member]" = field(default_factory=dict)
    """Structure: the members of the body, by every tag they may come with."""
    item: "Member | None" = None
    """List: what it holds. Map: the value of an entry."""
    key: "Member | None" = None
    """Map: the key of an entry."""
    required: tuple[str, ...] = ()
    union: bool = False
    strict: bool = False
    unchecked_unless: str | None = None
    least: int | None = None
    most: int | None = None
    characters: bool = False
    enum: tuple[str, ...] = ()
    trim: bool = False
    structural: bool = False
    pattern: re.Pattern[str] | None = None
    pattern_problem: str | None = None
    """Why the pattern cannot be checked: such a field is refused, not let through."""
    unix_seconds: bool = False
    """Timestamp: an integer of seconds on the wire and in values (`timestampFormat: unixTimestamp`)."""

    def __repr__(self) -> str:
        return f"Shape({self.name})"


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A shape in its place."""

    name: str
    """In values and in paths."""
    tag: str
    """On the wire: element, header or query parameter."""
    shape: Shape
    location: str | None = None
    """`header`, `uri`, `querystring`; None = the body."""
    flattened: bool = False
    repeats: bool = False
    aliases: tuple[str, ...] = ()
    separator: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One API of a service."""

    name: str
    method: str
    uri: str
    """With `{id}` for what the path carries."""
    input_shape: Shape
    output_shape: Shape | None
    input_root: str | None
    """The root element of the request body; None = a request without body."""
    output_root: str | None
    """The root element of the answer; None = an answer without body."""


class Shapes:
    """Resolves the shapes of one model, each once, so that recursive ones work."""

    def __init__(self, definitions: Mapping[str, Definition]) -> None:
        self._definitions = definitions
        self._known: dict[str, Shape] = {}

    def shape(self, name: str) -> Shape:
        """The shape of that name."""
        known = self._known.get(name)
        if known is None:
            definition = self._definitions[name]
            known = self._known[name] = Shape(name, definition["type"])
            self._fill(known, definition)
        return known

    def _fill(self, shape: Shape, definition: Definition) -> None:
        shape.required = tuple(definition.get("required", ()))
        shape.union = definition.get("union", False)
        shape.strict = definition.get("strict", False)
        shape.unchecked_unless = definition.get("uncheckedUnless")
        shape.least = definition.get("min")
        shape.most = definition.get("max")
        shape.characters = definition.get("lengthIn") == "characters"
        shape.enum = tuple(definition.get("enum", ()))
        shape.trim = definition.get("trim", False) or bool(shape.enum)
        shape.structural = definition.get("structural", False)
        shape.unix_seconds = definition.get("timestampFormat") == "unixTimestamp"
        if "pattern" in definition:
            try:
                shape.pattern = compiled(definition["pattern"])
            except UnknownPattern as problem:
                shape.pattern_problem = str(problem)
        if shape.kind == "structure":
            for name, reference in definition["members"].items():
                self._add(shape, self._member(name, reference, name))
        elif shape.kind == "list":
            shape.item = self._member("member", definition["member"], "member")
        elif shape.kind == "map":
            shape.key = self._member("key", definition["key"], "key")
            shape.item = self._member("value", definition["value"], "value")

    @staticmethod
    def _add(shape: Shape, member: Member) -> None:
        shape.members[member.name] = member
        if member.location is None:
            for tag in (member.tag, *member.aliases):
                shape.tags[tag] = member

    def _member(self, name: str, reference: Definition, tag: str) -> Member:
        shape = self.shape(reference["shape"])
        traits = {**self._definitions[reference["shape"]], **reference}
        tag = traits.get("locationName", tag)
        flattened = traits.get("flattened", False)
        aliases = tuple(traits.get("aliases", ()))
        if flattened and shape.kind == "list":
            item = self._definitions[shape.name]["member"]
            tag = item.get("locationName", tag)  # a flattened list's items stand where the list would, under their own name
        location = traits.get("location")
        return Member(name, tag, shape, location, flattened, traits.get("repeats", False), aliases, traits.get("separator"))

    def operation(self, definition: Definition) -> Operation:
        """The operation, with the names of its root elements."""
        source = definition.get("input")
        input_shape = self.shape(source["shape"]) if source else Shape("Nothing", "structure")
        target = definition.get("output")
        output_shape = self.shape(target["shape"]) if target else None
        return Operation(
            name=definition["name"],
            method=definition["http"]["method"],
            uri=definition["http"]["requestUri"],
            input_shape=input_shape,
            output_shape=output_shape,
            input_root=source.get("locationName", source["shape"]) if source and input_shape.tags else None,
            output_root=target.get("locationName", target["shape"]) if target and output_shape and output_shape.tags else None,
        )


def merged(base: Any, overlay: Any) -> Any:
    """The base with the overlay laid over it: mappings by key, lists by union, anything else replaced. Changes neither."""
    if isinstance(base, Mapping) and isinstance(overlay, Mapping):
        both = {key: merged(value, overlay[key]) if key in overlay else value for key, value in base.items()}
        return {**both, **{key: value for key, value in overlay.items() if key not in base}}
    if isinstance(base, list) and isinstance(overlay, list):
        return base + [value for value in overlay if value not in base]
    return overlay
