"""A server whose store is the small S3 that fails as it is told to: for what a real store cannot be made to show."""

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config

from haulier.core.lifecycle import TERMINAL
from haulier.testing.effects import EffectRunner
from haulier.testing.faulty_s3 import FaultyS3
from haulier.testing.jobs import JobReport, read_report
from haulier.testing.server import ACCESS_KEY, S3_ROLE, SECRET_KEY, HaulierServer
from wire.native import NativeClient


class FaultyBench:
    """The store, two runners on it, and jobs by the S3 wire. `limits` are further keys of the store's settings, `extra` of other
    tables; `folder` is the server's, where it is to outlive it, `launcher` as `HaulierServer` has it."""

    def __init__(
        self,
        *,
        runners: int = 2,
        role_keys: Mapping[str, object] | None = None,
        folder: Path | None = None,
        extra: Mapping[str, Mapping[str, object]] | None = None,
        launcher: Sequence[str] = (),
        **limits: object,
    ) -> None:
        self.store = FaultyS3(("photos", "copies", "lists", "scratch"))
        settings = {
            "endpoint": self.store.endpoint,
            "buckets": ["*"],
            "default": True,
            "access_key": "key",
            "secret_key": "secret",
            **limits,
        }
        keys = None if role_keys is None else {"main": role_keys}
        self.stores = {"main": settings}
        self.server = HaulierServer(self.stores, runners=runners, role_keys=keys, folder=folder, extra=extra, launcher=launcher)

    def __enter__(self) -> Self:
        self.store.__enter__()
        self.server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.server.stop()
        self.store.__exit__(kind, error, trace)

    def native(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The document that a call to the native API answers."""
        answered = NativeClient(self.server.port, ACCESS_KEY, SECRET_KEY).call(method, path, body, **more)
        assert answered.status < 400, answered.body
        return answered.json

    def put(self, bucket: str, key: str, body: bytes = b"body") -> None:
        EffectRunner().run(self.store.store.put_object(bucket, key.encode(), body))

    def manifest(self, keys: Iterable[str]) -> tuple[str, str]:
        """Store a manifest of these objects of `photos` in `lists`: its key and its ETag."""
        body = "".join(f"photos,{key}\n" for key in keys).encode()
        name = f"{uuid.uuid4()}.csv"
        self.put("lists", name, body)
        return name, hashlib.md5(body).hexdigest()

    def job(
        self, operation: dict[str, Any], keys: Iterable[str], *, report: bool = False, confirm: bool = False, **more: Any
    ) -> str:
        """A job on these objects of `photos`; a manifest of its own, and a report in `lists` where one is wanted."""
        wanted = {"Bucket": "arn:aws:s3:::lists", "Prefix": "reports", "Format": "Report_CSV_20180820", "ReportScope": "AllTasks"}
        name, etag = self.manifest(keys)
        answer = self.server.s3control().create_job(
            ClientRequestToken=name,
            ConfirmationRequired=confirm,
            Operation=operation,
            Manifest={
                "Spec": {"Format": "S3BatchOperations_CSV_20180820", "Fields": ["Bucket", "Key"]},
                "Location": {"ObjectArn": f"arn:aws:s3:::lists/{name}", "ETag": etag},
            },
            Priority=1,
            RoleArn=S3_ROLE,
            Report={"Enabled": True, **wanted} if report else {"Enabled": False},
            **more,
        )
        return str(answer["JobId"])

    def postponed(self, job_id: str) -> list[dict[str, Any]]:
        """What the job's record tells of waiting, as soon as it tells of it."""
        seen = 0
        while True:
            part = self.native("GET", f"jobs/{job_id}/events", query={"after": seen, "wait": 20})["events"]
            assert part, "it never waited"
            seen = part[-1]["sequence"]
            if found := [event for event in part if event["kind"] == "postponed"]:
                return found

    def report(self, job_id: str) -> JobReport:
        """The report that the job left."""
        return read_report(self.s3, "lists", "reports", job_id)

    @property
    def s3(self) -> Any:
        """A client of the store."""
        return boto3.client(
            "s3",
            endpoint_url=self.store.endpoint,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            config=Config(s3={"addressing_style": "path"}, proxies={}),
        )

    def wait(self, job_id: str, statuses: Iterable[str] = TERMINAL, seconds: float = 60) -> dict[str, Any]:
        """DescribeJob, once the job is in one of the states."""
        self.server.wait_for(job_id, tuple(statuses), seconds=seconds)
        job: dict[str, Any] = self.server.s3control().describe_job(JobId=job_id)["Job"]
        return job
