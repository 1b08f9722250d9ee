"""The short run: every committed seed, and some thousand changed ones. `make fuzz` goes on for as long as one likes."""

import random
import secrets

import pytest

from fuzz.targets import TARGETS, corpus

ROUNDS = 400


def changed(data: bytes, other: bytes, random_source: random.Random) -> bytes:
    """The seed with one to four small damages."""
    for _ in range(random_source.randint(1, 4)):
        at, to = sorted(random_source.choices(range(len(data) + 1), k=2))
        to = min(to, at + 40)
        match random_source.randrange(6):
            case 0:
                data = data[:at] + bytes([random_source.randrange(256)]) + data[at + 1 :]
            case 1:
                data = data[:at] + data[to:]
            case 2:
                data = data[:to] + data[at:to] + data[to:]
            case 3:
                data = data[:at] + random_source.choice(INTERESTING) + data[at:]
            case 4:
                start = random_source.randrange(len(other) + 1)
                data = data[:at] + other[start : start + 60] + data[at:]
            case _:
                data = data[:at] + data[at:to].swapcase() + data[to:]
    return data


INTERESTING = [
    b"\0",
    b"\xff",
    b"\xc3",
    b"%",
    b"%zz",
    b"&",
    b"&amp;",
    b"]]>",
    b"<![CDATA[",
    b"<!--",
    b"<x/>",
    b";",
    b"=",
    b"\xe2\x80\xae",
]
INTERESTING += [
    b"-1",
    b"99999999999999999999",
    b"1_000",
    "٣".encode(),
    b"true",
    b"NaN",
    b"\r",
    b"\n",
    b" ",
    b"/",
    b"//",
    b"..",
    b"*" * 64,
]


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_is_too_strange(name: str) -> None:
    target, seeds = TARGETS[name], corpus(name)
    for data in seeds:
        target(data)
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    source = random.Random(seed)
    for _ in range(ROUNDS):
        data = changed(source.choice(seeds), source.choice(seeds), source)
        try:
            target(data)
        except BaseException:
            print(repr(data))
            raise
