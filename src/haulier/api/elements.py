"""The operations of a wire: one entry for each element that may stand inside its Operation, and the list of them.

An entry reads the element into the parameters of one of our operations, with all rules between its fields, and writes it back
from them for a job that came by another wire. The operation need not exist yet: what is sent is checked all the same, and then
refused by name. So a new operation is a file in `operations/`, and the wires that have a word for it can use it at once.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from haulier import operations
from haulier.core.errors import InvalidField, NotImplementedHere
from haulier.core.job import OperationSpec

Named = dict[str, str | None]
"""Buckets that a request names, with the region in their resource name where it has one; filled in while reading."""
BucketName = Callable[[str], str]
"""A bucket's resource name in a dialect."""
Read = Callable[[Mapping[str, Any], str, Named], dict[str, Any]]
"""Parsed content, its path, buckets → parameters. Raises MalformedDocument, InvalidField, NotImplementedHere."""
Write = Callable[[Mapping[str, Any], BucketName], dict[str, Any] | None]
"""Parameters → content; None where the element cannot say it."""


@dataclass(frozen=True, slots=True)
class Element:
    """An element of Operation."""

    name: str
    operation: str
    """The name of the operation of ours that does it (`operations.BY_NAME`, when it can run)."""
    read: Read
    write: Write
    extension: bool = False
    """Whether it is ours, and unknown to the wire's own documents."""


class Elements:
    """All elements of a wire's Operation."""

    def __init__(self, *elements: Element) -> None:
        """Of several elements for one operation the first that can say it is written."""
        self._by_name: Final = {element.name: element for element in elements}

    def __iter__(self) -> Iterator[Element]:
        return iter(self._by_name.values())

    def read(self, sent: Mapping[str, Any], named: Named) -> OperationSpec:
        """The operation that a parsed Operation asks for: valid, and one that can be carried out.

        Raises MalformedDocument, InvalidField; NotImplementedHere for one that no code carries out.
        """
        [(name, content)] = sent.items()
        path = f"Operation.{name}"
        element = self._by_name.get(name)
        if element is None:  # the wire's model is newer than this version
            raise NotImplementedHere(path)
        spec = OperationSpec(name=element.operation, parameters=element.read(content, path, named))
        if spec.name not in operations.BY_NAME:
            raise NotImplementedHere(path)
        try:
            operations.load(spec)
        except ValueError as error:
            raise InvalidField(path, str(error)) from None
        return spec

    def write(self, spec: OperationSpec, bucket_name: BucketName, *, extensions: bool = True) -> dict[str, Any] | None:
        """The content of Operation that asks for the operation; None where the wire cannot say it."""
        for element in self:
            if element.operation == spec.name and (extensions or not element.extension):
                content = element.write(spec.parameters, bucket_name)
                if content is not None:
                    return {element.name: content}
        return None


def empty() -> tuple[Read, Write]:
    """The reader and the writer of an element that has no content."""

    def read(_sent: Mapping[str, Any], _path: str, _named: Named) -> dict[str, Any]:
        return {}

    def write(_parameters: Mapping[str, Any], _bucket_name: BucketName) -> dict[str, Any]:
        return {}

    return read, write


def pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as both wires list them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
