import pytest

from haulier.api.descriptors import connections_within


@pytest.mark.parametrize(
    ("files", "connections", "per_peer", "runners", "left"),
    [
        (65_536, 8_000, 2_000, 2, (8_000, 2_000)),
        (8_272, 8_000, 2_000, 2, (8_000, 2_000)),
        (8_271, 8_000, 2_000, 2, (7_999, 1_999)),
        (1_024, 8_000, 2_000, 2, (752, 188)),
        (1_024, 8_000, 8_000, 2, (752, 752)),
        (1_024, 8_000, 1_000_000, 2, (752, 752)),
        (300, 8_000, 2_000, 32, (150, 37)),
        (1_024, 100, 2_000, 2, (100, 2_000)),
        (2, 8_000, 2_000, 2, (1, 1)),
    ],
)
def test_files_that_the_server_needs_are_kept_from_connections(
    files: int, connections: int, per_peer: int, runners: int, left: tuple[int, int]
) -> None:
    assert connections_within(files, connections, per_peer, runners) == left
