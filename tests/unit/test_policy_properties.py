"""What holds for all policies and all questions (reliability.md §7), and that a second reading of them agrees."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import naive_policy
from haulier.core.calls import ACTIONS, Call, Target
from haulier.core.errors import PolicyError
from haulier.core.policy import Policy, Question, parse
from haulier.core.policy.conditions import OPERATORS
from haulier.core.policy.patterns import matches, resource_matches
from haulier.core.policy.words import CONDITION_KEYS, OF_REQUEST, Kind

S3_JOBS = [f"arn:aws:s3:{region}:{account}:job/{job}" for region in ("us-east-1", "eu") for account in "12" for job in "ab"]
COS_JOBS = [f"qcs::cos:{region}:uid/{account}:job/{job}" for region in ("us-east-1", "eu") for account in "12" for job in "ab"]
S3_ROLES = [f"arn:aws:iam::{account}:role/{role}" for account in "12" for role in ("batch", "b")]
COS_ROLES = [f"qcs::cam::uin/{account}:roleName/{role}" for account in "12" for role in ("batch", "b")]
PATTERNS = ["arn:aws:s3:*:*:job/*", "arn:aws:s3:us-*:1:job/a", "arn:a?s:s3:??:?:*", "qcs::cos:*:*:job/*", "qcs::cos:eu:uid/?:*"]
ROLE_PATTERNS = ["arn:aws:iam::*:role/*", "arn:aws:iam:*:1:role/b*", "qcs::cam::*:roleName/?", "qcs::cam::uin/2:*"]

texts = st.sampled_from(["a", "A", "b", "ab", "", "prod", "Prod", "a*", "é"])
addresses = st.sampled_from(["10.1.2.3", "192.0.2.7", "::1", "::ffff:10.0.0.9", "2001:db8::5"])
networks = st.sampled_from(["10.0.0.0/8", "192.0.2.7", "0.0.0.0/0", "::/0", "::1/128", "2001:db8::/32"])
numbers = st.sampled_from([0, 1, 9, 10, 11, 2**31 - 1])
dates = st.sampled_from([0, 86_400_000, 1_700_000_000_000, 1_700_000_000_500])
date_texts = st.sampled_from(
    ["1970-01-01", "1970-01-02T00:00:00Z", "2023-11-14T22:13:20.5Z", "2023-11-14T23:13:20+01:00", "1700000000"]
)
tags = ["team", "Team"]
SPELLED = [f"{key.name}{tag}" for key in CONDITION_KEYS for tag in (tags if key.name.endswith("/") else [""])]


def _kind(name: str) -> tuple[Kind, frozenset[str] | None]:
    key = next(key for key in CONDITION_KEYS if name.lower().startswith(key.name.lower()) and (name == key.name or "/" in name))
    return key.kind, key.values


def values(name: str) -> st.SearchStrategy[Any]:
    """What a key may be worth."""
    kind, known = _kind(name)
    if known is not None:
        return st.sampled_from(sorted(known))
    arns = st.sampled_from(["arn:aws:iam::1:user/a", "arn:aws:iam::2:user/b"])
    return {
        Kind.TEXT: texts,
        Kind.NUMBER: numbers,
        Kind.TRUTH: st.booleans(),
        Kind.DATE: dates,
        Kind.ADDRESS: addresses,
        Kind.ARN: arns,
        Kind.TEXTS: st.lists(texts, max_size=3).map(tuple),
    }[kind]


def wanted(name: str, operator: str) -> st.SearchStrategy[Any]:
    """What a policy may compare it with."""
    kind, known = _kind(name)
    if operator == "Null":
        return st.sampled_from([True, False, "true", "false"])
    if known is not None:
        return st.sampled_from([*sorted(known), "*"] if "Like" in operator else sorted(known))
    return {
        Kind.TEXT: texts | (st.sampled_from(["*", "?", "a?", "*o*"]) if "Like" in operator else st.nothing()),
        Kind.NUMBER: numbers | numbers.map(str) | st.sampled_from(["9.5", 10.25, "-1"]),
        Kind.TRUTH: st.sampled_from([True, False, "true", "false"]),
        Kind.DATE: date_texts,
        Kind.ADDRESS: networks,
        Kind.ARN: st.sampled_from(["arn:aws:iam::1:user/*", "arn:aws:iam::?:user/b", "*"]),
        Kind.TEXTS: texts,
    }[kind]


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for name in draw(st.lists(st.sampled_from(SPELLED), max_size=3, unique_by=str.lower)):
        kind, _ = _kind(name)
        operator = draw(st.sampled_from([operator for operator, meant in OPERATORS.items() if kind in meant.kinds]))
        written = operator
        if operator != "Null":
            prefix = draw(st.sampled_from(["ForAllValues:", "ForAnyValue:"])) if kind is Kind.TEXTS else ""
            written = prefix + operator + draw(st.sampled_from(["", "", "IfExists"]))
        asked = draw(wanted(name, operator) | st.lists(wanted(name, operator), min_size=1, max_size=3))
        found.setdefault(written, {})[draw(st.sampled_from([name, name.upper() if "/" not in name else name]))] = asked
    return found


@st.composite
def statements(draw: st.DrawFn, effects: tuple[str, ...] = ("Allow", "Deny")) -> dict[str, Any]:
    actions = st.sampled_from([*sorted(ACTIONS), "*", "s3:*", "cos:*Job*", "S3:DESCRIBE*", "*", "iam:P???Role", "*"])
    resources = st.sampled_from(["*", "*", *S3_JOBS, *COS_JOBS, *S3_ROLES, *COS_ROLES, *PATTERNS, *ROLE_PATTERNS])
    found: dict[str, Any] = {"Effect": draw(st.sampled_from(effects))}
    found[draw(st.sampled_from(["Action", "Action", "NotAction"]))] = draw(actions | st.lists(actions, min_size=1, max_size=3))
    where = draw(st.sampled_from(["Resource", "Resource", "NotResource"]))
    found[where] = draw(resources | st.lists(resources, min_size=1, max_size=3))
    if draw(st.booleans()):
        found["Condition"] = draw(conditions())
    return found


@st.composite
def questions(draw: st.DrawFn) -> Question:
    call = draw(st.sampled_from(Call))
    at = draw(st.integers(0, 7))
    resources = {
        Target.EVERYTHING: ("*",),
        Target.JOB: (S3_JOBS[at], COS_JOBS[at]),
        Target.ROLE: (S3_ROLES[at % 4], COS_ROLES[at % 4]),
    }[call.target]
    names = draw(st.lists(st.sampled_from(SPELLED), max_size=12, unique=True))
    context = {}
    for name in names:
        prefix, slash, tag = name.partition("/")
        context[prefix.lower() + slash + tag] = draw(values(name))
    return Question(names=call.names, resources=resources, context=context)


def written(found: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": found})


def problem(statement: dict[str, Any]) -> str:
    try:
        parse(written([statement]), "one")
    except PolicyError as error:
        return error.problem
    return ""


def good(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that the reader takes. It refuses one kind: where action and resource never come together."""
    problems = [problem(statement) for statement in found]
    assert all(not text or "is never done to any of the statement's resources" in text for text in problems)
    return [statement for statement, text in zip(found, problems, strict=True) if not text]


