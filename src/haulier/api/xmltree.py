"""XML 1.0 with bounds: one reader for every body that comes in, one writer for every body that goes out.

The reader is the standard library's expat with a namespace-aware tree on top. The namespaces are ours to resolve: expat would
write each out before every name that is in it, so that a long one fills the memory. A document type declaration is refused where
it begins, so no entity can be declared, let alone expanded or fetched. Limits: reliability.md §8.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final
from xml.parsers import expat

from haulier.core.errors import DocumentTooLarge, MalformedDocument

BODY_BYTES_MAX: Final = 1 << 20
DEPTH_MAX: Final = 32
ELEMENTS_MAX: Final = 10_000
ATTRIBUTES_MAX: Final = 2_000
"""Nothing here means anything but a namespace, but each costs time before it can be counted by the parser."""
_ATTRIBUTE: Final = re.compile(rb"=[ \t\r\n]*+[\"']")
"""What every attribute holds, and text hardly ever."""

EchoNode = list[Any]
"""An element as it was sent, as plain JSON: `[tag, text or None, [children]]`. Without attributes and namespaces."""

Tree = tuple[str, "str | Sequence[Tree]"]
"""A small document written by hand: a tag with its text, or with its children."""

DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'

# What XML 1.0 can carry, even escaped, is narrower than Unicode (XML 1.0, production 2).
_UNWRITABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPECIAL: Final = re.compile(r"[&<>\r]")
_ESCAPED: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_BLANK: Final = " \t\r\n"


class UnwritableText(ValueError):
    """Text that XML 1.0 cannot carry in any form (control characters, lone surrogates, U+FFFE, U+FFFF)."""


class Element:
    """An element that was read. `text` is all its character data, also around children."""

    __slots__ = ("children", "namespace", "tag", "text")

    def __init__(self, tag: str, namespace: str | None) -> None:
        self.tag = tag
        self.namespace = namespace
        self.text = ""
        self.children: list[Element] = []

    @property
    def stray_text(self) -> str:
        """Its text without the white space around it."""
        return self.text.strip(_BLANK)

    def echo(self) -> EchoNode:
        """The element as it was sent; white space between children is dropped."""
        return [self.tag, None if self.children else self.text or None, [child.echo() for child in self.children]]


class _Builder:
    """Builds the tree from expat's events and keeps count of them."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._scopes: list[Mapping[str, str]] = [{"xml": "http://www.w3.org/XML/1998/namespace"}]
        """Of the open elements: what each prefix stands for; the empty one is that of names without any."""
        self._texts: list[list[str]] = []
        self._elements = 0

    def declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "utf8"):
            raise MalformedDocument("", f"the body declares the encoding {encoding!r}; only UTF-8 is accepted")

    def doctype(self, *_ignored: object) -> None:
        raise MalformedDocument("", "the body holds a document type declaration (DOCTYPE); none is accepted")

    def start(self, name: str, attributes: Sequence[str]) -> None:
        self._elements += 1
        if self._elements > ELEMENTS_MAX:
            raise DocumentTooLarge(f"the body holds more than {ELEMENTS_MAX:,} elements")
        if len(self._open) >= DEPTH_MAX:
            raise DocumentTooLarge(f"the body's elements lie more than {DEPTH_MAX} deep")
        scope = _scope(self._scopes[-1], attributes) if attributes else self._scopes[-1]
        self._scopes.append(scope)
        namespace, tag = _expanded(name, scope, scope.get("", ""))
        element = Element(tag, namespace or None)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)
        self._texts.append([])

    def end(self, _name: str) -> None:
        self._scopes.pop()
        self._open.pop().text = "".join(self._texts.pop())

    def text(self, data: str) -> None:
        self._texts[-1].append(data)


def _expanded(name: str, scope: Mapping[str, str], default: str) -> tuple[str, str]:
    """Namespace and local part of a name (Namespaces in XML, §4); `default` is the namespace of names without a prefix."""
    prefix, colon, local = name.partition(":")
    if not colon:
        return default, name
    if not prefix or not local or ":" in local:
        raise _malformed(f"{name[:80]!r} is no name")
    namespace = scope.get(prefix)
    if not namespace:
        raise _malformed(f"no namespace is declared for the prefix {prefix[:80]!r}")
    return namespace, local


