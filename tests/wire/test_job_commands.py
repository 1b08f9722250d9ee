"""`haulier job …` against a server that answers prepared XML: what is printed where, and with which exit code it ends."""

import json
import signal
import subprocess
import sys

import pytest

from wire.canned import ACCOUNT, HANG_UP, JOB, Answer, described, listed, refused, updated

PLACED = (
    "<Placements><member><Bucket>lists</Bucket><Store>main</Store></member><member><Bucket>data</Bucket></member></Placements>"
)
REPORT = "<Report><Enabled>true</Enabled><Bucket>arn:aws:s3:::out</Bucket><Prefix>reports</Prefix></Report>"


def listed_job(job_id: str, status: str, description: str = "") -> str:
    return (
        f"<JobId>{job_id}</JobId><Description>{description}</Description><Operation>S3PutObjectCopy</Operation><Priority>7</Priority>"
        f"<Status>{status}</Status><CreationTime>2026-11-23T10:00:00Z</CreationTime><ProgressSummary><TotalNumberOfTasks>5000"
        "</TotalNumberOfTasks><NumberOfTasksSucceeded>4000</NumberOfTasksSucceeded><NumberOfTasksFailed>50</NumberOfTasksFailed>"
        "</ProgressSummary>"
    )


# -- list and get -------------------------------------------------------------------------------------------------------------


def test_a_list_is_a_table_with_aligned_columns(haulier, server):
    server.answer(listed(listed_job("job-a", "Active", "nightly &#x202e;copy"), listed_job("job-bcd", "Complete")))
    code, out, err = haulier("job", "list")
    header, first, second = out.splitlines()
    assert (code, err) == (0, "")
    assert header.split() == ["ID", "STATUS", "OPERATION", "PRIORITY", "DONE", "FAILED", "CREATED", "DESCRIPTION"]
    assert first.index("Active") == second.index("Complete") == header.index("STATUS")
    assert first.split()[:6] == ["job-a", "Active", "S3PutObjectCopy", "7", "4,050/5,000", "50"]
    assert first.endswith("nightly \ufffdcopy")


def test_a_list_follows_the_pages_up_to_its_limit(haulier, server):
    server.answer(listed(listed_job("job-a", "Active"), token="t1"), listed(listed_job("job-b", "Ready"), token="t2"))
    code, out, err = haulier("job", "list", "--limit", "2", "--status", "active", "--status", "ready", "-o", "name")
    assert (code, out) == (0, "job-a\njob-b\n"), err
    first, second = server.asked
    assert first.query == {"jobStatuses": ["Active", "Ready"], "maxResults": ["2"]}
    assert second.query == {"jobStatuses": ["Active", "Ready"], "maxResults": ["1"], "nextToken": ["t1"]}


def test_a_list_as_json_has_the_names_of_the_api(haulier, server):
    server.answer(listed(listed_job("job-a", "Active")))
    code, out, _ = haulier("job", "list", "-o", "json")
    (job,) = json.loads(out)
    assert code == 0
    assert (job["JobId"], job["ProgressSummary"]["NumberOfTasksFailed"]) == ("job-a", 50)
    assert job["CreationTime"] == "2026-11-23T10:00:00+00:00"


def test_an_empty_list_is_no_error(haulier, server):
    server.answer(listed())
    assert haulier("job", "list", "-o", "name") == (0, "", "")


def test_get_shows_the_fields_that_a_job_has(haulier, server):
    operation = "<Operation><S3PutObjectTagging/></Operation>"
    server.answer(
        described("Suspended", 5000, more=f"{REPORT}{operation}<SuspendedCause>AWAITING_CONFIRMATION</SuspendedCause>{PLACED}")
    )
    code, out, _ = haulier("job", "get", JOB)
    shown = dict(line.split("  ", 1) for line in out.splitlines())
    assert code == 0
    assert shown["Job"].strip() == JOB
    assert {name.strip(): value.strip() for name, value in shown.items()}["Report"] == "arn:aws:s3:::out/reports"
    assert "S3PutObjectTagging" in out
    assert "lists on main, data on none" in out
    assert "Role" not in out


def test_requests_go_to_the_plain_host_and_are_signed_with_the_given_key(haulier, server):
    server.answer(described("Ready"))
    assert haulier("job", "get", JOB, "-o", "name") == (0, f"{JOB}\n", "")
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("GET", f"/v20180820/jobs/{JOB}")
    assert asked.headers["host"] == server.url.removeprefix("http://")
    assert asked.headers["x-amz-account-id"] == ACCOUNT
    assert asked.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=key-id/")


