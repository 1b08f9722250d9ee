"""What stores answer in XML: the few documents that the data plane reads, and the few that it writes.

Success is read by searching bytes, but only where the whole shape is seen (root element, the value, the end of the document);
anything else goes through expat. Nothing here trusts a document that is not complete.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape

from haulier.core.acl import PERMISSIONS, Acl, Grant, Permission

_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_ETAG: Final = re.compile(rb"<ETag>(?:&quot;|&#34;|\")?([^<>&\"]+)(?:&quot;|&#34;|\")?</ETag>")
_ALWAYS_SAFE: Final = bytes(byte for byte in range(0x20, 0x7F) if byte not in b"&<>")
_FORBIDDEN: Final = re.compile("[\x00-\x1f\x7f\ufffe\uffff]|^\\s|\\s$")


class Unreadable(Exception):
    """The document is empty, cut, not XML, or not the one that was expected."""


class Document:
    """An XML document as a flat list: (path of local names from below the root, text), in order of their end."""

    __slots__ = ("found", "root")

    def __init__(self, body: bytes) -> None:
        """Raises Unreadable."""
        self.root = ""
        self.found: list[tuple[str, str]] = []
        path: list[str] = []
        text: list[str] = []

        def start(name: str, _attributes: object) -> None:
            local = name.rpartition(" ")[2]
            if not self.root:
                self.root = local
            else:
                path.append(local)
            text.clear()

        def end(_name: str) -> None:
            if path:
                self.found.append(("/".join(path), "".join(text)))
                path.pop()
            text.clear()

        def doctype(*_: object) -> None:
            raise Unreadable("a DOCTYPE has no place here")

        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartElementHandler = start
        parser.EndElementHandler = end
        parser.CharacterDataHandler = text.append
        parser.StartDoctypeDeclHandler = doctype
        try:
            parser.Parse(body, True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise Unreadable(str(error)) from error

    def get(self, path: str) -> str | None:
        """The text of the first element at the path."""
        return next((text for found, text in self.found if found == path), None)

    def each(self, name: str) -> Iterator[Mapping[str, str]]:
        """For every element at the path `name`: its children's texts, by path below it."""
        children: dict[str, str] = {}
        for path, text in self.found:
            if path == name:
                yield children
                children = {}
            elif path.startswith(name + "/"):
                children[path[len(name) + 1 :]] = text


class Refusal(Exception):
    """The document is an `<Error>`."""

    def __init__(self, code: str, message: str, document: Document) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.document = document


def read(body: bytes, root: str) -> Document:
    """The document with that root element. Raises Refusal for an `<Error>`, Unreadable for anything else."""
    document = Document(body)
    if document.root == "Error":
        raise Refusal(document.get("Code") or "", document.get("Message") or "", document)
    if document.root != root:
        raise Unreadable(f"<{document.root}> instead of <{root}>")
    return document


def copied_etag(body: bytes) -> str:
    """The ETag of a `CopyObjectResult`, without quotes. Raises Refusal or Unreadable."""
    found = _ETAG.search(body)
    if found is not None and b"<CopyObjectResult" in body and body.rstrip().endswith(b"</CopyObjectResult>"):
        return found[1].decode("latin-1")
    etag = (read(body, "CopyObjectResult").get("ETag") or "").strip().strip('"')
    if not etag:
        raise Unreadable("<CopyObjectResult> without an ETag")
    return etag


# -- tags ---------------------------------------------------------------------------------------------------------------------


def write_tagging(tags: Mapping[str, str]) -> bytes:
    """A `Tagging` document."""
    inner = "".join(f"<Tag><Key>{_text(key)}</Key><Value>{_text(value)}</Value></Tag>" for key, value in tags.items())
    return f'<Tagging xmlns="{_NAMESPACE}"><TagSet>{inner}</TagSet></Tagging>'.encode()


def read_tagging(body: bytes) -> dict[str, str]:
    """The tag set. Raises Refusal or Unreadable."""
    tags = {}
    for tag in read(body, "Tagging").each("TagSet/Tag"):
        if "Key" not in tag:
            raise Unreadable("a <Tag> without a <Key>")
        tags[tag["Key"]] = tag.get("Value", "")
    return tags


def read_versioning(body: bytes) -> bool:
    """Whether a `VersioningConfiguration` tells of versions. Raises Refusal or Unreadable."""
    status = read(body, "VersioningConfiguration").get("Status")
    if status not in (None, "", "Enabled", "Suspended"):
        raise Unreadable(f"<Status> {status!r} in <VersioningConfiguration>")
    return bool(status)


def _text(value: str) -> str:
    return escape(value, {"\r": "&#13;"})


