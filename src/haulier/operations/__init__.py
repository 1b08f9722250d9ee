"""What can be done to an object: one file each, and the list of all.

An operation is a frozen struct of its parameters; `spec` and `load` carry it through the job store and the runners' frames.
"""

from typing import Any, Final

import msgspec

from haulier.core.job import OperationSpec
from haulier.operations.copy import Copy
from haulier.operations.delete import Delete
from haulier.operations.put_tagging import PutTagging

AnyOperation = Copy | Delete | PutTagging
ALL: Final[tuple[type[AnyOperation], ...]] = (Copy, Delete, PutTagging)
BY_NAME: Final[dict[str, type[AnyOperation]]] = {operation.name: operation for operation in ALL}

__all__ = ["ALL", "BY_NAME", "AnyOperation", "Copy", "Delete", "PutTagging", "load", "spec"]


def spec(operation: AnyOperation) -> OperationSpec:
    """The operation as a name and JSON-like values."""
    parameters: dict[str, Any] = msgspec.to_builtins(operation)
    return OperationSpec(name=operation.name, parameters=parameters)


def load(spec: OperationSpec) -> AnyOperation:
    """The operation that a spec describes. Raises ValueError that names the offending part."""
    kind = BY_NAME.get(spec.name)
    if kind is None:
        raise ValueError(f"there is no operation {spec.name!r}; there are {', '.join(sorted(BY_NAME))}")
    return msgspec.convert(spec.parameters, kind, strict=True)
