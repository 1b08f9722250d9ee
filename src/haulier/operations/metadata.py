"""New metadata of a copy: instead of the source's, or laid over it."""

from email.utils import formatdate
from typing import Annotated

import msgspec
from msgspec import Meta

from haulier.core.headers import uncarried
from haulier.core.ports import ObjectHead
from haulier.operations.traces import user_metadata

DESCRIBING = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires")
"""Content headers that belong to an object's metadata."""

Moment = Annotated[int, Meta(ge=-62_135_596_800_000, le=253_402_300_799_999)]
"""Unix milliseconds, in the years 1 to 9999: more no date in a header can say."""


class Unmergeable(Exception):
    """The source has metadata that no request of ours could carry; laying something over it would lose it."""


class NewMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Metadata as it is asked for."""

    content_type: str | None = None
    cache_control: str | None = None
    content_disposition: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    expires_ms: Moment | None = None
    user: dict[str, str] = {}

    def headers(self) -> list[tuple[str, str]]:
        """As headers of CopyObject."""
        named = (
            ("content-type", self.content_type),
            ("cache-control", self.cache_control),
            ("content-disposition", self.content_disposition),
            ("content-encoding", self.content_encoding),
            ("content-language", self.content_language),
            ("expires", None if self.expires_ms is None else http_date(self.expires_ms)),
        )
        user = [(f"x-amz-meta-{name.lower()}", value) for name, value in self.user.items()]
        return [(name, value) for name, value in named if value is not None] + user

    def over(self, source: ObjectHead) -> list[tuple[str, str]]:
        """Headers of CopyObject for the source's metadata with this laid over it: what both have, is as it is here. Raises
        Unmergeable."""
        if source.headers.get("x-amz-missing-meta", "0") != "0":
            raise Unmergeable("the store does not show all of the source's metadata (x-amz-missing-meta)")
        kept = {name: source.headers[name] for name in DESCRIBING if name in source.headers}
        user = {f"x-amz-meta-{name}": value for name, value in user_metadata(source).items()}
        return list(({name: _as_sent(name, value) for name, value in (kept | user).items()} | dict(self.headers())).items())


def _as_sent(name: str, value: str) -> str:
    """Header values are read byte by byte and sent as UTF-8: what was no UTF-8 cannot be sent again."""
    try:
        text = value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise Unmergeable(f"the source's {name} is not UTF-8, so it cannot be written again") from None
    if bad := uncarried(text):
        raise Unmergeable(f"the source's {name} holds the control character {bad}, so it cannot be written again")
    return text


def http_date(time_ms: int) -> str:
    """Unix milliseconds as a date in a header, to the second."""
    return formatdate(time_ms / 1000, usegmt=True)
