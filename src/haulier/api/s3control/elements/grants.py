"""Access control lists as the S3 wire writes them: who is granted what."""

from collections.abc import Mapping, Sequence
from typing import Any

from haulier.api import rules


def grants(sent: Sequence[Mapping[str, Any]], path: str) -> list[dict[str, str]]:
    """Each grant as `core.acl` has it; display names say nothing. Raises InvalidField."""
    rules.grant_count(len(sent), path)
    return [_grant(grant, f"{path}[{number}]") for number, grant in enumerate(sent)]


def _grant(sent: Mapping[str, Any], path: str) -> dict[str, str]:
    grantee = sent["Grantee"]
    named = rules.grantee(grantee["Identifier"], f"{path}.Grantee.Identifier")
    return {"kind": grantee["TypeIdentifier"], "grantee": named, "permission": sent["Permission"]}


def shown_grants(granted: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """The grants as they are sent."""
    return [
        {
            "Grantee": {"TypeIdentifier": grant["kind"], "Identifier": grant["grantee"]},
            "Permission": grant["permission"],
        }
        for grant in granted
    ]
