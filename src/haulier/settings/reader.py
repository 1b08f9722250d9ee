"""Reads a tree of keys (TOML, overlaid by the environment) into msgspec Structs, and tells where each value came from.

It knows no key of Haulier's: the Structs are the schema. A Struct's field is one of

* a table: another Struct;
* named tables: `Mapping[str, Struct]`, whose names match `NAME`;
* an array of tables: `tuple[Struct, ...]`, from the file only;
* a leaf: bool, int, float, str, Secret, Path, Literal or `tuple[str, ...]`, each also `| None`, with ranges by `msgspec.Meta`.

A Struct may list keys of the contract that this version cannot use in a class variable `later` (key → what holds instead).
Every error is a SettingsError with the path of the key. Values are shown only where their type is not Secret.
"""

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec

from haulier.core.errors import SettingsError

Table = TypeVar("Table", bound=msgspec.Struct)
Origin = Literal["default", "file", "environment", "environment-file"]
"""`environment-file`: the content of the file that a variable ending in `_FILE` names."""

PREFIX: Final = "HAULIER_"
SEPARATOR: Final = "__"
NAME: Final = re.compile(r"[A-Za-z0-9](?:_?[A-Za-z0-9-])*")
"""Names of stores and accounts: never with two underscores in a row, which separate the parts of a variable's name."""
_FILE_BYTES_MAX: Final = 65_536
_NUMBERS: Final = {
    int: re.compile(r"[+-]?[0-9]{1,20}"),
    float: re.compile(r"[+-]?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?"),
}
"""ASCII digits only: Python's own readers also take those of other scripts, and underscores."""


class Secret(str):
    """Text that is never shown by repr, and so by no error, log or pretty-printer that shows a value's repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


class _Given(msgspec.Struct, frozen=True):
    """A leaf that the environment sets, still as text."""

    text: str
    variable: str
    origin: Origin

    def __repr__(self) -> str:
        return f"_Given({self.variable})"


def read(kind: type[Table], tree: dict[str, Any], environ: Mapping[str, str], folder: Path) -> tuple[Table, dict[str, Origin]]:
    """The Struct for the tree, and the origin of each leaf by path (`stores.main.secret_key`, `accounts.acme.users[0].name`).

    Paths of the file are relative to `folder`, those of the environment to the working directory. Variables are
    `HAULIER_GROUP__KEY`; others are not looked at, but one that names a group with a single underscore is refused.
    `tree` is changed. Raises SettingsError.
    """
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and SEPARATOR in variable:
            _overlay(kind, tree, variable, environ[variable])
        elif variable.startswith(PREFIX):
            _refuse_single(kind, variable)
    reader = _Reader(folder)
    return cast("Table", reader.table(kind, tree, "")), reader.origins


def not_usable(path: str, instead: str) -> SettingsError:
    """The error for a key, or a value of it, that belongs to the contract but that this version has no code for."""
    return SettingsError(path, f"not usable in this version: {instead}")


# -- the shape of a Struct -------------------------------------------------------------------------------------------------


def _fields(kind: type[msgspec.Struct]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in msgspec.structs.fields(kind)}


def _later(kind: type[msgspec.Struct]) -> Mapping[str, str]:
    return cast("Mapping[str, str]", getattr(kind, "later", {}))


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _named(kind: Any) -> Any | None:
    """The Struct of `Mapping[str, Struct]`."""
    arguments = get_args(kind)
    return arguments[1] if len(arguments) == 2 and isinstance(get_origin(kind), type) and _is_table(arguments[1]) else None


def _array(kind: Any) -> Any | None:
    """The Struct of `tuple[Struct, ...]`."""
    arguments = get_args(kind)
    return arguments[0] if get_origin(kind) is tuple and _is_table(arguments[0]) else None


def _unknown(kind: type[msgspec.Struct], key: str, path: str, hint: str = "") -> SettingsError:
    known = [*_fields(kind), *_later(kind)]
    near = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}"
    return SettingsError(path, f"unknown key{hint}; {advice}")


# -- the environment -------------------------------------------------------------------------------------------------------


def _refuse_single(kind: type[msgspec.Struct], variable: str) -> None:
    """`HAULIER_SERVER_LISTEN` would be passed over without a word, and the server listen elsewhere."""
    name = variable.removeprefix(PREFIX).lower()
    group = next((key for key in [*_fields(kind), *_later(kind)] if name.startswith(f"{key}_")), None)
    if group is not None:
        right = f"{PREFIX}{group.upper()}{SEPARATOR}{name.removeprefix(group + '_').upper()}"
        raise SettingsError(group, f"{variable} sets nothing: parts are set apart by two underscores, as in {right}")


def _overlay(kind: type[msgspec.Struct], tree: dict[str, Any], variable: str, text: str) -> None:
    """Put the variable's text into the tree where the schema says it belongs."""
    names = variable.removeprefix(PREFIX).split(SEPARATOR)
    path = ""
    hint = f" (from {variable})"
    while True:
        name = names.pop(0)
        fields = _fields(kind)
        key, from_file = _key_of(fields, name)
        path = f"{path}.{key}" if path else key
        if key in _later(kind):
            raise not_usable(path, _later(kind)[key])
        if key not in fields:
            raise _unknown(kind, key, path, hint)
        field = fields[key]
        if _array(field):
            raise SettingsError(path, f"{variable}: arrays of tables come from the file only")
        inner = _named(field)
        if not (inner or _is_table(field)):
            break
        if not names or (inner and len(names) < 2):
            raise SettingsError(path, f"{variable} names a group; name a key in it ({variable}__…)")
        kind, tree = inner or field, _below(tree, key, path)
        if inner:
            key = _existing(tree, names.pop(0))
            path = f"{path}.{key}"
            tree = _below(tree, key, path)
    if names:
        raise SettingsError(path, f"{variable} goes below {path}, which is a value and no group")
    if isinstance(tree.get(key), _Given):
        raise SettingsError(path, f"is set twice, by {tree[key].variable} and by {variable}")
    tree[key] = (
        _Given(_content(path, variable, text), variable, "environment-file")
        if from_file
        else _Given(text, variable, "environment")
    )


