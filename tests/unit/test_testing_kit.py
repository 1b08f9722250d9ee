"""The test kit's own parts that need no server."""

import tomllib

import pytest

from haulier.testing.cosclient import CosClient, authorization
from haulier.testing.server import HaulierServer, toml
from haulier.testing.stores import free_ports

SECRET = "cosbatch-example-secret-key-0001"
HOST = {"host": "127.0.0.1:9444", "x-cos-appid": "1250000000"}
STATUS = "/jobs/53dc6228-c50b-46f7-8ad7-65e7159f1aae/status"
TYPED = {"content-type": "application/xml", "content-md5": "jwlRQhy+aqjGnxn08+/Tig==", "content-length": "37"}


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "signature"),
    [
        ("GET", "/jobs", {"jobStatuses": "Active", "maxResults": "2"}, HOST, "f905f9d3e1388f1b6e1febe08858f93dc31fb050"),
        (
            "POST",
            STATUS,
            {"requestedJobStatus": "Ready", "statusUpdateReason": "go on, 确认"},
            {**HOST, "content-length": "0"},
            "80999b1e5bd1c331486d21b19992e4fa534ce20d",
        ),
        ("POST", "/jobs", {}, {**HOST, **TYPED}, "6e2a0451ea8fe6e485cedded1e49b49d66f2ff39"),
        ("GET", "/jobs/x", {}, {**HOST, "x-cos-security-token": "tok/en+1=="}, "1400fe973653a7acdd11941d836dbfd0b9ec54fb"),
    ],
    ids=["list", "status", "create", "temporary key"],
)
def test_the_cos_client_signs_as_the_published_vectors_do(method, path, query, headers, signature):
    value = authorization("AKIDEXAMPLEEXAMPLE01", SECRET, method, path, query, headers, starts=1700000000, ends=1700003600)
    assert value.endswith(f"&q-signature={signature}")


def test_the_cos_client_signs_every_header_that_it_sends():
    headers = CosClient("http://127.0.0.1:9444", "1250000000", "id", "key").signed_headers("POST", "/jobs", b"<x/>", {})
    assert "q-header-list=content-length;content-type;host;x-cos-appid&" in headers["authorization"]


def test_settings_written_as_toml_read_back_the_same():
    tables = {
        "server": {"listen": "127.0.0.1:1", "cos": True},
        "stores": {"main": {"endpoint": 'http://"quoted"\\', "buckets": ["*"], "requests_per_second": 1.5}},
        "accounts": {"acme": {"cos_uin": "1", "users": [{"name": "a"}, {"name": "b"}], "roles": [{"name": "r", "stores": []}]}},
    }
    assert tomllib.loads(toml(tables)) == tables


def test_the_settings_of_the_test_server_are_readable_by_their_owner_only(tmp_path):
    server = HaulierServer({"main": {"endpoint": "http://127.0.0.1:1"}}, folder=tmp_path / "server")
    assert server.config_file.stat().st_mode & 0o077 == 0
    assert tomllib.loads(server.config_file.read_text())["accounts"]["acme"]["roles"][0]["stores"] == ["main"]


def test_free_ports_are_all_different():
    assert len(set(free_ports(8))) == 8