# -- access control lists -----------------------------------------------------------------------------------------------------

_XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
_GRANTEES: Final[dict[Literal["id", "uri"], tuple[str, str]]] = {"id": ("CanonicalUser", "ID"), "uri": ("Group", "URI")}
_PERMISSIONS: Final[dict[str, Permission]] = {name: name for name in PERMISSIONS}


def write_acl(acl: Acl) -> bytes:
    """An `AccessControlPolicy` document."""
    parts = [f'<AccessControlPolicy xmlns="{_NAMESPACE}"><Owner><ID>{_text(acl.owner)}</ID></Owner><AccessControlList>']
    for grant in acl.grants:
        kind, tag = _GRANTEES[grant.kind]
        grantee = f'<Grantee xmlns:xsi="{_XSI}" xsi:type="{kind}"><{tag}>{_text(grant.grantee)}</{tag}></Grantee>'
        parts.append(f"<Grant>{grantee}<Permission>{grant.permission}</Permission></Grant>")
    parts.append("</AccessControlList></AccessControlPolicy>")
    return "".join(parts).encode()


def read_acl(body: bytes) -> Acl:
    """The access control list. Raises Refusal, and Unreadable also for grantees and permissions of other kinds."""
    document = read(body, "AccessControlPolicy")
    owner = document.get("Owner/ID") or ""
    grants = []
    for found in document.each("AccessControlList/Grant"):
        permission = _PERMISSIONS.get(found.get("Permission", ""))
        if permission is None:
            raise Unreadable(f"the permission {found.get('Permission')!r} in an access control list")
        if "Grantee/EmailAddress" in found:
            raise Unreadable("a grantee's e-mail address in an access control list")
        if "Grantee/URI" in found:
            grants.append(Grant("uri", found["Grantee/URI"], permission))
        else:
            # Stores with one user leave out who it is (MinIO).
            grants.append(Grant("id", found.get("Grantee/ID", owner), permission))
    return Acl(owner, tuple(grants))


# -- DeleteObjects ------------------------------------------------------------------------------------------------------------

_DELETE_HEAD: Final = f'<Delete xmlns="{_NAMESPACE}"><Quiet>true</Quiet><Object><Key>'.encode()
_DELETE_BETWEEN: Final = b"</Key></Object><Object><Key>"
_DELETE_TAIL: Final = b"</Key></Object></Delete>"


def carries(key: bytes) -> bool:
    """Whether a key comes through XML 1.0 and careless readers as it is: UTF-8, no control characters, no white space at its ends
    (the delete of another key is worse than one more request)."""
    try:
        return _FORBIDDEN.search(key.decode()) is None
    except UnicodeDecodeError:
        return False


def all_plain(keys: list[bytes]) -> bool:
    """Whether every key is printable ASCII without markup or space at its ends: the usual case, seen in one pass."""
    together = b"\n".join(keys)
    return together.count(b"\n") == len(keys) - 1 and not (
        together.translate(None, _ALWAYS_SAFE + b"\n")
        or b" \n" in together
        or b"\n " in together
        or together[:1] == b" "
        or together[-1:] == b" "
    )


def write_delete(keys: list[bytes]) -> bytes:
    """A quiet `Delete` document for keys of which `all_plain` is true."""
    return _DELETE_HEAD + _DELETE_BETWEEN.join(keys) + _DELETE_TAIL


def write_delete_of(objects: Iterator[tuple[bytes, bytes | None, str | None]]) -> bytes:
    """A quiet `Delete` document for (key, version, ETag); each key must be one that XML `carries`."""
    parts = [f'<Delete xmlns="{_NAMESPACE}"><Quiet>true</Quiet>']
    for key, version, etag in objects:
        parts.append(f"<Object><Key>{_text(key.decode())}</Key>")
        if version is not None:
            parts.append(f"<VersionId>{_text(version.decode())}</VersionId>")
        if etag is not None:
            parts.append(f"<ETag>{_text(etag)}</ETag>")
        parts.append("</Object>")
    parts.append("</Delete>")
    return "".join(parts).encode()


class RefusedKey(NamedTuple):
    """An `<Error>` in a `DeleteResult`."""

    key: bytes
    version: bytes | None
    code: str
    message: str


def read_delete_result(body: bytes) -> list[RefusedKey]:
    """The keys that were refused; in a quiet answer all others are done (decisions §4). Raises Refusal or Unreadable."""
    refused = []
    for error in read(body, "DeleteResult").each("Error"):
        version = error.get("VersionId")
        refused.append(
            RefusedKey(
                error.get("Key", "").encode(),
                version.encode() if version else None,
                error.get("Code") or "InternalError",
                error.get("Message", ""),
            )
        )
    return refused
