import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haulier.audit import AuditLog, files
from haulier.audit.chain import GENESIS, LINE_BYTES_MAX, BrokenChain, Link, follow, line, read
from haulier.audit.files import Tail, verify
from haulier.core.clock import SystemClock
from haulier.core.errors import AuditBroken

text = st.text(max_size=40)
entries = st.lists(st.dictionaries(text.filter(lambda name: name not in ("sequence", "previous", "hash")), text, max_size=4))


def chained(wanted: list[dict[str, str]]) -> list[bytes]:
    lines, end = [], Link()
    for entry in wanted:
        written, end = line(entry, end)
        lines.append(written)
    return lines


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    log = AuditLog(tmp_path / "audit", SystemClock())
    log.start()
    yield log
    log.stop()


def kinds(folder: Path) -> list[str]:
    return [read(raw)[2]["kind"] for path in files.files(folder) for raw in path.read_bytes().splitlines()]


# -- the chain -----------------------------------------------------------------------------------------------------------------


@given(entries)
def test_a_chain_follows_and_gives_back_what_was_written(wanted: list[dict[str, str]]) -> None:
    end = Link()
    for number, (raw, entry) in enumerate(zip(chained(wanted), wanted, strict=True), 1):
        assert raw.count(b"\n") == 1
        assert raw.endswith(b"\n")
        assert raw.isascii()
        link, previous, members = read(raw)
        assert (link.sequence, previous) == (number, end.hash)
        assert {name: members[name] for name in entry} == entry
        end = follow(raw, end)
    assert end.sequence == len(wanted)


@given(st.data())
def test_any_changed_byte_breaks_the_chain(data: st.DataObject) -> None:
    raw = chained([{"kind": "one"}, {"kind": "two", "what": "é\r\n\x1b"}])[1]
    place = data.draw(st.integers(0, len(raw) - 2))
    changed = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[place]))
    with pytest.raises(BrokenChain):
        follow(raw[:place] + bytes([changed]) + raw[place + 1 :], Link(1, read(raw)[1]))


def test_a_line_that_was_taken_out_or_moved_breaks_the_chain() -> None:
    one, two, three = chained([{"kind": "one"}, {"kind": "two"}, {"kind": "three"}])
    assert follow(two, follow(one, Link())).sequence == 2
    with pytest.raises(BrokenChain, match="sequence 3 does not follow sequence 1"):
        follow(three, follow(one, Link()))


def test_what_a_client_sent_cannot_fill_or_forge_the_log() -> None:
    written, _ = line({"path": "/x\n" + '{"sequence":2}' + "y" * 100_000, "nothing": None}, Link())
    assert len(written) < 1024
    members = json.loads(written)
    assert members["path"].startswith('/x\n{"sequence":2}')
    assert members["path"].endswith("…")
    assert "nothing" not in members
    assert members["previous"] == GENESIS


def test_a_line_is_never_longer_than_the_log_can_read_back_and_keeps_its_own_members() -> None:
    for entry in (
        {"kind": "role", "buckets": [f"bucket-{number}" for number in range(5000)]},
        {"kind": "huge", "account": "acme"} | {f"member-{number}": "é" * 500 for number in range(100)},
        {"kind": "forged", "sequence": 99, "previous": "x", "hash": "y"},
    ):
        written, end = line(entry, Link(4, GENESIS))
        assert len(written) <= LINE_BYTES_MAX + 100
        assert follow(written, Link(4, GENESIS)) == end
        assert read(written)[2]["kind"] == entry["kind"]
    assert line({"kind": "role", "buckets": ["a"] * 25}, Link())[0].count(b'"a"') == 20


# -- the files -----------------------------------------------------------------------------------------------------------------


def appended(tail: Tail, *wanted: str) -> None:
    end, lines = tail.end, b""
    for kind in wanted:
        written, end = line({"kind": kind}, end)
        lines += written
    tail.append(lines, end)


def test_a_log_goes_on_where_it_ended_and_over_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILE_BYTES_MAX", 10)
    for kind in ("one", "two", "three"):
        tail = Tail(tmp_path)
        appended(tail, kind)
        tail.close()
    assert [path.name for path in files.files(tmp_path)] == [f"{number:020}.jsonl" for number in (1, 2, 3)]
    assert kinds(tmp_path) == ["one", "two", "three"]
    found = verify(tmp_path)
    assert (found.lines, found.end.sequence) == (3, 3)
    files.files(tmp_path)[0].unlink()  # what retention does
    assert verify(tmp_path).lines == 2
    assert verify(tmp_path).end == found.end
    files.files(tmp_path)[0].unlink()
    appended(Tail(tmp_path), "four")
    assert verify(tmp_path).end.sequence == 4


def test_a_file_missing_in_the_middle_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILE_BYTES_MAX", 10)
    tail = Tail(tmp_path)
    for kind in ("one", "two", "three"):
        appended(tail, kind)
    files.files(tmp_path)[1].unlink()
    with pytest.raises(AuditBroken, match=r"00003\.jsonl, line 1: sequence 3 does not follow sequence 1"):
        verify(tmp_path)


