"""The generated pages say what the models, tables and code say now."""

import re

import pytest

from generator import PAGES, REFERENCE, compatibility
from haulier.core.job import Dialect
from wire.badrequests import table


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_fresh(name: str) -> None:
    assert (REFERENCE / name).read_text("utf-8") == PAGES[name](), "run `make docs` and commit what it changes"


@pytest.mark.parametrize("dialect", ["s3control", "cos"])
def test_what_is_refused_as_not_implemented_is_not_yet_on_the_page(dialect: Dialect) -> None:
    """Said of each such row, and the other way round of every operation: the page cannot promise what is refused."""
    told = [text for row in table(dialect).rows for text in row.told]
    refused = [text.partition(": ")[0] for text in told if "is part of the protocol" in text]
    missing = compatibility.not_yet(dialect)
    for path in refused:
        parts = re.sub(r"\[\d+\]", "[]", path).split(".")
        assert any(".".join(parts[:length]) in missing | PARTLY for length in range(1, len(parts) + 1)), path
    for path in missing:
        if path.count(".") == 1 and path.startswith("Operation."):
            assert any(text.partition(": ")[0] == path for text in told), path


@pytest.mark.parametrize("dialect", ["s3control", "cos"])
def test_what_is_refused_when_it_is_missing_is_required_on_the_page(dialect: Dialect) -> None:
    """Of each row that says so of a member of CreateJob, but of members that others ask for."""
    missing = [text.partition(": ")[0] for row in table(dialect).rows for text in row.told if "is missing" in text]
    members = {re.sub(r"\[\d+\]", "[]", path) for path in missing} - ASKED_FOR_BY_OTHERS
    required = compatibility.required(dialect)
    assert {path for path in members if not any(f".{field}".endswith(f".{path}") for field in required)} == set()


ASKED_FOR_BY_OTHERS = {
    "Operation.COSPutObjectCopy.AccessControlGrants",
    "Operation.COSPutObjectCopy.NewObjectTagging",
    "Operation.S3PutObjectCopy.ObjectLockMode",
    "Operation.S3PutObjectCopy.ObjectLockRetainUntilDate",
    "Operation.S3PutObjectRetention.Retention.RetainUntilDate",
    "Operation.S3PutObjectRetention.Retention.Mode",
    "Operation.S3PutObjectRetention.Retention.EventHold",
    "ManifestGenerator.S3JobManifestGenerator.ManifestOutputLocation",
    "Tags",
}
"""Needed only beside a directive or another member; or by another API than CreateJob."""


PARTLY = {"Operation.S3PutObjectCopy.AccessControlGrants[].Grantee.TypeIdentifier"}
"""Fields of which one value is refused; the page says which."""
