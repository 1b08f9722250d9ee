"""COSPutObjectCopy: its directives and grants become parameters of a copy, and are written back from them."""

from typing import Any

import pytest

from haulier import operations
from haulier.api.cos.elements import ELEMENTS
from haulier.api.s3control.elements import ELEMENTS as S3_ELEMENTS
from haulier.core.errors import InvalidField, MalformedDocument, RequestError
from haulier.core.job import OperationSpec
from unit.test_mapping import COS_COPY_PATH, cos_copy, from_cos, given

USER = "qcs::cam::uin/100000000001:uin/100000000011"


def grant(permission: str = "READ", grantee: str = USER) -> str:
    return (
        f"<COSGrant><Grantee><DisplayName>x</DisplayName><Identifier>{grantee}</Identifier><TypeIdentifier>ID</TypeIdentifier>"
        f"</Grantee><Permission>{permission}</Permission></COSGrant>"
    )


def grants(*inside: str) -> str:
    return f"<AccessControlGrants>{''.join(inside)}</AccessControlGrants>"


def directive(kind: str, word: str) -> str:
    return f"<{kind}Directive>{word}</{kind}Directive>"


def read_grant(permission: str = "READ", grantee: str = USER) -> dict[str, str]:
    return {"kind": "id", "grantee": grantee, "permission": permission}


CANNED = "<CannedAccessControlList>public-read</CannedAccessControlList>"
TAG = "<NewObjectTagging><COSTag><Key>k</Key><Value>v</Value></COSTag></NewObjectTagging>"
METADATA = "<NewObjectMetadata><CacheControl>no-store</CacheControl></NewObjectMetadata>"
EXPIRY = "<NewObjectMetadata><HttpExpiresDate>1970-01-01T00:00:00Z</HttpExpiresDate></NewObjectMetadata>"
DATED = "<NewObjectMetadata><HttpExpiresDate>Thu, 01 Dec 2033 00:00:00 GMT</HttpExpiresDate></NewObjectMetadata>"
"""As the Expires header has it, which Terraform's page names and the Go SDK passes on."""
USER_METADATA = (
    "<NewObjectMetadata><UserMetadata><member><Key>K</Key><Value>v</Value></member></UserMetadata></NewObjectMetadata>"
)


@pytest.mark.parametrize(
    ("inside", "parameters"),
    [
        (directive("Metadata", "Add"), {}),
        (directive("Metadata", " add ") + EXPIRY, {"metadata": {"expires_ms": 0, "user": {}}, "metadata_mode": "add"}),
        (directive("Metadata", "Replaced") + DATED, {"metadata": {"expires_ms": 2_017_008_000_000, "user": {}}}),
        (directive("Metadata", "ADD") + USER_METADATA, {"metadata": {"user": {"K": "v"}}, "metadata_mode": "add"}),
        (directive("Tagging", "Add") + "<NewObjectTagging/>", {}),
        (directive("Tagging", "Add") + TAG, {"tags": {"k": "v"}, "tags_mode": "add"}),
        (directive("AccessControl", ""), {}),
        (directive("AccessControl", "") + grants(), {}),
        (directive("AccessControl", "copy"), {"inherit_acl": True}),
        (directive("AccessControl", "Copy") + grants(), {"inherit_acl": True}),
        (directive("AccessControl", "Replace") + CANNED, {"canned_acl": "public-read"}),
        (CANNED + grants(), {"canned_acl": "public-read"}),
        (grants(grant()), {"grants": [read_grant()]}),
        (directive("AccessControl", "Replaced") + grants(grant()), {"grants": [read_grant()]}),
        (
            directive("AccessControl", "Add") + grants(grant("WRITE"), grant("FULL_CONTROL", "canonical-id")),
            {"inherit_acl": True, "grants": [read_grant("WRITE"), read_grant("FULL_CONTROL", "canonical-id")]},
        ),
    ],
)
def test_directives_and_grants_become_parameters(inside: str, parameters: dict[str, Any]) -> None:
    assert given(from_cos(cos_copy(inside))) == parameters


