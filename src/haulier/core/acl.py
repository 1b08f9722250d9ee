"""Access control lists as values: who may do what with an object, by the rules that S3 and COS share."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

Permission = Literal["READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL"]
PERMISSIONS: Final[frozenset[Permission]] = frozenset({"READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL"})

_EVERY_RIGHT: Final = PERMISSIONS - {"FULL_CONTROL"}
_ANYONE: Final = "global/AllUsers"
_ANYONE_SIGNED: Final = "global/AuthenticatedUsers"
_OF_GROUPS: Final[dict[str, frozenset[tuple[str, str]]]] = {
    "public-read": frozenset({(_ANYONE, "READ")}),
    "public-read-write": frozenset({(_ANYONE, "READ"), (_ANYONE, "WRITE")}),
    "authenticated-read": frozenset({(_ANYONE_SIGNED, "READ")}),
}
"""What canned ACLs grant to groups; those that are not here grant nothing to any."""
_OF_OTHERS: Final = frozenset({"bucket-owner-read", "bucket-owner-full-control", "aws-exec-read"})
"""Canned ACLs that grant something to a user who need not be the object's owner."""


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One permission of one grantee."""

    kind: Literal["id", "uri"]
    """`id`: a user, by the store's own name for it (S3: canonical user id, COS: `qcs::cam::uin/…:uin/…`); `uri`: a group."""
    grantee: str
    permission: Permission


class Acl(msgspec.Struct, frozen=True):
    """The access control list of an object."""

    owner: str
    """The store's own name for the owner."""
    grants: tuple[Grant, ...]


def of_target(owner: str, source: Acl | None, added: Iterable[Grant]) -> Acl:
    """What a copy is to have: the source's grants, if they are to come along, and those that are added.

    The copy's owner keeps full control, unless the same owner had less on the source: a list is never meant to lock the owner
    out, and the source's owner may be another.
    """
    grants = dict.fromkeys(() if source is None else source.grants)
    if source is None or source.owner != owner:
        grants = dict.fromkeys((Grant("id", owner, "FULL_CONTROL"), *grants))
    return Acl(owner, tuple(grants | dict.fromkeys(added)))


def same(one: Acl, other: Acl) -> bool:
    """Whether both allow the same to the same, however that is written."""
    return _rights(one) == _rights(other)


def shows_canned(acl: Acl, canned: str) -> bool:
    """Whether the list is what a canned ACL stands for: `private` is for the owner alone.

    Where a canned one is about another user (the bucket's owner, say), who that is the list does not tell: any is taken for it.
    """
    rights = _rights(acl)
    of_groups = {(grantee, right) for kind, grantee, right in rights if kind == "uri"}
    others = {grantee for kind, grantee, _ in rights if kind == "id"} - {acl.owner}
    return of_groups == _OF_GROUPS.get(canned, frozenset()) and (not others or canned in _OF_OTHERS)


def told(acl: Acl) -> str:
    """The list for a message."""
    return ", ".join(f"{grant.permission} to {grant.grantee}" for grant in acl.grants) or "nothing to anyone"


def _rights(acl: Acl) -> frozenset[tuple[str, str, str]]:
    """Kind, grantee and single right; COS has its groups under another host than S3."""
    return frozenset(
        (grant.kind, grant.grantee.rpartition("/groups/")[2] if grant.kind == "uri" else grant.grantee, right)
        for grant in acl.grants
        for right in (_EVERY_RIGHT if grant.permission == "FULL_CONTROL" else (grant.permission,))
    )