def read(found: list[dict[str, Any]]) -> Policy:
    return parse(written(found), "all") if found else Policy("none")


policies = st.lists(statements(), max_size=5).map(good)


@settings(max_examples=250, deadline=None)
@given(found=policies, question=questions())
def test_a_second_reading_agrees(found: list[dict[str, Any]], question: Question) -> None:
    naive = bool(found) and naive_policy.allowed(written(found), question.names, question.resources, question.context)
    assert read(found).decide(question).allowed is naive


@settings(max_examples=120, deadline=None)
@given(
    found=policies,
    more=statements(("Deny",)).filter(lambda more: not problem(more)),
    question=questions(),
    answered=st.booleans(),
)
def test_another_deny_never_widens(found: list[dict[str, Any]], more: dict[str, Any], question: Question, answered: bool) -> None:
    asked = Question(names=question.names, resources=question.resources, context=question.context, answered=answered)
    before, after = read(found), read([*found, more])
    assert before.decide(asked).allowed or not after.decide(asked).allowed
    assert before.may_allow(asked.names) or not after.may_allow(asked.names)


@settings(max_examples=120, deadline=None)
@given(
    found=policies,
    more=statements(("Allow",)).filter(lambda more: not problem(more)),
    question=questions(),
    answered=st.booleans(),
)
def test_another_allow_never_narrows(
    found: list[dict[str, Any]], more: dict[str, Any], question: Question, answered: bool
) -> None:
    asked = Question(names=question.names, resources=question.resources, context=question.context, answered=answered)
    before, after = read(found), read([*found, more])
    assert after.decide(asked).allowed or not before.decide(asked).allowed
    assert after.may_allow(asked.names) or not before.may_allow(asked.names)


