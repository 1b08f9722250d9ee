"""Patterns of service models as Python understands them."""

import re
import unicodedata

import pytest

from haulier.api.patterns import UnknownPattern, compiled
from haulier.api.restxml import Model
from haulier.api.shapes import Shape


@pytest.mark.parametrize("category", ["L", "N", "Z", "Lu", "Mn", "Cn"])
def test_a_unicode_category_means_exactly_its_characters(category: str) -> None:
    inside, outside = compiled(f"[\\p{{{category}}}]"), compiled(f"\\P{{{category}}}")
    for code in (*range(0x3000), *range(0xD7F0, 0xE010), *range(0x1D400, 0x1D900), 0x10FFFF):
        belongs = unicodedata.category(chr(code)).startswith(category)
        assert bool(inside.fullmatch(chr(code))) is belongs
        assert bool(outside.fullmatch(chr(code))) is not belongs


def test_the_whole_value_must_match_in_ascii_digits() -> None:
    assert compiled("^\\d{3}$").fullmatch("123")
    assert not compiled("^\\d{3}$").fullmatch("123\n")
    assert not compiled("\\d{3}").fullmatch("\uff11\uff12\uff13")


def test_a_class_may_mix_categories_escapes_and_plain_characters() -> None:
    pattern = compiled(r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$")
    assert pattern.fullmatch("Grüße 日本 ½ a_b.c:d/e=f+g-h@i")
    assert not pattern.fullmatch("a]b")


@pytest.mark.parametrize("pattern", [r"\p{IsGreek}", r"\p{Xx}", r"[a-z&&[^b]]", r"a++", r"\Qa\E", "(", r"\h+"])
def test_what_has_no_translation_is_refused(pattern: str) -> None:
    with pytest.raises(UnknownPattern):
        compiled(pattern)


def test_every_pattern_of_both_models_is_translated() -> None:
    seen: dict[int, Shape] = {}

    def walk(shape: Shape) -> None:
        if id(shape) not in seen:
            seen[id(shape)] = shape
            for member in (*shape.members.values(), shape.item, shape.key):
                if member is not None:
                    walk(member.shape)

    for model in (Model.s3control(), Model.cos()):
        for operation in model.operations.values():
            walk(operation.input_shape)
            if operation.output_shape is not None:
                walk(operation.output_shape)
    patterns = [shape.pattern for shape in seen.values() if shape.pattern is not None]
    assert len(patterns) > 10
    assert all(isinstance(pattern, re.Pattern) for pattern in patterns)
    assert [shape.pattern_problem for shape in seen.values() if shape.pattern_problem] == []