@pytest.mark.parametrize("torn", [b'{"sequence":3', b"x" * 70_000])
def test_a_half_written_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    appended(Tail(tmp_path), "one", "two")
    [path] = files.files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + torn[: 16 * 1024])
    tail = Tail(tmp_path)
    assert tail.torn_bytes == len(torn[: 16 * 1024])
    appended(tail, "three")
    assert kinds(tmp_path) == ["one", "two", "three"]
    assert path.read_bytes().startswith(whole)
    assert verify(tmp_path).end.sequence == 3


def test_a_first_line_that_was_never_finished_leaves_the_end_to_the_file_before(tmp_path: Path) -> None:
    appended(Tail(tmp_path), "one")
    (tmp_path / f"{2:020}.jsonl").write_bytes(b'{"sequ')
    tail = Tail(tmp_path)
    assert tail.end.sequence == 1
    appended(tail, "two")
    assert kinds(tmp_path) == ["one", "two"]


def test_a_log_whose_end_was_changed_is_not_continued(tmp_path: Path) -> None:
    appended(Tail(tmp_path), "one")
    [path] = files.files(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"one", b"two"))
    with pytest.raises(AuditBroken, match="its last line was changed"):
        Tail(tmp_path)


# -- the log -------------------------------------------------------------------------------------------------------------------


def test_what_is_durable_is_on_disk_on_return_and_after_all_that_was_recorded_before(log: AuditLog, tmp_path: Path) -> None:
    for number in range(100):
        log.record({"kind": f"quiet {number}"})
    log.record({"kind": "durable"}, durable=True)
    assert kinds(tmp_path / "audit") == ["log opened", *(f"quiet {number}" for number in range(100)), "durable"]


def test_many_threads_make_one_chain(log: AuditLog, tmp_path: Path) -> None:
    def speak(name: str) -> None:
        for number in range(50):
            log.record({"kind": f"{name}{number}"}, durable=number % 10 == 0)

    threads = [threading.Thread(target=speak, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.stop()
    assert verify(tmp_path / "audit").lines == 1 + 4 * 50 + 1
    for name in "abcd":
        mine = [kind for kind in kinds(tmp_path / "audit") if kind.startswith(name)]
        assert mine == [f"{name}{number}" for number in range(50)]


def test_a_disk_that_refuses_is_a_problem_until_it_takes_everything(
    log: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.record({"kind": "before"}, durable=True)
    with monkeypatch.context() as patched:

        def refuse(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        patched.setattr(os, "fdatasync", refuse)
        log.record({"kind": "during"}, durable=True)  # returns: the caller looks at `problem`
        assert log.problem == "the audit log cannot be written: No space left on device"
        assert kinds(tmp_path / "audit") == ["log opened", "before"]
    log.stop()
    assert log.problem is None
    assert kinds(tmp_path / "audit") == ["log opened", "before", "during", "log closed"]


def test_half_a_line_that_a_disk_would_not_even_cut_off_is_cut_off_later(
    log: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.record({"kind": "before"}, durable=True)
    write = os.write

    def write_half(descriptor: int, data: bytes) -> int:
        if not data.startswith(b'{"sequence"'):
            return write(descriptor, data)
        write(descriptor, data[:20])
        raise OSError(28, "No space left on device")

    def refuse(_descriptor: int, _size: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write_half)
        patched.setattr(os, "ftruncate", refuse)
        log.record({"kind": "during"}, durable=True)
        assert log.problem == "the audit log cannot be written: No space left on device"
    log.stop()
    assert kinds(tmp_path / "audit") == ["log opened", "before", "during", "log closed"]
    assert verify(tmp_path / "audit").lines == 4


def test_a_disk_that_stalls_is_a_problem_too(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    going_on = threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr("haulier.audit.log.DURABLE_SECONDS_MAX", 0.1)
        patched.setattr(os, "fdatasync", lambda _descriptor: going_on.wait(10))
        assert not log.record({"kind": "during"}, durable=True)
        assert log.problem == "the audit log cannot be written: the disk does not answer"
        going_on.set()
    log.stop()
    assert log.problem is None


def test_who_waits_is_never_left_out(log: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("haulier.audit.log.WAITING_MAX", 0)
    assert not log.record({"kind": "quiet"})
    assert log.record({"kind": "durable"}, durable=True)
    assert "durable" in kinds(tmp_path / "audit")


def test_strangers_do_not_fill_the_disk(log: AuditLog, tmp_path: Path) -> None:
    for number in range(1000):
        log.record({"kind": "request", "path": f"/{number}"})
    log.record({"kind": "request", "account": "acme"}, durable=True)
    written = [read(raw)[2] for path in files.files(tmp_path / "audit") for raw in path.read_bytes().splitlines()]
    told = sum(entry.get("entries", 0) for entry in written)
    kept = [entry for entry in written if entry["kind"] == "request" and "account" not in entry]
    assert len(kept) + told == 1000
    assert 200 <= len(kept) < 400
    assert [entry for entry in written if entry.get("account") == "acme"]
