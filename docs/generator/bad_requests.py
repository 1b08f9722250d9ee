"""The tables of bad requests as pages."""

from typing import Final

from wire.badrequests import Row, Table, table

_WIRES: Final = {"s3control": "S3 Batch Operations", "cos": "COS Batch"}
_APIS: Final = ("", "CreateJob", "PutJobTagging")
"""Valid requests that need no word of what they ask for."""
_SHOWN_MAX: Final = 180
_INTRODUCTION: Final = (
    "What is wrong with a request, what is answered, and what the message names: {} requests, each sent to a real server by the "
    "tests, which also see that nothing is stored or changed. `{{x*257}}` stands for 257 x."
)


def page(dialect: str) -> str:
    """The page of one wire."""
    found = table(dialect)
    parts = [
        f"# Bad requests on the {_WIRES[dialect]} wire",
        _INTRODUCTION.format(len(found.rows)),
        "<!-- Made by `make docs` from tests/wire/bad_requests. -->",
    ]
    for section in found.sections:
        parts += [f"## {section.title}", _rows(found, section.rows)]
    return "\n\n".join(parts) + "\n"


def _rows(found: Table, rows: list[Row]) -> str:
    lines = ["| what is wrong | sent | status | code | the message names |", "|---|---|---|---|---|"]
    for row in rows:
        named = ", ".join(map(_code, row.told))
        lines.append(f"| {row.name} | {_sent(found, row)} | {row.status} | `{row.code}` | {named} |")
    return "\n".join(lines)


def _sent(found: Table, row: Row) -> str:
    """The difference to a request that would be accepted."""
    target = row.target.replace(" ", "%20").replace("\t", "%09")  # as the clients send them
    parts = [] if row.request else [_code(f"{row.method} {target}")]
    if row.job:
        parts.append(f"to a job that is {row.job}")
    if row.body is not None:
        parts.append(_code(row.body or "no body") if row.body else "no body")
    elements = found.valid[row.request].elements if row.request else {}
    parts += [f"{_code(name)} is {_code(content)}" for name, content in row.set.items() if content and name in elements]
    parts += [_code(f"<{name}>{content}</{name}>") for name, content in row.set.items() if content and name not in elements]
    parts += [_code(f"<{name}/>") for name, content in row.set.items() if not content]
    parts += [f"no {_code(name)}" for name in row.without]
    if row.find:
        parts.append(_found(row.find, row.put))
    if row.append:
        parts.append(f"{_code(row.append)} at the end")
    if row.before:
        parts.append(f"{_code(row.before)} before it")
    if row.after:
        parts.append(f"{_code(row.after)} after it")
    if row.encoding != "utf-8":
        parts.append(f"in {row.encoding.upper()}")
    parts += [f"by {row.user}"] if row.user != "admin" else []
    parts += ["signed with another secret"] if row.secret else []
    parts += [f"for account {_code(row.account)}" if row.account else "for no account"] if row.account is not None else []
    parts += [f"with {_code(f'{name}: {value}')}" for name, value in row.headers.items()]
    parts += ["`compat.extensions` is off"] if not row.extensions else []
    what = ", ".join(parts) or "as it is"
    return what if row.request in _APIS else f"{row.request}: {what}"


def _found(old: str, new: str) -> str:
    """What became of a piece of the request."""
    if not new:
        return f"{_code(old)} is taken out"
    if new.endswith(old):
        return f"{_code(new.removesuffix(old))} before {_code(old)}"
    if new.startswith(old):
        return f"{_code(new.removeprefix(old))} after {_code(old)}"
    return f"{_code(new)} in place of {_code(old)}"


def _code(text: str) -> str:
    """Text as a piece of code in a table's cell, cut where it is long."""
    shown = text if len(text) <= _SHOWN_MAX else f"{text[: _SHOWN_MAX - 1]}…"
    shown = " ".join(shown.split()).replace("|", "\\|")
    return f"`{shown}`" if "`" not in shown else f"`` {shown} ``"
