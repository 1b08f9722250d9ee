"""The COS Batch wire: `/jobs…`, six APIs (cos-batch.md §1, §2)."""

import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final
from urllib.parse import unquote_to_bytes

from haulier.api.auth import RawRequest
from haulier.api.cos import mapping
from haulier.api.cos.errors import ERRORS
from haulier.api.restxml import Model, document
from haulier.api.wire import Asked, ErrorTable, Headers, Reply, Route, Target, UnknownPath, Wire, WireError, noted_job
from haulier.core.accounts import Caller
from haulier.core.calls import Call
from haulier.core.errors import InvalidField, InvalidRequest


class CosWire(Wire):
    """Answers what the COS SDKs and Terraform send to `cos-control`."""

    errors: ClassVar[ErrorTable] = ERRORS
    model: Final = Model.cos()

    def table(self) -> Mapping[Target, Sequence[Route]]:
        """The APIs by path."""
        return {
            ("jobs",): (
                Route("POST", "CreateJob", Call.CREATE, self._create_job),
                Route("GET", "ListJobs", Call.LIST, self._list_jobs),
            ),
            ("jobs", "{}"): (
                Route("GET", "DescribeJob", Call.DESCRIBE, self._describe_job),
                Route("DELETE", "DeleteJob", Call.DELETE, self._delete_job),
            ),
            ("jobs", "{}", "priority"): (Route("POST", "UpdateJobPriority", Call.SET_PRIORITY, self._update_job_priority),),
            ("jobs", "{}", "status"): (Route("POST", "UpdateJobStatus", Call.SET_STATUS, self._update_job_status),),
        }

    def parts(self, request: RawRequest) -> tuple[str, ...]:
        """The decoded path's parts: the signature covers the decoded form, so `%2F` is routed as `/` (reliability.md §10, 31)."""
        try:
            decoded = unquote_to_bytes(request.raw_path).decode("utf-8")
        except UnicodeDecodeError:
            raise UnknownPath(request.path) from None
        return tuple(decoded.removeprefix("/").split("/"))

    def authenticate(self, request: RawRequest) -> Caller:
        """By q-sign."""
        return self.authenticator.authenticate_cos(request)

    def new_ids(self) -> tuple[str, str]:
        """x-cos-request-id, which begins with the time of the request, and x-cos-trace-id."""
        now = self.service.clock.now_ms() // 1000
        text = f"{now:08x}_{secrets.token_hex(4)}_{secrets.token_hex(2)}_{secrets.token_hex(3)}"
        return b64encode(text.encode()).decode(), b64encode(secrets.token_bytes(48)).decode()

    def headers(self, ids: tuple[str, str], *, failed: bool) -> Headers:
        """The request id, the trace id of a failure, and who serves."""
        trace = [("x-cos-trace-id", ids[1])] if failed else []
        return [("x-cos-request-id", ids[0]), *trace, ("server", "tencent-cos")]

    def error_document(
        self,
        error: WireError,
        message: str,
        path: str,
        ids: tuple[str, str],
        cause: Exception,  # noqa: ARG002
    ) -> bytes:
        """`<Error>` as cos-batch.md §1.4 shows it."""
        return document(
            "Error",
            [("Code", error.code), ("Message", message), ("Resource", path), ("RequestId", ids[0]), ("TraceId", ids[1])],
        )

    def _create_job(self, asked: Asked) -> Reply:
        if not asked.body.strip():
            raise InvalidRequest("The body is empty; it must be a CreateJobRequest.")
        request, echo = self.model.checked("CreateJob", asked.body)
        job = self.service.create(asked.caller, mapping.create_job(request, mapping.kept(request, echo), asked.caller))
        return Reply(200, self.model.serialize("CreateJob", {"JobId": job.id}), noted=noted_job(job))

    def _describe_job(self, asked: Asked) -> Reply:
        job = self.service.describe(asked.caller, asked.job_id)
        return Reply(200, self.model.serialize("DescribeJob", {"Job": mapping.describe(job, asked.caller.account)}))

    def _list_jobs(self, asked: Asked) -> Reply:
        query = self.model.parse_query("ListJobs", asked.query)
        self.model.check("ListJobs", query)
        statuses = frozenset(query.get("JobStatuses", ()))
        page = self.service.list(asked.caller, statuses=statuses, limit=query.get("MaxResults"), token=query.get("NextToken"))
        jobs = [mapping.listed(job) for job in page.jobs]
        return Reply(200, self.model.serialize("ListJobs", {"Jobs": jobs, "NextToken": page.next_token}))

    def _update_job_priority(self, asked: Asked) -> Reply:
        query = self.model.parse_query("UpdateJobPriority", asked.query)
        if "Priority" not in query:
            raise InvalidRequest("priority: is missing")
        self.model.check("UpdateJobPriority", query)
        job = self.service.set_priority(asked.caller, asked.job_id, query["Priority"])
        told = {"JobId": job.id, "Priority": job.priority}
        return Reply(200, self.model.serialize("UpdateJobPriority", told), noted={"priority": job.priority})

    def _update_job_status(self, asked: Asked) -> Reply:
        query = self.model.parse_query("UpdateJobStatus", asked.query)
        if "RequestedJobStatus" not in query:
            raise InvalidField("requestedJobStatus", "is missing")
        # The word itself is the service's to check: it may know one more than the model.
        self.model.check("UpdateJobStatus", {**query, "RequestedJobStatus": "Ready"})
        reason = query.get("StatusUpdateReason")
        answer = self.service.set_status(asked.caller, asked.job_id, query["RequestedJobStatus"], reason)
        told = {"JobId": answer.job.id, "Status": answer.status, "StatusUpdateReason": answer.job.status_reason}
        noted = {"requested": query["RequestedJobStatus"], "became": str(answer.job.status), "why": reason}
        return Reply(200, self.model.serialize("UpdateJobStatus", told), noted=noted)

    def _delete_job(self, asked: Asked) -> Reply:
        self.service.delete(asked.caller, asked.job_id)
        return Reply(204)
