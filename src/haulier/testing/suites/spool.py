"""What every spool promises (`core.ports.Spool`). Subclass it and provide the `spool` fixture."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from haulier.core.errors import SpoolError
from haulier.core.ports import Spool

CHUNK = "acme/job-1/chunks/00000000-1-1.arrow"


class SpoolSuite:
    """The promises."""

    @pytest.mark.parametrize("data", [b"", b"\0", bytes(range(256)) * 5_000], ids=["empty", "one byte", "more than a page"])
    def test_what_was_written_is_read(self, spool: Spool, data: bytes) -> None:
        spool.write(CHUNK, data)
        assert bytes(spool.read(CHUNK)) == data

    def test_views_are_written_like_bytes(self, spool: Spool) -> None:
        spool.write(CHUNK, memoryview(b"some bytes")[5:])
        assert bytes(spool.read(CHUNK)) == b"bytes"

    def test_a_missing_file_is_named(self, spool: Spool) -> None:
        with pytest.raises(SpoolError, match="is missing") as caught:
            spool.read(CHUNK)
        assert caught.value.name == CHUNK

    def test_writing_the_same_again_changes_nothing(self, spool: Spool) -> None:
        spool.write(CHUNK, b"\xff outcome")
        spool.write(CHUNK, memoryview(b"\xff outcome"))
        assert bytes(spool.read(CHUNK)) == b"\xff outcome"

    def test_a_file_is_never_changed(self, spool: Spool) -> None:
        spool.write(CHUNK, b"first")
        with pytest.raises(SpoolError, match="other content"):
            spool.write(CHUNK, b"other")
        assert bytes(spool.read(CHUNK)) == b"first"

    def test_names_are_those_below_the_prefix_in_order(self, spool: Spool) -> None:
        for name in (
            "acme/job-1/sealed/b",
            "acme/job-1/sealed/a",
            "acme/job-1/chunks/c",
            "acme/job-10/sealed/d",
            "other/job-1/e",
        ):
            spool.write(name, b"x")
        assert list(spool.names("acme/job-1/")) == ["acme/job-1/chunks/c", "acme/job-1/sealed/a", "acme/job-1/sealed/b"]
        assert list(spool.names("acme/job-1/sealed/")) == ["acme/job-1/sealed/a", "acme/job-1/sealed/b"]
        assert list(spool.names("acme/job-2/")) == []

    def test_what_is_used_is_the_sum_of_the_files_below_a_prefix(self, spool: Spool) -> None:
        for name, size in (("acme/job-1/chunks/a", 10), ("acme/job-2/sealed/b", 200), ("acme-2/job/c", 4_000), ("acme/empty", 0)):
            spool.write(name, b"x" * size)
        assert (spool.used("acme/"), spool.used("acme/job-1/"), spool.used("nobody/")) == (210, 10, 0)

    def test_deleted_files_are_gone_and_missing_ones_are_no_error(self, spool: Spool) -> None:
        spool.write(CHUNK, b"x")
        spool.write("acme/job-1/sealed/a", b"y")
        spool.delete([CHUNK, "acme/job-1/chunks/never", "nobody/never/at/all"])
        assert list(spool.names("acme/")) == ["acme/job-1/sealed/a"]
        spool.write(CHUNK, b"again")
        assert bytes(spool.read(CHUNK)) == b"again"

    def test_a_view_outlives_its_file(self, spool: Spool) -> None:
        spool.write(CHUNK, b"still here")
        view = spool.read(CHUNK)
        spool.delete([CHUNK])
        assert bytes(view) == b"still here"

    @pytest.mark.parametrize(
        "name", ["", "/etc/passwd", "../outside", "acme/../../outside", "acme//job", "acme/", ".hidden", "acme/./x", "a\0b"]
    )
    def test_a_name_that_leads_elsewhere_is_refused(self, spool: Spool, name: str) -> None:
        with pytest.raises(SpoolError, match="not a name"):
            spool.write(name, b"x")
        with pytest.raises(SpoolError, match="not a name"):
            spool.read(name)
        with pytest.raises(SpoolError, match="not a name"):
            spool.delete([name])

    def test_threads_may_write_and_delete_side_by_side(self, spool: Spool) -> None:
        def work(number: int) -> None:
            for turn in range(20):
                name = f"acme/job-1/segments/{number}-{turn}"
                spool.write(name, name.encode())
                assert bytes(spool.read(name)) == name.encode()
                if turn % 2:
                    spool.delete([name])

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(work, number) for number in range(4)]:
                done.result()
        assert len(spool.names("acme/")) == 40