def _key_of(fields: Mapping[str, Any], name: str) -> tuple[str, bool]:
    """The key that a part of a variable's name means, and whether it names a file that holds the value."""
    key = name.lower()
    stem = key.removesuffix("_file")
    return (stem, True) if key not in fields and stem != key and stem in fields else (key, False)


def _existing(tree: Mapping[str, Any], name: str) -> str:
    """The name in the file that reads so in a variable (`my-store` is `MY_STORE`), else a new one in lower case."""
    return next((key for key in tree if key.upper().replace("-", "_") == name.upper()), name.lower())


def _below(tree: dict[str, Any], key: str, path: str) -> dict[str, Any]:
    inner = tree.setdefault(key, {})
    if not isinstance(inner, dict):
        raise SettingsError(path, f"must be a table, not {_said(inner)}")
    return inner


def _content(path: str, variable: str, name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
        if len(content) > _FILE_BYTES_MAX:
            raise SettingsError(path, f"the file that {variable} names is larger than {_FILE_BYTES_MAX:,} bytes")
        return content.decode().strip()
    except OSError as error:
        raise SettingsError(path, f"cannot read the file that {variable} names: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(path, f"the file that {variable} names is not UTF-8 text") from None


# -- tables ------------------------------------------------------------------------------------------------------------------


class _Reader:
    """Walks a tree along a schema and keeps the origins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.origins: dict[str, Origin] = {}

    def table(self, kind: type[msgspec.Struct], tree: Any, path: str) -> msgspec.Struct:
        """The Struct for one table."""
        if not isinstance(tree, dict):
            raise SettingsError(path, f"must be a table, not {_said(tree)}")
        fields = _fields(kind)
        for key in tree:
            inner = f"{path}.{key}" if path else key
            if key in _later(kind):
                raise not_usable(inner, _later(kind)[key])
            if key not in fields:
                raise _unknown(kind, key, inner)
        values = {}
        for field in msgspec.structs.fields(kind):
            inner = f"{path}.{field.name}" if path else field.name
            if field.name in tree:
                values[field.name] = self.value(fields[field.name], tree[field.name], inner)
            elif _is_table(fields[field.name]):
                values[field.name] = self.table(fields[field.name], {}, inner)
            elif field.required:
                raise SettingsError(inner, "is missing")
            else:
                self.origins[inner] = "default"
        return kind(**values)

    def value(self, kind: Any, value: Any, path: str) -> Any:
        """The value of one key, of whatever kind."""
        if _is_table(kind):
            return self.table(kind, value, path)
        if (table := _named(kind)) is not None:
            return dict(self.tables(table, value, path))
        if (table := _array(kind)) is not None:
            if not isinstance(value, list):
                raise SettingsError(path, f"must be an array of tables ([[{path}]]), not {_said(value)}")
            return tuple(self.table(table, item, f"{path}[{index}]") for index, item in enumerate(value))
        self.origins[path] = value.origin if isinstance(value, _Given) else "file"
        return self.leaf(kind, value, path)

    def tables(self, kind: type[msgspec.Struct], tree: Any, path: str) -> Iterator[tuple[str, msgspec.Struct]]:
        """Named tables, one after another."""
        if not isinstance(tree, dict):
            raise SettingsError(path, f"must be tables ([{path}.NAME]), not {_said(tree)}")
        for name, inner in tree.items():
            if not NAME.fullmatch(name) or len(name) > 64:
                raise SettingsError(
                    f"{path}.{name}", "a name has at most 64 letters, digits, - and single _, and begins with no - or _"
                )
            yield name, self.table(kind, inner, f"{path}.{name}")

    def leaf(self, kind: Any, value: Any, path: str) -> Any:
        """A value without keys below it."""
        meta = None
        if get_origin(kind) is Annotated:
            kind, meta = get_args(kind)[:2]
        if type(None) in (arguments := get_args(kind)):
            kind = Union[tuple(argument for argument in arguments if argument is not type(None))]  # noqa: UP007
            return self.leaf(kind, value, path)
        if isinstance(value, _Given):
            value = _typed(kind, value.text, path)
        elif kind is Path and isinstance(value, str) and value:
            value = str(self.folder / Path(value).expanduser())
        return _checked(kind, meta, value, path)


# -- leaves ------------------------------------------------------------------------------------------------------------------


def _typed(kind: Any, text: str, path: str) -> Any:
    """Text of the environment as the file would have it: `true`, `12`, `0.5`, `a,b` or `["a", "b"]`. Else text as it is."""
    if kind is bool:
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    if kind in (int, float):
        return kind(text) if _NUMBERS[kind].fullmatch(text) else text
    if get_origin(kind) is tuple:
        if not text.lstrip().startswith("["):
            return [part.strip() for part in text.split(",") if part.strip()]
        try:
            return json.loads(text)
        except ValueError:
            raise SettingsError(path, "is neither a JSON array nor names with commas between them") from None
    return text


def _checked(kind: Any, meta: Any, value: Any, path: str) -> Any:
    """The value if it is of that kind and range."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise SettingsError(path, f"must be one of {', '.join(map(repr, get_args(kind)))}, not {_said(value, show=True)}")
        return value
    if get_origin(kind) is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise SettingsError(path, f"must be an array of strings, not {_said(value)}")
        return tuple(value)
    if kind in (int, float):
        return _number(kind, meta, value, path)
    if kind is bool:
        if not isinstance(value, bool):
            raise SettingsError(path, f"must be true or false, not {_said(value, show=True)}")
        return value
    if not isinstance(value, str):
        quotes = " (write it in quotes)" if isinstance(value, int) and not isinstance(value, bool) else ""
        raise SettingsError(path, f"must be a string, not {_said(value)}{quotes}")
    if not value:
        raise SettingsError(path, "must not be empty")
    return Path(os.path.abspath(value)) if kind is Path else kind(value)  # noqa: PTH100  (resolve() would follow links)


def _number(kind: type, meta: Any, value: Any, path: str) -> int | float:
    name = "a whole number" if kind is int else "a number"
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        raise SettingsError(path, f"must be {name}, not {_said(value, show=True)}")
    low, high = (meta.ge, meta.le) if meta is not None else (None, None)
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        raise SettingsError(path, f"must be {name} from {low:,} to {high:,}, not {value}")
    return cast("int | float", kind(value))


def _said(value: Any, *, show: bool = False) -> str:
    """What a value is, in words; `show` adds the value itself, for keys that hold no secret."""
    words = {bool: "a boolean", int: "a whole number", float: "a number", str: "a string", list: "an array", dict: "a table"}
    name = words.get(type(value), "a variable of the environment" if isinstance(value, _Given) else "a date or time")
    return f"{str(value)[:60]!r}" if show and isinstance(value, str | int | float) else name
