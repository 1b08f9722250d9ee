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


PARTLY = {"Operation.S3PutObjectCopy.AccessControlGrants[].Grantee.TypeIdentifier"}
"""Fields of which one value is refused; the page says which."""