@settings(max_examples=120, deadline=None)
@given(found=policies, question=questions(), data=st.data())
def test_the_order_is_of_no_matter(found: list[dict[str, Any]], question: Question, data: st.DataObject) -> None:
    turned = [
        {
            name: data.draw(st.permutations(value)) if isinstance(value, list) else value
            for name, value in data.draw(st.permutations(list(statement.items())))
        }
        for statement in data.draw(st.permutations(found))
    ]
    assert read(turned).decide(question).allowed is read(found).decide(question).allowed


@settings(max_examples=120, deadline=None)
@given(found=policies, question=questions())
def test_what_is_allowed_is_admitted(found: list[dict[str, Any]], question: Question) -> None:
    policy = read(found)
    assert policy.may_allow(question.names) or not policy.decide(question).allowed


@settings(max_examples=120, deadline=None)
@given(found=policies, question=questions())
def test_what_was_allowed_when_the_request_came_still_is_when_nothing_but_the_request_is_over(
    found: list[dict[str, Any]], question: Question
) -> None:
    policy = read(found)
    rest = {key: value for key, value in question.context.items() if key not in OF_REQUEST}
    later = Question(names=question.names, resources=question.resources, context=rest, answered=True)
    assert policy.decide(later).allowed or not policy.decide(question).allowed


alphabet = st.text("ab*?:é\n", max_size=9)


@settings(max_examples=500, deadline=None)
@given(pattern=alphabet, text=st.text("abé\n:", max_size=9))
def test_patterns_fit_by_whatever_way_they_are_compared(pattern: str, text: str) -> None:
    assert matches(pattern, text) is naive_policy.glob(pattern, text)


@settings(max_examples=300, deadline=None)
@given(
    pattern=st.lists(st.text("ab*?", max_size=3), min_size=5, max_size=8).map(":".join),
    text=st.lists(st.text("ab", max_size=2), min_size=5, max_size=8).map(":".join),
)
def test_resource_patterns_fit_by_whatever_way_they_are_compared(pattern: str, text: str) -> None:
    assert resource_matches(pattern, text) is naive_policy.arn(pattern, text)


def test_no_pattern_takes_long() -> None:
    text = "a" * 2_048
    steps = [0]

    class Counted(str):
        __slots__ = ()

        def find(self, *arguments: Any) -> int:
            steps[0] += 1
            return super().find(*arguments)

    assert not matches("*a" * 1_000 + "b", Counted(text))
    assert steps[0] <= 1_001  # each piece is looked for once: no place is gone back to
    assert not matches("*?a" * 600 + "b", text)
