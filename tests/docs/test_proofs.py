"""What docs/reference/cos-rules.md and docs/explanation/durability.md name as proof is there."""

import re
from pathlib import Path

import pytest

from wire.badrequests import table

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "cos-rules.md").read_text("utf-8")
RULES = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| rule")]
ROWS = {row.name for row in table("cos").rows}
TESTS = {
    (path.name, name)
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
}


@pytest.mark.parametrize("rule", RULES, ids=[rule[0].strip()[:60] for rule in RULES])
def test_every_rule_has_a_proof_that_exists(rule: list[str]) -> None:
    text, proof = rule
    proofs = re.findall(r"`([^`]+)`", proof)
    assert text.strip()
    assert proofs
    for named in proofs:
        if named.startswith("row: "):
            assert named.removeprefix("row: ") in ROWS
        else:
            file, _, test = named.partition("::")
            assert (file, test) in TESTS


def test_every_promise_has_proofs_that_exist() -> None:
    page = (ROOT / "docs" / "explanation" / "durability.md").read_text("utf-8")
    promises = [line.split(" | ") for line in page.splitlines() if re.match(r"\| [1-6] \|", line)]
    assert [promise[0] for promise in promises] == [f"| {number}" for number in range(1, 7)]
    for _, _, proof in promises:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", proof)
        assert named
        assert set(named) <= TESTS
