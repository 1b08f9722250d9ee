"""The pages of docs/reference that are made from models, tables and code: `make docs` writes them, a test sees that they are
fresh."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from generator import bad_requests, compatibility, extensions, native_api, policies

REFERENCE: Final = Path(__file__).parents[1] / "reference"

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "bad-requests-cos.md": lambda: bad_requests.page("cos"),
    "bad-requests-s3control.md": lambda: bad_requests.page("s3control"),
    "compatibility.md": compatibility.page,
    "extensions.md": extensions.page,
    "native-api.md": native_api.page,
    "policies.md": policies.page,
}
"""File in docs/reference → what makes its text. A new page is one line here."""
