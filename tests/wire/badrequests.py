"""Tables of bad requests (bad_requests/README.md): how they are read, and what a row sends."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

TABLES = Path(__file__).parent / "bad_requests"
REPEATED = re.compile(r"\{([^{}]+)\*([0-9]+)\}")


class Valid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request that would be accepted."""

    root: str
    """What stands inside the root's opening tag."""
    elements: dict[str, str]
    not_yet: str = ""
    """The path that it is refused for, because no code carries it out; empty = it is accepted."""

    def document(self, row: "Row") -> str:
        """The body of the row."""
        unknown = [name for name in row.without if name not in self.elements]
        assert not unknown, f"{row.name}: the valid request has no {unknown}"
        contents = {name: content for name, content in {**self.elements, **row.set}.items() if name not in row.without}
        inside = "".join(f"<{name}>{content}</{name}>" for name, content in contents.items())
        body = f"<{self.root}>{inside}{row.append}</{self.root.split()[0]}>"
        if row.find:
            assert body.count(row.find) == 1, f"{row.name}: {row.find!r} stands {body.count(row.find)} times in the request"
            body = body.replace(row.find, row.put)
        return row.before + body + row.after


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bad request, and what it must be answered."""

    name: str
    request: str = "CreateJob"
    set: dict[str, str] = {}
    without: list[str] = []
    find: str = ""
    put: str = ""
    append: str = ""
    before: str = ""
    after: str = ""
    body: str | None = None
    encoding: str = "utf-8"
    method: str = "POST"
    target: str
    job: str | None = None
    user: str = "admin"
    secret: str | None = None
    account: str | None = None
    headers: dict[str, str] = {}
    extensions: bool = True
    status: int = 400
    code: str
    message: str | list[str]

    @property
    def told(self) -> list[str]:
        """What the message must hold."""
        return [self.message] if isinstance(self.message, str) else self.message


class Section(msgspec.Struct, frozen=True):
    """Rows with something in common."""

    title: str
    rows: list[Row]


class Table(msgspec.Struct, frozen=True):
    """The bad requests of one wire."""

    valid: dict[str, Valid]
    sections: list[Section]

    @property
    def rows(self) -> list[Row]:
        """All of them."""
        return [row for section in self.sections for row in section.rows]

    def body(self, row: Row) -> bytes:
        """What the row sends."""
        made = self.valid[row.request].document(row) if row.request else ""
        text = made if row.body is None else row.body
        return written_out(text).encode(row.encoding)


def written_out(text: str) -> str:
    """The text with `{x*3}` as `xxx`."""
    return REPEATED.sub(lambda found: found[1] * int(found[2]), text)


def table(dialect: str) -> Table:
    """The table of a wire. Raises msgspec.ValidationError that names a wrong key."""
    found: dict[str, Any] = tomllib.loads((TABLES / f"{dialect}.toml").read_text("utf-8"))
    sections = [
        Section(section.pop("title"), [msgspec.convert({**section, **row}, Row) for row in section.pop("row")])
        for section in found["section"]
    ]
    valid = msgspec.convert(found["valid"], dict[str, Valid])
    read = Table(valid, sections)
    names = [row.name for row in read.rows]
    assert len(names) == len(set(names)), f"{dialect}: a name stands twice: {sorted({n for n in names if names.count(n) > 1})}"
    return read