@pytest.mark.parametrize(
    ("inside", "error", "path"),
    [
        (directive("AccessControl", "Inherit"), InvalidField, "AccessControlDirective"),
        (directive("AccessControl", "Replaced"), MalformedDocument, "AccessControlGrants"),
        (directive("AccessControl", "Replaced") + grants(), MalformedDocument, "AccessControlGrants"),
        (directive("AccessControl", "Add"), MalformedDocument, "AccessControlGrants"),
        (directive("AccessControl", "Add") + CANNED, InvalidField, "CannedAccessControlList"),
        (directive("AccessControl", "Copy") + CANNED, InvalidField, "CannedAccessControlList"),
        (directive("AccessControl", "Copy") + grants(grant()), InvalidField, "AccessControlGrants"),
        (CANNED + grants(grant()), InvalidField, "AccessControlGrants"),
        (grants(grant(), grant(grantee="qcs::cam::uin/1")), InvalidField, "AccessControlGrants.COSGrant[1].Grantee.Identifier"),
        (grants(grant("READ_ACP")), InvalidField, "AccessControlGrants.COSGrant[0].Permission"),
        (grants(grant(grantee="")), InvalidField, "AccessControlGrants.COSGrant[0].Grantee.Identifier"),
        (directive("Tagging", "Add"), MalformedDocument, "NewObjectTagging"),
        (directive("Metadata", "Copy") + METADATA, InvalidField, "NewObjectMetadata"),
    ],
)
def test_what_contradicts_itself_is_refused_by_path(inside: str, error: type[RequestError], path: str) -> None:
    with pytest.raises(error) as refused:
        from_cos(cos_copy(inside))
    assert refused.value.path == f"{COS_COPY_PATH}.{path}"  # type: ignore[attr-defined]


ADDED = OperationSpec(
    name="copy",
    parameters={
        "dialect": "cos",
        "target_bucket": "b",
        "metadata": {"user": {"k": "v"}},
        "metadata_mode": "add",
        "tags": {"k": "v"},
        "tags_mode": "add",
        "inherit_acl": True,
        "grants": [read_grant()],
    },
)


def named(bucket: str) -> str:
    return f"<{bucket}>"


@pytest.mark.parametrize(
    ("left_out", "directives"),
    [
        ((), ("Add", "Add", "Add")),
        (("grants",), ("Copy", "Add", "Add")),
        (("inherit_acl", "metadata_mode", "tags_mode"), ("Replaced", "Replaced", "Replaced")),
        (("inherit_acl", "grants", "metadata", "metadata_mode", "tags", "tags_mode"), (None, "Copy", "Copy")),
    ],
)
def test_parameters_are_written_with_the_directives_that_make_them(
    left_out: tuple[str, ...], directives: tuple[str | None, ...]
) -> None:
    parameters = {name: value for name, value in ADDED.parameters.items() if name not in left_out}
    written = ELEMENTS.write(OperationSpec(name="copy", parameters=parameters), named)
    assert written is not None
    copy = written["COSPutObjectCopy"]
    assert tuple(copy.get(f"{kind}Directive") for kind in ("AccessControl", "Metadata", "Tagging")) == directives
    wanted = {"Grantee": {"Identifier": USER, "TypeIdentifier": "ID"}, "Permission": "READ"}
    assert copy.get("AccessControlGrants") == ({"COSGrant": [wanted]} if "grants" in parameters else None)


@pytest.mark.parametrize("change", [{"permission": "READ_ACP"}, {"kind": "uri"}])
def test_a_grant_that_cos_has_no_word_for_leaves_the_operation_out(change: dict[str, str]) -> None:
    parameters = {**ADDED.parameters, "grants": [read_grant() | change]}
    spec = OperationSpec(name="copy", parameters=parameters)
    operations.load(spec)
    assert ELEMENTS.write(spec, named) is None


def test_s3_has_words_for_grants_but_none_for_what_is_added() -> None:
    plain = {"dialect": "cos", "target_bucket": "b"}
    written = S3_ELEMENTS.write(OperationSpec(name="copy", parameters={**plain, "grants": [read_grant()]}), named)
    assert written is not None
    assert written["S3PutObjectCopy"]["AccessControlGrants"] == [
        {"Grantee": {"TypeIdentifier": "id", "Identifier": USER}, "Permission": "READ"}
    ]
    for name in ("metadata_mode", "tags_mode", "inherit_acl"):
        assert S3_ELEMENTS.write(OperationSpec(name="copy", parameters={**plain, name: ADDED.parameters[name]}), named) is None
