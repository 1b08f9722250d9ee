"""Any request that the COS model allows, as any writer may put it: we read what it says, and what we echo says the same."""

from typing import Any
from xml.sax.saxutils import escape

from hypothesis import given, settings
from hypothesis import strategies as st

from haulier.api.restxml import KEPT, Model
from haulier.api.shapes import Member, Shape
from haulier.api.xmltree import write_node

MODEL = Model.cos()
ROOT = "CreateJobRequest"

Tree = tuple[str, Any]
"""A tag with its text, or with a list of trees."""

XML_TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\ufffe\uffff").filter(lambda c: c >= " "))
TAG_TEXT = st.text(st.sampled_from("aZ09 +-=._:/@é界"), min_size=1, max_size=20)
BLANKS = st.sampled_from(["", " ", "\n  ", "\t"])


@st.composite
def values(draw: st.DrawFn, shape: Shape) -> Any:
    """A value of the shape, with the word that stands for it on the wire: (value, content)."""
    if shape.kind == "structure":
        return draw(structures(shape))
    if shape.kind == "list":
        assert shape.item is not None
        items = [draw(values(shape.item.shape)) for _ in range(draw(st.integers(0, 3)))]
        return [value for value, _ in items], [content for _, content in items]
    if shape.enum:
        word = draw(st.sampled_from(shape.enum))
        return word, draw(BLANKS) + word + draw(BLANKS)
    if shape.kind == "boolean":
        word = draw(st.sampled_from(["true", "True", "TRUE", "false", " False "]))
        return word.strip().lower() == "true", word
    if shape.kind in ("integer", "long"):
        number = draw(st.integers(shape.least or 0, shape.most or 2**31 - 1))
        return number, f"{draw(BLANKS)}{number}{draw(BLANKS)}"
    if shape.kind == "timestamp":
        seconds = draw(st.integers(0, 4_000_000_000))
        return (seconds if shape.unix_seconds else seconds * 1000), str(seconds)
    text = draw(TAG_TEXT if shape.pattern is not None else XML_TEXT.filter(lambda text: len(text) < 20))
    if len(text) < (shape.least or 0):
        text = "x"
    return (text.strip(" \t\r\n"), text) if shape.trim else (text, text)


@st.composite
def structures(draw: st.DrawFn, shape: Shape) -> tuple[dict[str, Any], list[Tree]]:
    """A structure, and its elements in any order."""
    names = [name for name, member in shape.members.items() if member.location is None and name != "Options"]
    if shape.union:
        names = [draw(st.sampled_from(names))]
    else:
        names = [name for name in names if name in shape.required or draw(st.booleans())]
    value: dict[str, Any] = {}
    trees: list[list[Tree]] = []
    for name in names:
        member = shape.members[name]
        found, content = draw(values(member.shape))
        if member.flattened and not found:
            continue  # a flattened list without items has no element
        value[name] = found
        trees.append(elements(member, content))
    return value, [tree for group in draw(st.permutations(trees)) for tree in group]


def elements(member: Member, content: Any) -> list[Tree]:
    """A member as elements."""
    if member.shape.kind != "list":
        return [(member.tag, content)]
    assert member.shape.item is not None
    items = [(member.tag if member.flattened else member.shape.item.tag, item) for item in content]
    return items if member.flattened else [(member.tag, items)]


class Writer:
    """Puts a tree on the wire as one of many writers might."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.php = draw(st.booleans())
        self.cdata = draw(st.booleans())
        self.blank = draw(BLANKS)

    def document(self, trees: list[Tree]) -> str:
        """The request: PHP puts a root of its own around it."""
        body = self.element((ROOT, trees))
        return f"<xml>{body}</xml>" if self.php else f'<?xml version="1.0" encoding="utf-8"?>{body}'

    def element(self, tree: Tree) -> str:
        tag, content = tree
        if isinstance(content, str):
            return f"<{tag}>{self.text(content)}</{tag}>"
        items = content and all(name == "member" for name, _ in content)
        if self.php and items:
            content = [("member", [("item", inner) for _, inner in content])]
        inside = "".join(self.blank + self.element(child) for child in content)
        return f"<{tag}>{inside}{self.blank if content else ''}</{tag}>"

    def text(self, text: str) -> str:
        plain = self.cdata and "]]>" not in text and any(character in text for character in '"<>&')
        return f"<![CDATA[{text}]]>" if plain else escape(text)


@st.composite
def requests(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """What a request says, and the request."""
    value, trees = draw(structures(MODEL.operations["CreateJob"].input_shape))
    return value, Writer(draw).document(trees)


@settings(max_examples=60, deadline=None)
@given(requests())
def test_what_is_said_is_read_and_what_is_echoed_says_the_same(request: tuple[dict[str, Any], str]) -> None:
    value, body = request
    found, echo = MODEL.checked("CreateJob", body.encode())
    assert found == value
    out: list[str] = []
    for name in KEPT & echo.keys():
        write_node(out, echo[name])
    others = {name: part for name, part in value.items() if name not in KEPT}
    again = MODEL.parse("CreateJob", f"<{ROOT}>{''.join(out)}</{ROOT}>".encode())
    assert again == {name: part for name, part in value.items() if name not in others}