def _scope(outer: Mapping[str, str], attributes: Sequence[str]) -> Mapping[str, str]:
    """The scope of an element with these attributes: names and values in turn."""
    given = dict(zip(attributes[::2], attributes[1::2], strict=True))
    declared: dict[str, str] = {}
    for name, namespace in given.items():
        if name == "xmlns":
            declared[""] = namespace
        elif name.startswith("xmlns:"):
            prefix = name.removeprefix("xmlns:")
            if prefix in ("", "xml", "xmlns") or ":" in prefix or not namespace:
                raise _malformed(f"{name[:80]!r} cannot be declared so")
            declared[prefix] = namespace
    scope = {**outer, **declared} if declared else outer
    others = [_expanded(name, scope, "") for name in given if name != "xmlns" and not name.startswith("xmlns:")]
    if len(set(others)) < len(others):
        raise _malformed("an element has one attribute twice")
    return scope


def _malformed(problem: str) -> MalformedDocument:
    return MalformedDocument("", f"the body is not well-formed XML: {problem}")


def read(body: bytes) -> Element:
    """The root element. Raises DocumentTooLarge beyond a limit, MalformedDocument (with line and column) for anything else."""
    if len(body) > BODY_BYTES_MAX:
        raise DocumentTooLarge(f"the body is larger than {BODY_BYTES_MAX:,} bytes")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise MalformedDocument("", f"the body is not UTF-8 (byte {problem.start})") from None
    if b"\0" in body:  # expat would guess UTF-16 from it, whatever it is told
        raise MalformedDocument("", f"the body is not UTF-8 text: it holds a NUL (byte {body.index(0)})")
    if sum(1 for _ in islice(_ATTRIBUTE.finditer(body), ATTRIBUTES_MAX + 1)) > ATTRIBUTES_MAX:
        raise DocumentTooLarge(f"the body holds more than {ATTRIBUTES_MAX:,} attributes")
    builder = _Builder()
    parser = expat.ParserCreate("UTF-8")
    parser.buffer_text = True
    parser.ordered_attributes = True
    parser.XmlDeclHandler = builder.declaration
    parser.StartDoctypeDeclHandler = builder.doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    try:
        parser.Parse(body, True)
    except expat.ExpatError as problem:
        where = f"line {problem.lineno}, column {problem.offset + 1}"
        raise _malformed(f"{expat.ErrorString(problem.code)} ({where})") from None
    assert builder.root is not None  # expat refuses a document without an element
    return builder.root


def unwritable(text: str) -> str | None:
    """The first character that XML 1.0 cannot carry, as `U+XXXX`; None when there is none."""
    found = _UNWRITABLE.search(text)
    return f"U+{ord(found[0]):04X}" if found else None


def escape(text: str) -> str:
    """Character data, ready to be written. Raises UnwritableText."""
    if bad := unwritable(text):
        raise UnwritableText(f"XML cannot carry {bad} in {text[:80]!r}")
    return _SPECIAL.sub(lambda found: _ESCAPED[found[0]], text)


def write_node(out: list[str], node: EchoNode) -> None:
    """Append the element to `out`."""
    tag, text, children = node
    if not text and not children:
        out.append(f"<{tag}/>")
        return
    out.append(f"<{tag}>")
    if text:
        out.append(escape(text))
    for child in children:
        write_node(out, child)
    out.append(f"</{tag}>")


def root_tag(root: str, namespace: str | None) -> str:
    """What stands inside the root's opening tag."""
    return f'{root} xmlns="{escape(namespace)}"' if namespace else root


def document(root: str, children: Sequence[Tree], namespace: str | None = None) -> bytes:
    """A whole small document, such as an error body. Raises UnwritableText."""
    out = [DECLARATION, f"<{root_tag(root, namespace)}>"]
    for child in children:
        write_node(out, _node(child))
    out.append(f"</{root}>")
    return "".join(out).encode("utf-8")


def _node(tree: Tree) -> EchoNode:
    tag, content = tree
    if isinstance(content, str):
        return [tag, content, []]
    return [tag, None, [_node(child) for child in content]]


@dataclass(frozen=True, slots=True)
class Sent:
    """Stands in place of a value that is to be written: the element as the client sent it."""

    node: EchoNode
