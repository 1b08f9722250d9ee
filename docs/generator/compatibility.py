"""The page that says of every API, field and error of both wires whether it is here as it is with its cloud.

Fields come from the models. What follows from the code is worked out: extensions, operations that no code carries out, formats
that no code reads or writes. The rest stands in compatibility.toml, and every key there must name something that is on the page.
"""

import inspect
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from haulier import manifests, operations
from haulier.api import translation
from haulier.api.cos.errors import ERRORS as COS_ERRORS
from haulier.api.restxml import KEPT, Model, Operation
from haulier.api.s3control.errors import ERRORS as S3_ERRORS
from haulier.api.shapes import Shape
from haulier.api.wire import ErrorTable
from haulier.core.job import Dialect
from haulier.reports import LAYOUTS

Kind = Literal["same", "extended", "different", "not yet"]
_TITLES: Final[Mapping[Dialect, str]] = {"s3control": "S3 Batch Operations", "cos": "COS Batch"}
_ERRORS: Final[Mapping[Dialect, ErrorTable]] = {"s3control": S3_ERRORS, "cos": COS_ERRORS}
_OURS: Final = "ours, where `compat.extensions` is on"
_REFUSED: Final = "no code carries it out: checked, then refused when the job is created"
_UNREAD: Final = "cannot be read or written yet, and is refused: {}"
_INTRODUCTION: Final = """\
**same**: as the cloud's documents and clients have it. **extended**: that, and more. **different**: another meaning or limit, for
the reason given. **not yet**: known and checked, but refused, with an error that names it, because no code carries it out.

Lengths are counted in bytes of UTF-8, those of tags on the S3 wire in characters. What a client must send, always or wherever the
element around it stands, is marked *required*; what only another field's value asks for is not.
An element that is not on this page is refused inside Manifest, ManifestGenerator, Operation and Report, else passed over."""
_MADE: Final = "<!-- Made by `make docs` from the models and docs/generator/compatibility.toml. -->"


class Verdict(NamedTuple):
    """Whether something is here as it is with the cloud, and why not."""

    kind: Kind
    why: str = ""


class Field(NamedTuple):
    """A member of a request or an answer."""

    path: str
    shape: Shape
    required: bool


def page() -> str:
    """The whole page."""
    reasons = _reasons()
    parts = [
        "# Compatibility",
        "<!-- Made by `make docs` from the models and docs/generator/compatibility.toml. -->",
        _INTRODUCTION,
    ]
    for dialect, title in _TITLES.items():
        wire = _Wire(dialect, reasons[dialect])
        parts += [f"## {title}", *wire.parts()]
        wire.see_that_all_is_used()
    return "\n\n".join(parts) + "\n"


def not_yet(dialect: Dialect) -> set[str]:
    """The fields of CreateJob that are refused because no code carries them out."""
    wire = _Wire(dialect, _reasons()[dialect])
    fields = _inputs(wire.model.operations["CreateJob"])
    return {field.path for field in fields if wire.verdict("CreateJob", field).kind == "not yet"}


def required(dialect: Dialect) -> set[str]:
    """The fields of CreateJob that a client must send."""
    api = _Wire(dialect, _reasons()[dialect]).model.operations["CreateJob"]
    return {field.path for field in _inputs(api) if field.required}


def _reasons() -> dict[Dialect, Mapping[str, Mapping[str, tuple[Kind, str]]]]:
    return tomllib.loads((Path(__file__).parent / "compatibility.toml").read_text("utf-8"))


