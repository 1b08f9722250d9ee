"""The S3 Batch Operations wire: `/v20180820/jobs…`, eight APIs (s3-batch-operations.md §1, §2)."""

import re
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from haulier.api import rules
from haulier.api.auth import Authenticator, RawRequest
from haulier.api.restxml import Model, document
from haulier.api.s3control import mapping
from haulier.api.s3control.errors import ERRORS
from haulier.api.wire import Asked, ErrorTable, Headers, Reply, Route, Target, UnknownPath, Wire, WireError, noted_job
from haulier.core.accounts import Caller
from haulier.core.calls import Call
from haulier.core.errors import InvalidField, InvalidRequest
from haulier.core.ports import Audit
from haulier.service import Service

ROOT: Final = "/v20180820/"
_JOB_ID: Final = re.compile(r"[A-Za-z0-9_-]{5,36}")


class S3ControlWire(Wire):
    """Answers what boto3, the AWS CLI and the other SDKs send to `s3-control`."""

    errors: ClassVar[ErrorTable] = ERRORS

    def __init__(self, service: Service, authenticator: Authenticator, audit: Audit) -> None:
        super().__init__(service, authenticator, audit)
        Model.s3control(extensions=service.extensions)  # takes its time: not that of the first request

    @property
    def model(self) -> Model:
        """What may be said: with our extensions, or without."""
        return Model.s3control(extensions=self.service.extensions)

    def table(self) -> Mapping[Target, Sequence[Route]]:
        """The APIs by path."""
        return {
            ("jobs",): (
                Route("POST", "CreateJob", Call.CREATE, self._create_job),
                Route("GET", "ListJobs", Call.LIST, self._list_jobs),
            ),
            ("jobs", "{}"): (Route("GET", "DescribeJob", Call.DESCRIBE, self._describe_job),),
            ("jobs", "{}", "priority"): (Route("POST", "UpdateJobPriority", Call.SET_PRIORITY, self._update_job_priority),),
            ("jobs", "{}", "status"): (Route("POST", "UpdateJobStatus", Call.SET_STATUS, self._update_job_status),),
            ("jobs", "{}", "tagging"): (
                Route("PUT", "PutJobTagging", Call.PUT_TAGS, self._put_job_tagging),
                Route("GET", "GetJobTagging", Call.GET_TAGS, self._get_job_tagging),
                Route("DELETE", "DeleteJobTagging", Call.DELETE_TAGS, self._delete_job_tagging),
            ),
        }

    def parts(self, request: RawRequest) -> tuple[str, ...]:
        """The raw path's parts behind the root; an escape in it stays what it is and so names nothing.

        Whatever stands before the root is the base path of the client's endpoint URL (`http://host/base`, §1.1): it is signed
        with the rest, and means nothing here. No path of this wire holds the root, so the last one is it.
        """
        _base, root, rest = request.path.rpartition(ROOT)
        if not root:
            raise UnknownPath(request.path)
        return tuple(rest.split("/"))

    def check_job_id(self, job_id: str) -> None:
        """The form that the model gives to every JobId."""
        if not _JOB_ID.fullmatch(job_id):
            raise InvalidField("JobId", f"{job_id[:80]!r} is no job id: 5 to 36 letters, digits, - and _")

    def authenticate(self, request: RawRequest) -> Caller:
        """By SigV4."""
        return self.authenticator.authenticate_s3(request)

    def new_ids(self) -> tuple[str, str]:
        """x-amz-request-id and x-amz-id-2."""
        return secrets.token_hex(8).upper(), b64encode(secrets.token_bytes(48)).decode()

    def headers(self, ids: tuple[str, str], *, failed: bool) -> Headers:  # noqa: ARG002 - the same for both
        """Both ids, and who serves."""
        return [("x-amz-request-id", ids[0]), ("x-amz-id-2", ids[1]), ("server", "AmazonS3")]

    def error_document(
        self,
        error: WireError,
        message: str,
        path: str,  # noqa: ARG002
        ids: tuple[str, str],
        cause: Exception,  # noqa: ARG002
    ) -> bytes:
        """`<ErrorResponse>` around `<Error>`: the Go SDK reads no bare one."""
        return document(
            "ErrorResponse",
            [
                (
                    "Error",
                    [
                        ("Type", "Sender" if error.status < 500 else "Receiver"),
                        ("Code", error.code),
                        ("Message", message),
                    ],
                ),
                ("RequestId", ids[0]),
                ("HostId", ids[1]),
            ],
            namespace=self.model.namespace,
        )

    def _create_job(self, asked: Asked) -> Reply:
        request, echo = self.model.checked("CreateJob", asked.body)
        wanted = mapping.create_job(request, dict(echo), asked.caller, extensions=self.service.extensions)
        job = self.service.create(asked.caller, wanted)
        return Reply(200, self.model.serialize("CreateJob", {"JobId": job.id}), noted=noted_job(job))

    def _describe_job(self, asked: Asked) -> Reply:
        job = self.service.describe(asked.caller, asked.job_id)
        extensions = self.service.extensions
        described = mapping.describe(job, asked.caller.account, self.service.clock.now_ms(), extensions=extensions)
        return Reply(200, self.model.serialize("DescribeJob", {"Job": described}))

    def _list_jobs(self, asked: Asked) -> Reply:
        query = self.model.parse_query("ListJobs", asked.query)
        token = query.pop("NextToken", None)  # whatever is wrong with it is the service's to say, with one code
        self.model.check("ListJobs", query)
        statuses = frozenset(query.get("JobStatuses", ()))
        page = self.service.list(asked.caller, statuses=statuses, limit=query.get("MaxResults"), token=token)
        jobs = [mapping.listed(job, extensions=self.service.extensions) for job in page.jobs]
        return Reply(200, self.model.serialize("ListJobs", {"Jobs": jobs, "NextToken": page.next_token}))

    def _update_job_priority(self, asked: Asked) -> Reply:
        query = self.model.parse_query("UpdateJobPriority", asked.query)
        self.model.check("UpdateJobPriority", query)
        job = self.service.set_priority(asked.caller, asked.job_id, query["Priority"])
        told = {"JobId": job.id, "Priority": job.priority}
        return Reply(200, self.model.serialize("UpdateJobPriority", told), noted={"priority": job.priority})

    def _update_job_status(self, asked: Asked) -> Reply:
        query = self.model.parse_query("UpdateJobStatus", asked.query)
        if "RequestedJobStatus" not in query:
            raise InvalidRequest("requestedJobStatus: is missing")
        # The word itself is the service's to check: it may know one more than the model.
        self.model.check("UpdateJobStatus", {**query, "RequestedJobStatus": "Ready"})
        reason = query.get("StatusUpdateReason")
        answer = self.service.set_status(asked.caller, asked.job_id, query["RequestedJobStatus"], reason)
        told = {"JobId": answer.job.id, "Status": answer.status, "StatusUpdateReason": answer.job.status_reason}
        noted = {"requested": query["RequestedJobStatus"], "became": str(answer.job.status), "why": reason}
        return Reply(200, self.model.serialize("UpdateJobStatus", told), noted=noted)

    def _put_job_tagging(self, asked: Asked) -> Reply:
        request = self.model.parse("PutJobTagging", asked.body)
        self.model.check("PutJobTagging", request)
        self.service.put_tags(asked.caller, asked.job_id, rules.tag_map(request["Tags"], "Tags"))
        return Reply(200, self.model.serialize("PutJobTagging", {}))

    def _get_job_tagging(self, asked: Asked) -> Reply:
        tags = self.service.get_tags(asked.caller, asked.job_id)
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
        return Reply(200, self.model.serialize("GetJobTagging", {"Tags": pairs}))

    def _delete_job_tagging(self, asked: Asked) -> Reply:
        self.service.delete_tags(asked.caller, asked.job_id)
        return Reply(200, self.model.serialize("DeleteJobTagging", {}))
