"""Whose request it is: SigV4, COS q-sign, and bearer tokens on the native API.

`Authenticator` is the only way to a `Caller`. An unknown form of authentication is refused: there is no branch that lets a
request through unverified.
"""

import re
from typing import Final

from haulier.api.auth import bearer, naming, qsign, sigv4
from haulier.api.auth.qsign import HttpPolicy
from haulier.api.auth.request import RawRequest, Verified
from haulier.core.accounts import Caller, Identity
from haulier.core.directory import Directory
from haulier.core.errors import AccessRefused, InvalidField
from haulier.core.job import Dialect
from haulier.core.ports import Clock

__all__ = ["Authenticator", "HttpPolicy", "RawRequest", "Verified"]

COS_SIGNATURE_SECONDS_MAX: Final = 86_400
APPID_BYTES_MAX: Final = 64
_NATIVE_COVERED: Final = frozenset({"idempotency-key", "if-match", "if-none-match"})
"""Headers that change what a native request does: whoever replays one must not be able to add, drop or alter them."""
_ACCOUNT_HOST: Final = re.compile(rb"([0-9]{12})\.")


class Authenticator:
    """Finds the caller of a request, among those that the directory knows."""

    def __init__(
        self,
        directory: Directory,
        clock: Clock,
        *,
        default_region: str = "us-east-1",
        cos_http: HttpPolicy = "loopback",
        cos_signature_seconds_max: int = COS_SIGNATURE_SECONDS_MAX,
    ) -> None:
        """`default_region` stands for requests that name none."""
        self._directory = directory
        self._clock = clock
        self._cos_http: HttpPolicy = cos_http
        self._cos_signature_seconds_max = cos_signature_seconds_max
        self.default_region = default_region

    def authenticate_s3(self, request: RawRequest) -> Caller:
        """The caller of a request to the S3 wire.

        Raises AccessRefused and its kin, BadDigest, InvalidDigest.
        """
        verified = sigv4.verify(request, self._directory.signer, self._clock.now_ms() / 1000)
        account = verified.identity.account
        named = request.needed(b"x-amz-account-id")
        if account.aws_account_id is None or named != account.aws_account_id.encode("utf-8"):
            raise AccessRefused("x-amz-account-id does not name the caller's account.")
        prefix = _ACCOUNT_HOST.match(request.needed(b"host"))
        if prefix is not None and prefix[1] != named:
            raise AccessRefused("The account in the host name is not the one in x-amz-account-id.")
        return self._caller(request, verified.identity, "s3control", verified.region)

    def authenticate_cos(self, request: RawRequest) -> Caller:
        """The caller of a request to the COS wire.

        Raises AccessRefused and its kin, BadDigest, InvalidDigest; InvalidField when x-cos-appid is missing or empty.
        """
        verified = qsign.verify(
            request,
            self._directory.signer,
            self._clock.now_ms() / 1000,
            max_seconds=self._cos_signature_seconds_max,
            http_policy=self._cos_http,
        )
        account = verified.identity.account
        appid = request.one(b"x-cos-appid")
        if not appid:
            raise InvalidField("x-cos-appid", "the header is missing or empty")
        if len(appid) > APPID_BYTES_MAX:
            raise InvalidField("x-cos-appid", f"{len(appid)} bytes is not between 1 and {APPID_BYTES_MAX}")
        if account.cos_appid is None or appid != account.cos_appid.encode("utf-8"):
            raise AccessRefused("x-cos-appid does not name the caller's account.")
        host = qsign.CONTROL_HOST.match(request.needed(b"host"))
        if host is not None and (account.cos_uin is None or host[1] != account.cos_uin.encode("utf-8")):
            raise AccessRefused("The UIN in the host name is not the caller's account.")
        return self._caller(request, verified.identity, "cos", verified.region or self.default_region)

    def authenticate_native(self, request: RawRequest) -> Caller:
        """The caller of a request to the native API, whose account is that of the key. Presigned requests can only read.

        Raises AccessRefused and its kin, BadDigest, InvalidDigest.
        """
        now = self._clock.now_ms() / 1000
        if bearer.is_bearer(request):
            verified = bearer.verify(request, self._directory.bearer, now)
        else:
            verified = sigv4.verify(request, self._directory.signer, now, covered=_NATIVE_COVERED)
        return self._caller(request, verified.identity, "native", verified.region or self.default_region)

    def named(self, request: RawRequest) -> str | None:
        """The id of the key that the request's head names, None where it names none that is known. Nothing is verified."""
        identity = naming.named(request, self._directory)
        return None if identity is None else identity.key.id

    def again(self, caller: Caller) -> Caller | None:
        """The caller as the same key would let it in now, None = not at all: to be asked every few seconds by what serves one
        caller for long."""
        return self._directory.again(caller, self._clock.now_ms())

    def _caller(self, request: RawRequest, identity: Identity, dialect: Dialect, region: str) -> Caller:
        self._directory.note_use(identity.key.id, self._clock.now_ms())
        return Caller(identity.account, identity.user, dialect, region, identity.key, request.peer, request.secure)