def test_the_settings_file_gives_endpoint_account_and_keys(haulier, server, tmp_path, monkeypatch):
    for name in ("HAULIER_ENDPOINT", "HAULIER_ACCOUNT_ID"):
        monkeypatch.delenv(name)
    config = tmp_path / "haulier.toml"
    user = '[[accounts.{0}.users]]\nname = "{1}"\naccess_key = "{1}-key"\nsecret_key = "hidden-value"\npolicy = "{2}"\n'
    config.write_text(
        f'[server]\nlisten = "127.0.0.1:{server.server_port}"\n[accounts.tencent]\ncos_uin = "1"\ncos_appid = "2"\n'
        + user.format("tencent", "cos", "admin")
        + f'[accounts.acme]\naws_account_id = "{ACCOUNT}"\n'
        + user.format("acme", "eve", "viewer")
        + user.format("acme", "ada", "admin")
    )
    server.answer(described("Ready"))
    assert haulier("job", "get", JOB, "-o", "name", "--config", str(config))[0] == 0
    assert "Credential=ada-key/" in server.asked[0].headers["authorization"]
    code, _, err = haulier("job", "get", JOB, "--config", str(config), "--account-id", "999999999999")
    assert code == 2
    assert "has no account with aws_account_id '999999999999' and an admin user" in err


# -- watch ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "code", "summary"),
    [
        (described("Complete", 5000, 5000), 0, "Complete: 5,000 succeeded, 0 failed of 5,000"),
        (described("Complete", 5000, 4950, 50), 1, "Complete: 4,950 succeeded, 50 failed of 5,000"),
        (described("Failed"), 1, "Failed: no task ran"),
        (described("Cancelled", 5000, 10), 3, "Cancelled: 10 succeeded, 0 failed of 5,000"),
        (described("Cancelled", 5000, 10, 1), 3, "Cancelled: 10 succeeded, 1 failed of 5,000"),
    ],
    ids=["clean", "with failures", "failed", "cancelled", "cancelled with failures"],
)
def test_a_watch_ends_with_the_job_and_tells_how(haulier, server, last, code, summary):
    server.answer(described("Preparing"), described("Active", 5000, 100), last)
    ended, out, err = haulier("job", "watch", JOB, "--interval", "0.01")
    assert (ended, out) == (code, f"{JOB} {summary}\n")
    assert "Preparing (reads the manifest)" in err
    assert "Active, 2 %, 100 of 5,000" in err


def test_a_watch_says_why_a_job_failed_and_where_the_report_is(haulier, server):
    reason = "<FailureCode>ManifestNotFound</FailureCode><FailureReason>gone</FailureReason>"
    reasons = f"<FailureReasons><member>{reason}</member></FailureReasons>"
    server.answer(described("Failed", 10, 0, 3, more=reasons + REPORT))
    code, out, err = haulier("job", "watch", JOB, "-o", "json")
    assert (code, json.loads(out)["Status"]) == (1, "Failed")
    assert "haulier: ManifestNotFound: gone\n" in err
    assert "haulier: the report names the failed objects: arn:aws:s3:::out/reports\n" in err


def test_a_watch_of_a_suspended_job_says_what_it_waits_for(haulier, server):
    server.answer(described("Suspended", 5000), described("Complete", 5000, 5000))
    _, _, err = haulier("job", "watch", JOB, "--interval", "0.01")
    assert f"Suspended, 5,000 tasks wait for: haulier job confirm {JOB}" in err


def test_a_watch_outlives_a_restart_of_the_server(haulier, server):
    server.answer(described("Active", 10, 1), HANG_UP, HANG_UP, described("Complete", 10, 10))
    code, _, err = haulier("job", "watch", JOB, "--interval", "0.01")
    assert code == 0
    assert err.count("trying again") == 1


def test_a_watch_ends_when_its_time_is_over_and_says_how_to_come_back(haulier, server):
    server.answer(described("Active", 10, 1))
    code, out, err = haulier("job", "watch", JOB, "--interval", "0.01", "--timeout", "0.05")
    assert (code, out) == (7, "")
    assert err.endswith(f"haulier: the job goes on. Come back with: haulier job watch {JOB}\n")


