"""botocore's model of S3 Batch Operations with our extensions, and the simplest values that it allows."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import botocore.loaders
import botocore.model
import botocore.serialize

from haulier.api import patterns
from haulier.api.shapes import merged

API = Path(__file__).parents[1] / "src" / "haulier" / "api" / "s3control"
STOCK = botocore.loaders.Loader().load_service_model("s3control", "service-2")
EXTENDED = merged(STOCK, json.loads((API / "extensions.json").read_text()))
SERVICE = botocore.model.ServiceModel(EXTENDED)
CREATE = SERVICE.operation_model("CreateJob")
SERIALIZER = botocore.serialize.create_serializer("rest-xml", include_validation=False)
IN_CHARACTERS = {"TagKeyString", "TagValueString"}
"""Counted as AWS documents them; all other strings are counted in bytes."""
CHECKS = json.loads((API / "checks.json").read_text())["shapes"]
NEVER_EMPTY = {name: tuple(shape["required"]) for name, shape in CHECKS.items() if "required" in shape}
"""What our checks need besides the model."""


def text(shape: botocore.model.Shape, length: int) -> str | None:
    """A string of that length (in what the shape counts) that fits the shape's pattern; None where there is none."""
    pattern = shape.metadata.get("pattern")
    fits = patterns.compiled(pattern).fullmatch if pattern else lambda _: True
    size = len if shape.name in IN_CHARACTERS else lambda made: len(made.encode())
    for begin in ("", "arn:aws:s3:", "arn:aws:iam::123456789012:role/", "arn:aws:kms:us-east-1:123456789012:key/"):
        for filler in ("界", "1", "x"):
            room = length - size(begin)
            made = begin + filler * (room // size(filler)) + "x" * (room % size(filler))
            if room >= 0 and size(made) == length and fits(made):
                return made
    return None


def simplest(shape: botocore.model.Shape) -> Any:
    """A value of the shape with nothing in it that need not be."""
    if shape.name == "JobOperation":
        return {"S3ReplicateObject": {}}
    match shape.type_name:
        case "structure":
            needed = [*shape.required_members, *NEVER_EMPTY.get(shape.name, ())]
            if getattr(shape, "is_tagged_union", False) and not needed:
                needed = list(shape.members)[:1]
            members = {name: shape.members[name] for name in needed}
            return {name: simplest(member) for name, member in members.items() if "location" not in member.serialization}
        case "list":
            return [simplest(shape.member)] * shape.metadata.get("min", 0)
        case "map":
            return {"x": simplest(shape.value)} if shape.metadata.get("min") else {}
        case "integer" | "long":
            return shape.metadata.get("min", 1)
        case "boolean":
            return True
        case "timestamp":
            return dt.datetime(2030, 1, 2, tzinfo=dt.UTC)
        case _:
            return shape.enum[0] if shape.enum else next(found for n in range(1, 100) if (found := text(shape, n)))
