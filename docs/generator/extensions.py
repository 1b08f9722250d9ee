"""The page about what Haulier adds to the S3 wire, out of the model that `boto3_client` loads."""

import json
from pathlib import Path
from typing import Any, Final

import haulier
from generator import compatibility
from haulier.api import shapes
from haulier.api.restxml import Model

_MODEL: Final = Path(haulier.__file__).parent / "api" / "s3control" / "extensions.json"
_INTRODUCTION: Final = """\
# What Haulier adds to S3 Batch Operations

<!-- Made by `make docs` from src/haulier/api/s3control/extensions.json. -->

A stock client cannot say these, and is not disturbed by them: it passes over what it does not know. `haulier.boto3_client` is
boto3's client with these members added to its model; any client may also send the XML. `compat.extensions = false` in the
settings takes them all away: then they are refused as unknown.

```python
client = haulier.boto3_client("http://127.0.0.1:9444", "123456789012", region_name="us-east-1")
client.create_job(Operation={"S3MergeObjectTagging": {"TagSet": [{"Key": "reviewed", "Value": "yes"}]}}, ...)
```

```xml
<Operation><S3MergeObjectTagging><TagSet><member><Key>reviewed</Key><Value>yes</Value></member></TagSet></S3MergeObjectTagging></Operation>
```

What is marked *not yet* is checked, and then refused when the job is created, because no code carries it out."""
_MORE: Final = """\
## Elsewhere

* `UpdateJobStatus` takes `requestedJobStatus=Paused` for a job that is Ready or Active, and `Ready` lets a job go on that its
  user has paused.
* `Report.Format` knows `Report_Parquet_V1`{parquet}.
* `DescribeJob` answers `ProgressSummary.FailuresByCode`: {failures}
* `DescribeJob` answers `Placements` (`Bucket`, `Store`): {placements}"""


def page() -> str:
    """The whole page."""
    overlay = json.loads(_MODEL.read_text("utf-8"))["shapes"]
    missing = compatibility.not_yet("s3control")
    request = Model.s3control().operations["CreateJob"].input_shape
    parts = [_INTRODUCTION, "## Operations"]
    operation = request.members["Operation"].shape
    for name, member in overlay["JobOperation"]["members"].items():
        path = f"Operation.{name}"
        parts.append(f"### {name}")
        parts.append(member["documentation"] + (" *Not yet.*" if path in missing else ""))
        rows = _rows(overlay, operation.members[name].shape, path, missing)
        parts += [_table(rows)] if rows else []
    options = request.members["Options"].shape
    about = overlay["CreateJobRequest"]["members"]["Options"]["documentation"]
    parts += ["## Options", about + (" *Not yet.*" if "Options" in missing else "")]
    parts.append(_table(_rows(overlay, options, "Options", missing)))
    failures = overlay["JobProgressSummary"]["members"]["FailuresByCode"]["documentation"]
    parquet = " (not yet)" if "Report.Format" in missing else ""
    placements = overlay["JobDescriptor"]["members"]["Placements"]["documentation"]
    parts.append(_MORE.format(parquet=parquet, failures=_in_sentence(failures), placements=_in_sentence(placements)))
    return "\n\n".join(parts) + "\n"


def _in_sentence(text: str) -> str:
    return text[0].lower() + text[1:]


Row = tuple[str, str, str]


def _rows(overlay: dict[str, Any], shape: shapes.Shape, path: str, missing: set[str], inside: str = "") -> list[Row]:
    """Member, type and meaning; members of our own structures follow the member that holds them."""
    rows = []
    for name, member in shape.members.items():
        stated = overlay[shape.name]["members"][name]
        mark = " *Not yet.*" if f"{path}.{name}" in missing and path not in missing else ""
        field = compatibility.Field(name, member.shape, required=False)
        rows.append((f"`{inside}{name}`", compatibility.type_of(field), stated["documentation"] + mark))
        if member.shape.name in overlay and member.shape.kind == "structure":
            rows += _rows(overlay, member.shape, f"{path}.{name}", missing, f"{inside}{name}.")
    return rows


def _table(rows: list[Row]) -> str:
    return compatibility.table(("member", "type", "meaning"), rows)