def test_ctrl_c_detaches_and_leaves_the_job_alone(environment, server):
    server.answer(described("Active", 10, 1))
    program = [sys.executable, "-m", "haulier", "job", "watch", JOB, "--interval", "60"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "Active" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert err == f"haulier: detached; the job goes on. Come back with: haulier job watch {JOB}\n"
    assert {asked.method for asked in server.asked} == {"GET"}


# -- confirm and cancel ---------------------------------------------------------------------------------------------------------


def test_confirm_lets_a_suspended_job_run(haulier, server):
    server.answer(described("Suspended", 10), updated("Ready"))
    assert haulier("job", "confirm", JOB) == (0, f"{JOB} Ready\n", "")
    assert server.asked[1].query == {"requestedJobStatus": ["Ready"]}


def test_confirm_does_not_resume_a_paused_job(haulier, server):
    server.answer(described("Paused", 10))
    code, out, err = haulier("job", "confirm", JOB)
    assert (code, out) == (1, "")
    assert err == f"haulier: job {JOB} is Paused: it does not wait for confirmation\n"
    assert len(server.asked) == 1


def test_cancel_sends_the_reason(haulier, server):
    server.answer(updated("Cancelling"))
    assert haulier("job", "cancel", JOB, "--reason", "wrong bucket", "-o", "name") == (0, f"{JOB}\n", "")
    assert server.asked[0].query == {"requestedJobStatus": ["Cancelled"], "statusUpdateReason": ["wrong bucket"]}


# -- refusals --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (refused(400, "NotFoundException", "There is no job"), 5, "NotFoundException: There is no job"),
        (refused(403, "AccessDenied", "no"), 4, "AccessDenied: no"),
        (refused(403, "SignatureDoesNotMatch", "no"), 4, "SignatureDoesNotMatch: no"),
        (refused(400, "JobStatusException", "It is Complete."), 1, "JobStatusException: It is Complete."),
        (refused(503, "SlowDown", "later"), 6, "cannot serve the request now: SlowDown: later"),
        (Answer(200, "{}"), 6, "is it a Haulier server?"),
        (HANG_UP, 6, "cannot be reached"),
    ],
    ids=["not found", "denied", "bad signature", "refused", "overloaded", "another server", "no answer"],
)
def test_a_refusal_is_one_line_and_an_exit_code(haulier, server, answer, code, message):
    server.answer(answer)
    for words in (("job", "get", JOB), ("job", "watch", JOB), ("job", "cancel", JOB)):
        ended, out, err = haulier(*words)
        assert (ended, out) == (code, "")
        assert message in err
        assert err.startswith("haulier: ")
        assert err.count("\n") == 1


def test_a_server_that_is_not_there_is_unreachable(haulier, monkeypatch):
    monkeypatch.setenv("HAULIER_ENDPOINT", "http://127.0.0.1:1")
    code, _, err = haulier("job", "list")
    assert code == 6
    assert err.startswith("haulier: http://127.0.0.1:1 cannot be reached: ")


def test_without_keys_access_is_refused_before_anything_is_sent(haulier, server, monkeypatch):
    for name in ("HAULIER_ACCESS_KEY", "HAULIER_SECRET_KEY"):
        monkeypatch.delenv(name)
    code, _, err = haulier("job", "list")
    assert (code, server.asked) == (4, [])
    assert "no keys to sign with" in err


@pytest.mark.parametrize("job_id", ["abc", "../x", "no such job", "x" * 37, "jobé-1"])
@pytest.mark.parametrize("command", ["get", "watch", "confirm", "cancel"])
def test_what_can_be_no_id_is_not_found_and_not_asked_for(haulier, server, command, job_id):
    code, out, err = haulier("job", command, job_id)
    assert (code, out, server.asked) == (5, "", [])
    assert "there is no job" in err


def test_an_empty_reason_is_none(haulier, server):
    server.answer(updated("Cancelled"))
    assert haulier("job", "cancel", JOB, "--reason", "")[0] == 0
    assert server.asked[0].query == {"requestedJobStatus": ["Cancelled"]}


@pytest.mark.parametrize(
    ("words", "gone", "message"),
    [
        (("job", "list"), "HAULIER_ENDPOINT", "which server? Give --endpoint"),
        (("job", "list"), "HAULIER_ACCOUNT_ID", "which account? Give --account-id"),
        (("job", "list"), "HAULIER_SECRET_KEY", "HAULIER_ACCESS_KEY and HAULIER_SECRET_KEY go together"),
        (("job", "list", "--endpoint", "localhost:9444"), None, "is no http or https URL"),
        (("job", "list", "--account-id", "acme"), None, "'acme' is no AWS account id: it has 12 digits"),
        (("job", "list", "--limit", "0"), None, "--limit must be at least 1"),
        (("job", "list", "--status", "done"), None, 'Invalid value "done"'),
        (("job", "list", "-o", "yaml"), None, 'Invalid value "yaml"'),
        (("job", "list", "--config", "/nowhere.toml"), None, "cannot read /nowhere.toml"),
        (("job", "watch", JOB, "--interval", "0"), None, "--interval must be above 0"),
        (("job", "cancel", JOB, "--reason", "é" * 129), None, "--reason has 258 bytes in UTF-8; it may have 256"),
        (("job", "get"), None, "requires an argument"),
        (("job", "gte", JOB), None, 'Did you mean "get"?'),
        (("--nonsense",), None, "--nonsense"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_one_line(haulier, monkeypatch, words, gone, message):
    if gone:
        monkeypatch.delenv(gone)
    code, out, err = haulier(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
