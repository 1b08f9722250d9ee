"""Tencent's own SDKs as judges of the COS wire. They have no batch calls, but sign, send and read for any path."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qcloud_cos import CosConfig, CosS3Auth, CosS3Client
from qcloud_cos.cos_exception import CosServiceError

from haulier.core.lifecycle import JobEvent as E
from wire.serving import COS_APPID, TOKEN, Serving
from wire.test_cos import CONFIRM, a_body

REASON = "go on, 确认 + more & 100%"
ROOT = Path(__file__).parents[2]
JUDGE = ROOT / "tests" / "judges" / "cos-nodejs"
INSTALLED = ROOT / ".tools" / "judges" / "cos-nodejs"
CHILD_SECONDS_MAX = 120


# -- cos-python-sdk-v5


class PythonSdk:
    def __init__(self, served: Serving, secret: str = "secret-of-admin") -> None:
        domain = f"127.0.0.1:{served.port}"
        self._config = CosConfig(
            Region="ap-chengdu", SecretId="AKIDADMIN", SecretKey=secret, Scheme="http", Domain=domain, Appid=COS_APPID
        )
        self._client = CosS3Client(self._config, retry=0)
        self._url = served.url

    def send(self, method: str, path: str, params: dict[str, str] | None = None, body: str | None = None, **headers: str) -> Any:
        params = params or {}
        return self._client.send_request(
            method,
            self._url + path,
            bucket=None,
            auth=CosS3Auth(self._config, path, params),
            params=params,
            data=None if body is None else body.encode(),
            headers={"x-cos-appid": COS_APPID, **headers},
            timeout=30,
        )

    def text(self, name: str, *asked: Any, **how: Any) -> list[str]:
        """The texts of an element in an answer."""
        return re.findall(f"<{name}>(.*?)</{name}>", self.send(*asked, **how).content.decode(), re.DOTALL)


def test_the_python_sdk_makes_all_six_calls(served: Serving) -> None:
    sdk = PythonSdk(served)
    [job_id] = sdk.text("JobId", "POST", "/jobs", body=a_body(extra=CONFIRM))
    assert sdk.text("Status", "GET", f"/jobs/{job_id}") == ["New"]
    served.move(job_id, E.PICKED_UP, E.CONFIRMATION_DUE, total=0)
    assert sdk.text("Priority", "POST", f"/jobs/{job_id}/priority", {"priority": "98"}) == ["98"]
    query = {"requestedJobStatus": "Ready", "statusUpdateReason": REASON}
    assert sdk.text("StatusUpdateReason", "POST", f"/jobs/{job_id}/status", query) == [REASON.replace("&", "&amp;")]
    assert job_id in sdk.text("JobId", "GET", "/jobs", {"jobStatuses": "Ready", "maxResults": "1000"})
    assert sdk.send("DELETE", f"/jobs/{job_id}").status_code == 204
    with pytest.raises(CosServiceError) as gone:
        sdk.send("GET", f"/jobs/{job_id}")
    assert (gone.value.get_status_code(), gone.value.get_error_code()) == (404, "NoSuchJob")


def test_the_python_sdk_may_send_a_digest_and_a_type(served: Serving) -> None:
    body = a_body()
    digest = base64.b64encode(hashlib.md5(body.encode()).digest()).decode()
    sent = {"Content-MD5": digest, "Content-Type": "application/xml"}
    assert PythonSdk(served).text("JobId", "POST", "/jobs", body=body, **sent)
    with pytest.raises(CosServiceError) as error:
        PythonSdk(served).send("POST", "/jobs", body=body + " ", **sent)
    assert (error.value.get_status_code(), error.value.get_error_code()) == (400, "BadDigest")


def test_the_python_sdk_uses_temporary_keys(served: Serving) -> None:
    config = CosConfig(
        Region="ap-chengdu",
        SecretId="AKIDTEMPORARY",
        SecretKey="secret-of-temporary",
        Token=TOKEN,
        Scheme="http",
        Domain=f"127.0.0.1:{served.port}",
        Appid=COS_APPID,
    )
    answer = CosS3Client(config, retry=0).send_request(
        "GET", f"{served.url}/jobs", None, auth=CosS3Auth(config, "/jobs", {}), headers={"x-cos-appid": COS_APPID}
    )
    assert answer.status_code == 200


def test_the_python_sdk_reads_our_errors(served: Serving) -> None:
    with pytest.raises(CosServiceError) as error:
        PythonSdk(served).send("GET", "/jobs/none")
    assert (error.value.get_status_code(), error.value.get_error_code()) == (404, "NoSuchJob")
    assert error.value.get_resource_location() == "/jobs/none"
    assert error.value.get_request_id()
    assert error.value.get_trace_id()
    with pytest.raises(CosServiceError) as error:
        PythonSdk(served, "wrong").send("GET", "/jobs")
    assert (error.value.get_status_code(), error.value.get_error_code()) == (403, "SignatureDoesNotMatch")


# -- cos-nodejs-sdk-v5

Node = Callable[..., list[dict[str, Any]]]


def node_program() -> str:
    """The `node` that can run the judge, its packages installed. Skips, and says why, where there is none."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not on this machine: Tencent's Node SDK was not asked")
    lock = (JUDGE / "package-lock.json").read_bytes()
    done = INSTALLED / "installed.json"
    if not done.exists() or done.read_bytes() != lock:
        INSTALLED.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(JUDGE / name, INSTALLED / name)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            subprocess.run(command, cwd=INSTALLED, capture_output=True, text=True, timeout=CHILD_SECONDS_MAX, check=True)
        except subprocess.SubprocessError as error:
            told = (getattr(error, "stderr", None) or str(error)).strip()[-300:]
            pytest.skip(f"npm could not install Tencent's Node SDK, which was not asked: {told}")
        done.write_bytes(lock)
    return node


