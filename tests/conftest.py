"""The parts of the test suite: the order they run in, and how long each took."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

# A time limit for one example is a timing in a test, and fails on a busy machine.
settings.register_profile("haulier", deadline=None)
settings.load_profile("haulier")

PARTS = ("unit", "wire", "fuzz", "suites", "e2e", "simulation", "kill", "docs")
TESTS = Path(__file__).parent


def part_of(item: pytest.Item) -> str:
    if item.get_closest_marker("kill"):
        return "kill"
    return item.path.relative_to(TESTS).parts[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick parts first; within a part the order of the files stays."""
    order = {name: at for at, name in enumerate(PARTS)}
    items.sort(key=lambda item: order.get(part_of(item), len(PARTS)))
    for item in items:
        item.user_properties.append(("part", part_of(item)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line per part: tests and seconds, set-up and tear-down included."""
    seconds: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                part = dict(report.user_properties)["part"]
                seconds[part] += report.duration
                tests[part] += report.when == "call"
    terminalreporter.section("parts")
    for name in (*PARTS, *sorted(set(tests) - set(PARTS))):
        if tests[name]:
            terminalreporter.write_line(f"{name:<8}{tests[name]:>5} tests {seconds[name]:>8.1f} s")
