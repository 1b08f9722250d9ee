"""A boto3 client of S3 Batch Operations that reaches Haulier wherever it listens, without DNS, and knows its extensions.

botocore puts the account id before the host of any endpoint (`http://123456789012.127.0.0.1:9444`), which resolves nowhere on
loopback; and its model has no `S3DeleteObject`. Here the prefix is taken away before the request is signed, and the members
that Haulier adds are added to the model. Everything else is the stock client.
"""

import copy
import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.loaders import Loader

__all__ = ["boto3_client"]

_EXTENSIONS: Final = Path(__file__).parent / "api" / "s3control" / "extensions.json"


def boto3_client(endpoint: str, account_id: str | None = None, **client_arguments: Any) -> Any:
    """A boto3 `s3control` client for the server at `endpoint` (`http://127.0.0.1:9444`).

    With `account_id` the argument AccountId need not be given in calls. `client_arguments` are those of `boto3.client`
    (`region_name`, `aws_access_key_id`, `aws_secret_access_key`, `config`, `verify`, …); what is not given comes from the
    environment and files as with any boto3 client, the region else is us-east-1. A server on loopback is never asked by way
    of a proxy of the environment.
    """
    core = botocore.session.Session()
    core.register_component("data_loader", _ExtendedLoader(core.get_config_variable("data_path")))
    session = boto3.Session(botocore_session=core, region_name=client_arguments.pop("region_name", None))
    config = client_arguments.pop("config", None)
    if is_loopback(endpoint):
        direct = Config(proxies={})
        config = direct if config is None else direct.merge(config)
    client = session.client(
        "s3control", region_name=session.region_name or "us-east-1", endpoint_url=endpoint, config=config, **client_arguments
    )
    events = client.meta.events
    events.register("before-call.s3-control", _without_account_prefix)
    if account_id is not None:

        def _name_account(params: dict[str, Any], **_: Any) -> None:
            params.setdefault("AccountId", account_id)

        events.register("provide-client-params.s3-control", _name_account)
    return client


def _without_account_prefix(params: dict[str, Any], **_: Any) -> None:
    """Undo botocore's host prefix in a request that is not signed yet."""
    account = params["headers"].get("x-amz-account-id")
    url = urlsplit(params["url"])
    if account and url.netloc.startswith(f"{account}."):
        params["url"] = urlunsplit(url._replace(netloc=url.netloc.removeprefix(f"{account}.")))


def is_loopback(endpoint: str) -> bool:
    """Whether the endpoint is on this machine, where no proxy can reach it."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _ExtendedLoader(Loader):  # type: ignore[misc]
    """Loads botocore's models, and adds Haulier's members to that of s3control."""

    def __init__(self, data_path: str | None) -> None:
        """`data_path` as in botocore's own configuration: folders with further models."""
        super().__init__(extra_search_paths=[str(Path(folder).expanduser()) for folder in (data_path or "").split(":") if folder])

    def load_service_model(self, service_name: str, type_name: str, api_version: str | None = None) -> Any:
        model = super().load_service_model(service_name, type_name, api_version)
        return _extended(model) if (service_name, type_name) == ("s3control", "service-2") else model


def _extended(model: Mapping[str, Any]) -> dict[str, Any]:
    """The model with the shapes and members that only Haulier has; values of an enum are the server's to check."""
    overlay = json.loads(_EXTENSIONS.read_bytes())["shapes"]
    shapes = copy.copy(model["shapes"])
    for name, shape in overlay.items():
        if name not in shapes:
            shapes[name] = shape
        elif "members" in shape:
            shapes[name] = {**shapes[name], "members": {**shape["members"], **shapes[name].get("members", {})}}
    return {**model, "shapes": shapes}