class _Wire:
    """One dialect's part of the page."""

    def __init__(self, dialect: Dialect, reasons: Mapping[str, Mapping[str, tuple[Kind, str]]]) -> None:
        self.dialect = dialect
        self.model = Model.s3control() if dialect == "s3control" else Model.cos()
        self.stock = Model.s3control(extensions=False) if dialect == "s3control" else self.model
        self.reasons = {group: {key: Verdict(*value) for key, value in found.items()} for group, found in reasons.items()}
        self.unused = {(group, key) for group, found in self.reasons.items() for key in found}

    def parts(self) -> Iterator[str]:
        """The headings and tables."""
        yield "### APIs"
        yield table(("API", "request", "here", "why"), [self._api(api) for api in self.model.operations.values()])
        for api in self.model.operations.values():
            rows = [self._field(api.name, field) for field in _inputs(api)]
            if rows:
                yield f"### {api.name}: request"
                yield table(("field", "type", "here", "why"), rows)
            rows = [self._field(api.name, field) for field in _outputs(api)]
            if rows:
                yield f"### {api.name}: answer"
                yield table(("field", "type", "here", "why"), rows)
        yield "### Errors"
        yield table(("code", "status", "when", "here", "why"), self._errors())

    def see_that_all_is_used(self) -> None:
        """Raises ValueError for a reason that is about nothing on the page."""
        if self.unused:
            raise ValueError(f"compatibility.toml speaks of what is not there: {sorted(self.unused)}")

    def _reason(self, group: str, key: str) -> Verdict | None:
        self.unused.discard((group, key))
        return self.reasons.get(group, {}).get(key)

    def _api(self, api: Operation) -> tuple[str, ...]:
        verdict = self._reason("apis", api.name) or Verdict("same")
        return (api.name, f"`{api.method} {api.uri}`", *verdict)

    def _field(self, api: str, field: Field) -> tuple[str, ...]:
        return (f"`{field.path}`", type_of(field), *self.verdict(api, field))

    def verdict(self, api: str, field: Field) -> Verdict:
        """Whether the field of the API is here as it is with the cloud."""
        stated = self._reason("fields", f"{api} {field.path}")
        unknown = self._unreadable(field)
        if unknown:
            return Verdict("not yet", _UNREAD.format(", ".join(f"`{value}`" for value in unknown)))
        if self._cannot_run(api, field.path):
            return Verdict("not yet", "" if field.path.count(".") > 1 else _REFUSED)
        if stated is not None:
            return stated
        if self._inside_what_is_not_yet(api, field.path):
            return Verdict("not yet")
        return Verdict("same") if self._is_stock(api, field.path) else Verdict("extended", _OURS)

    def _inside_what_is_not_yet(self, api: str, path: str) -> bool:
        parts = path.split(".")
        around = (".".join(parts[:length]).removesuffix("[]") for length in range(1, len(parts)))
        stated = (self.reasons["fields"].get(f"{api} {each}") for each in around)
        return any(verdict is not None and verdict.kind == "not yet" for verdict in stated)

    def _cannot_run(self, api: str, path: str) -> bool:
        parts = path.split(".")
        if api != "CreateJob" or parts[0] != "Operation" or len(parts) < 2:
            return False
        element = next((element for element in translation.ELEMENTS[self.dialect] if element.name == parts[1]), None)
        return element is None or element.operation not in operations.BY_NAME

    def _unreadable(self, field: Field) -> list[str]:
        """Values of a format's enum that no code reads or writes."""
        if field.path == "Manifest.Spec.Format":
            known = {format_.name for format_ in manifests.FORMATS if self.dialect in format_.dialects}
        elif field.path == "Report.Format":
            known = {layout.format for layout in LAYOUTS}
        else:
            return []
        return [value for value in field.shape.enum if value not in known]

    def _is_stock(self, api: str, path: str) -> bool:
        operation = self.stock.operations[api]
        return any(path == field.path for field in (*_inputs(operation), *_outputs(operation)))

    def _errors(self) -> list[tuple[str, ...]]:
        known = _ERRORS[self.dialect]
        when: dict[tuple[str, int], list[str]] = {}
        for kind, answer in known.answers.items():
            when.setdefault((answer.code, answer.status), []).append(_first_sentence(kind))
        for (api, kind), answer in known.special.items():
            when.setdefault((answer.code, answer.status), []).append(f"{api}: {_first_sentence(kind)}")
        when.setdefault((known.internal.code, known.internal.status), []).append("A fault of the server.")
        rows = []
        for (code, status), causes in sorted(when.items()):
            verdict = self._reason("errors", code)
            if verdict is None:
                if not code.endswith("Exception"):
                    raise ValueError(f"compatibility.toml says nothing of the error {code}")
                verdict = Verdict("same")  # the model's own: a test sees that each API answers with those of its list
            rows.append((f"`{code}`", str(status), " ".join(dict.fromkeys(causes)), *verdict))
        return rows


def _first_sentence(kind: type) -> str:
    whole = " ".join((inspect.getdoc(kind) or "").split())
    return f"{whole.partition('. ')[0].rstrip('.')}.".replace("|", "\\|")


def _inputs(api: Operation) -> list[Field]:
    return list(_fields(api.input_shape, ""))


def _outputs(api: Operation) -> list[Field]:
    return [] if api.output_shape is None else list(_fields(api.output_shape, "", echoed=True))


def _fields(shape: Shape, path: str, *, echoed: bool = False) -> Iterator[Field]:
    """Every member below the shape; in an answer what is echoed is named, and not gone into again."""
    if shape.kind in ("list", "map"):
        assert shape.item is not None
        yield from _fields(shape.item.shape, f"{path}[]", echoed=echoed)
    for name, member in shape.members.items():
        inner = f"{path}.{name}" if path else name
        yield Field(inner, member.shape, name in shape.required)
        if not (echoed and name in KEPT):
            yield from _fields(member.shape, inner, echoed=echoed)


def type_of(field: Field) -> str:
    """What a field holds, with its limits."""
    shape = field.shape
    parts = [shape.kind]
    if shape.enum:
        parts = [" · ".join(f"`{value}`" for value in shape.enum)]
    elif shape.least is not None or shape.most is not None:
        of_what = {"string": "characters" if shape.characters else "bytes", "list": "items", "map": "entries"}.get(shape.kind, "")
        bounds = f"{shape.least or 0} to {shape.most}" if shape.most is not None else f"{shape.least} or more"
        parts.append(f"{bounds} {of_what}".strip())
    if shape.item is not None and shape.kind == "list" and shape.item.shape.kind not in ("structure", "list", "map"):
        parts[0] = f"list of {type_of(Field('', shape.item.shape, required=False))}"
    return ", ".join([*parts, *(["*required*"] if field.required else [])])


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table of Markdown."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
