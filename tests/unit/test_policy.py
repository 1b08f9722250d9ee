"""What a policy document says, what of it is refused, and what callers of each kind may do."""

import json
from typing import Any

import pytest

from haulier import operations
from haulier.api.s3control.elements import ELEMENTS
from haulier.core.calls import ACTIONS, Call
from haulier.core.errors import PolicyError
from haulier.core.job import OperationSpec
from haulier.core.policy import BUILT_IN, Effect, Policies, Policy, Question, Statement, parse
from haulier.core.policy.conditions import Condition
from haulier.core.policy.patterns import matches, resource_matches
from haulier.core.policy.words import CONDITION_KEYS, OPERATION_NAMES, OPERATIONS, operation_name

JOB = ("arn:aws:s3:us-east-1:123456789012:job/7f1d", "qcs::cos:us-east-1:uid/1250000000:job/7f1d")
ROLE = ("arn:aws:iam::123456789012:role/batch", "qcs::cam::uin/100000000001:roleName/batch")


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def statement(effect: str = "Allow", **elements: Any) -> dict[str, Any]:
    if "NotAction" not in elements:
        elements.setdefault("Action", "*")
    if "NotResource" not in elements:
        elements.setdefault("Resource", "*")
    return {"Effect": effect, **elements}


def policy(*statements: dict[str, Any]) -> Policy:
    return parse(document(*statements), "test")


def allows(found: Policy, call: Call = Call.DESCRIBE, resources: tuple[str, ...] | None = None, **context: Any) -> bool:
    if resources is None:
        resources = {"job": JOB, "role": ROLE, "*": ("*",)}[call.target]
    return found.decide(Question(names=call.names, resources=resources, context=context)).allowed


# -- patterns


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("**", "anything", True),
        ("?", "", False),
        ("?*?", "ab", True),
        ("?*?", "a", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a*ab", "aab", True),
        ("a*ab", "ab", False),
        ("*aba", "ababa", True),
        ("ab*ba", "aba", False),
        ("*?a?*", "xay", True),
        (".", "a", False),
        ("[a-z]+", "b", False),
        ("[a-z]+", "[a-z]+", True),
        ("a\\*", "a\\b", True),
        ("(a|b)", "a", False),
        ("a\n*", "a\nb", True),
        ("é?", "é\u0301", True),
    ],
)
def test_a_star_is_any_text_a_question_mark_one_character_and_nothing_else_means_anything(
    pattern: str, text: str, fits: bool
) -> None:
    assert matches(pattern, text) is fits


def test_no_star_of_a_resource_reaches_over_a_colon() -> None:
    arn = "arn:aws:s3:us-east-1:123456789012:job/a:b"
    assert resource_matches("arn:aws:s3:*:*:job/*", arn)
    assert not resource_matches("arn:*:job/*", arn)
    assert not resource_matches("arn:aws:s3:*:job/*", arn)
    assert not resource_matches("arn:aws:s3:us-*2:*:*", arn)
    assert not resource_matches("arn:aws:s3:*:*:*", "*")
    assert resource_matches("*", "*")


# -- names


def test_the_names_of_an_action_are_synonyms() -> None:
    for named in ("s3:UpdateJobStatus", "cos:UpdateJobStatus", "S3:UPDATEJOBSTATUS", "s3:Update*", "cos:*s", "cos:*Job*"):
        assert allows(policy(statement(Action=named)), Call.SET_STATUS)
        assert not allows(policy(statement(), statement("Deny", Action=named)), Call.SET_STATUS)
        assert not allows(policy(statement(NotAction=named)), Call.SET_STATUS)
        assert allows(policy(statement(), statement("Deny", NotAction=named)), Call.SET_STATUS)
        assert not allows(policy(statement(), statement("Deny", NotAction=named)), Call.GET_TAGS)


def test_cos_asks_for_a_job_as_it_asks_for_the_list() -> None:
    found = policy(statement(Action="cos:ListJobs"))
    assert allows(found, Call.DESCRIBE)
    assert allows(found, Call.LIST)
    assert not allows(policy(statement(Action="s3:ListJobs")), Call.DESCRIBE)


@pytest.mark.parametrize("spelled", [*ROLE, "arn:aws:iam::123456789012:role/b*", "qcs::cam::*:roleName/*"])
def test_the_spellings_of_a_role_are_synonyms(spelled: str) -> None:
    for name in ("iam:PassRole", "cam:PassRole"):
        assert allows(policy(statement(Action=name, Resource=spelled)), Call.PASS_ROLE)
        assert not allows(policy(statement(), statement("Deny", Action=name, Resource=spelled)), Call.PASS_ROLE)
        assert not allows(policy(statement(Action=name, NotResource=spelled)), Call.PASS_ROLE)
    assert not allows(policy(statement(Action="iam:PassRole", Resource=spelled.replace("b", "x"))), Call.CREATE)