@pytest.fixture(scope="module")
def node() -> str:
    return node_program()


@pytest.fixture
def ask(node: str, served: Serving, tmp_path: Path) -> Node:
    """Sends requests through the SDK; each is (method, path) and, by name, `query`, `body`, `headers`."""

    def run(
        *requests: dict[str, Any], access_key: str = "AKIDADMIN", secret: str = "secret-of-admin", **options: Any
    ) -> list[dict[str, Any]]:
        asked = [{**one, "headers": {"x-cos-appid": COS_APPID, **one.get("headers", {})}} for one in requests]
        setup = {"url": served.url, "secretId": access_key, "secretKey": secret, "requests": asked, **options}
        (tmp_path / "asked.json").write_text(json.dumps(setup))
        made = subprocess.run(
            [node, JUDGE / "calls.js", tmp_path / "asked.json"],
            env={"NODE_PATH": str(INSTALLED / "node_modules"), "PATH": "", "NODE_NO_WARNINGS": "1"},
            capture_output=True,
            text=True,
            timeout=CHILD_SECONDS_MAX,
        )
        assert made.returncode == 0, made.stderr
        answers: list[dict[str, Any]] = json.loads(made.stdout)
        return answers

    return run


def call(method: str, path: str, **more: Any) -> dict[str, Any]:
    return {"method": method, "path": path, **more}


def test_the_node_sdk_makes_all_six_calls(ask: Node, served: Serving) -> None:
    [created] = ask(call("POST", "/jobs", body=a_body(extra=CONFIRM)))
    job_id = created["data"]["CreateJobResult"]["JobId"]
    served.move(job_id, E.PICKED_UP, E.CONFIRMATION_DUE, total=42)
    described, priority, status, listed, deleted, gone = ask(
        call("GET", f"/jobs/{job_id}"),
        call("POST", f"/jobs/{job_id}/priority", query={"priority": "98"}, headers={"Content-Length": 0}),
        call("POST", f"/jobs/{job_id}/status", query={"requestedJobStatus": "Ready", "statusUpdateReason": REASON}),
        call("GET", "/jobs", query={"jobStatuses": "Ready", "maxResults": "1000"}),
        call("DELETE", f"/jobs/{job_id}"),
        call("GET", f"/jobs/{job_id}"),
    )
    job = described["data"]["DescribeJobResult"]["Job"]
    assert (job["Status"], job["Description"], job["ConfirmationRequired"]) == ("Suspended", "move logs & more", "true")
    assert job["Manifest"]["Spec"]["Fields"]["member"] == ["Bucket", "Key"]
    assert job["Manifest"]["Location"]["ETag"] == '"9b2cf535"'
    assert job["Operation"]["COSPutObjectCopy"]["TargetKeyPrefix"] == "archive/logs/"
    assert job["ProgressSummary"] == {
        "NumberOfTasksFailed": "0",
        "NumberOfTasksSucceeded": "0",
        "TotalNumberOfTasks": "42",
    }
    assert priority["data"]["UpdateJobPriorityResult"] == {"JobId": job_id, "Priority": "98"}
    assert status["data"]["UpdateJobStatusResult"]["StatusUpdateReason"] == REASON
    members = listed["data"]["ListJobsResult"]["Jobs"]["member"]
    assert job_id in [one["JobId"] for one in (members if isinstance(members, list) else [members])]
    assert deleted["data"]["statusCode"] == 204
    assert (gone["error"]["statusCode"], gone["error"]["code"]) == (404, "NoSuchJob")


def test_the_node_sdk_reads_our_errors(ask: Node) -> None:
    [answer] = ask(call("POST", "/jobs", body=a_body(priority="high")))
    error = answer["error"]
    assert (error["statusCode"], error["code"]) == (400, "InvalidArgument")
    assert error["message"].startswith("Priority: ")
    assert error["error"]["Resource"] == "/jobs"
    assert error["error"]["RequestId"] == error["headers"]["x-cos-request-id"]
    assert error["error"]["TraceId"] == error["headers"]["x-cos-trace-id"]
    [answer] = ask(call("GET", "/jobs"), secret="wrong")
    assert (answer["error"]["statusCode"], answer["error"]["code"]) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("offset_ms", [-7_200_000, 7_200_000])
def test_the_node_sdk_sets_its_clock_by_our_date_and_goes_on(ask: Node, offset_ms: int) -> None:
    [answer] = ask(call("GET", "/jobs", query={"maxResults": "1"}), clockOffset=offset_ms)
    assert answer["data"]["statusCode"] == 200


def test_the_node_sdk_uses_temporary_keys(ask: Node) -> None:
    """It adds the token after signing; only the key's own will do."""
    for token, status in ((TOKEN, 200), ("another", 403), (None, 403)):
        [answer] = ask(call("GET", "/jobs"), access_key="AKIDTEMPORARY", secret="secret-of-temporary", token=token)
        assert (answer.get("data") or answer["error"])["statusCode"] == status
        assert status == 200 or answer["error"]["code"] == "InvalidAccessKeyId"