def test_only_a_star_stands_for_what_has_no_resource() -> None:
    for call in (Call.CREATE, Call.LIST):
        assert allows(policy(statement()), call)
        assert not allows(policy(statement(Action="s3:*Job*", Resource="arn:aws:s3:*:*:job/*")), call)
    with pytest.raises(PolicyError, match=r"^Statement\[0\].Action: 's3:createjob' is never done to any"):
        policy(statement("Deny", Action="s3:CreateJob", Resource="arn:aws:s3:*:*:job/*"))


# -- the whole


def test_nothing_is_allowed_by_default_and_no_allow_outweighs_a_deny() -> None:
    assert not allows(Policy("empty"))
    assert not allows(policy(statement("Deny")))
    assert not allows(policy(statement("Deny", Action="s3:DescribeJob"), statement(), statement(Resource=list(JOB))))


def test_a_decision_names_the_statement_that_made_it() -> None:
    found = policy(statement(), statement("Deny", Sid="NoDelete", Action="cos:DeleteJob"))
    decision = found.decide(Question(names=Call.DELETE.names, resources=JOB))
    assert (decision.allowed, decision.reason) == (False, "NoDelete of the policy denies it")
    assert found.decide(Question(names=Call.LIST.names)).reason == "Statement[0] of the policy allows it"
    assert Policy("empty").decide(Question(names=Call.LIST.names)).reason == "no statement of the policy allows it"


ADMIN = frozenset(Call)
VIEWER = frozenset({Call.DESCRIBE, Call.LIST, Call.GET_TAGS})


@pytest.mark.parametrize(("name", "may"), [("admin", ADMIN), ("operator", ADMIN), ("viewer", VIEWER), ("none", frozenset())])
def test_the_built_in_policies_allow_what_they_are_named_for(name: str, may: frozenset[Call]) -> None:
    found = Policies().find(name)
    assert {call for call in Call if allows(found, call)} == may
    assert {call for call in Call if found.may_allow(call.names)} == may


def test_only_the_admin_may_what_comes_later() -> None:
    question = Question(names=("haulier:StopAll",))
    assert [name for name in BUILT_IN if BUILT_IN[name].decide(question).allowed] == ["admin"]


def test_a_document_cannot_take_the_name_of_a_built_in_policy() -> None:
    policies = Policies({"viewer": parse(document(statement()), "viewer"), "team.json": parse(document(statement()), "team")})
    assert policies.find("viewer") is BUILT_IN["viewer"]
    assert allows(policies.find("team.json"))
    policies.reload({})
    assert not allows(policies.find("team.json"))


def test_what_is_admitted_depends_on_neither_job_nor_context() -> None:
    narrow = policy(
        statement(Action="s3:UpdateJobPriority", Resource="arn:aws:s3:*:*:job/x", Condition={"Null": {"aws:SourceIp": "true"}}),
        statement("Deny", Action="s3:DescribeJob"),
        statement("Deny", Action="s3:UpdateJobPriority", Resource="arn:aws:s3:*:*:job/*"),
    )
    assert {call for call in Call if narrow.may_allow(call.names)} == {Call.SET_PRIORITY}


def test_every_operation_has_a_name_for_policies() -> None:
    assert {operation.name for operation in operations.ALL} <= set(OPERATION_NAMES)
    assert {element.operation for element in ELEMENTS} == set(OPERATION_NAMES)
    assert {element.name for element in ELEMENTS} == OPERATIONS
    for element in ELEMENTS:
        parameters = {"mode": "add"} if element.name == "S3MergeObjectTagging" else {}
        assert operation_name(OperationSpec(name=element.operation, parameters=parameters)) == element.name


def test_every_action_has_one_of_the_known_services() -> None:
    assert {action.partition(":")[0] for action in ACTIONS} == {"s3", "cos", "iam", "cam", "haulier"}
    assert len({key.name.lower() for key in CONDITION_KEYS}) == len(CONDITION_KEYS)


# -- what is not understood


def test_what_is_not_understood_keeps_a_deny_and_drops_an_allow() -> None:
    for condition in (
        Condition(operator="StringStartsWith", key="aws:username", values=("a",)),
        Condition(operator="StringEquals", key="aws:PrincipalOrgId", values=("a",)),
        Condition(operator="NumericEquals", key="aws:username", values=(1,)),
        Condition(operator="NumericEquals", key="s3:requestjobpriority", values=(1,)),  # its value below is text
        Condition(operator="IpAddress", key="aws:sourceip", values=(1,)),  # its value below is no address
    ):
        assert condition.holds({"s3:requestjobpriority": "1", "aws:sourceip": "nowhere"}) is None
        for effect in Effect:
            odd = Statement(label="odd", effect=effect, actions=("*",), conditions=(condition,))
            question = Question(names=Call.LIST.names, context={"s3:requestjobpriority": "1", "aws:sourceip": "nowhere"})
            assert odd.applies(question) is (effect is Effect.DENY)
