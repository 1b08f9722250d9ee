"""What a policy document may hold, and the path that is named for each thing it may not."""

from decimal import Decimal
from typing import Any

import pytest

from haulier.core.errors import PolicyError
from haulier.core.policy import parse
from haulier.core.policy.builtin import DOCUMENTS
from haulier.core.policy.reader import BYTES_MAX, STATEMENTS_MAX
from unit.test_policy import document, policy, statement


def conditioned(operator: str, key: str, value: Any) -> str:
    return document(statement(Condition={operator: {key: value}}))


BROKEN: dict[str, tuple[str | bytes, str, str]] = {
    # JSON
    "nothing": ("", "", "is not JSON"),
    "no JSON": ("{", "", "is not JSON"),
    "no UTF-8": (b'{"Version": "\xff"}', "", "is not UTF-8"),
    "a byte order mark": ("\ufeff{}", "", "is not JSON"),
    "an infinite number": ('{"Version": NaN}', "", "NaN is no JSON value"),
    "too deep": ("[" * 60_000, "", "is nested too deeply"),
    "too long": (" " * (BYTES_MAX + 1), "", "is longer than the 65,536 bytes"),
    "an array": ("[]", "", "must be an object"),
    "a key twice": ('{"Version": "2012-10-17", "Version": "2012-10-17"}', "Version", "stands twice"),
    "half a character": (document(statement(Sid="\ud800")), "Statement[0].Sid", "half of one"),
    "a control character": (document(statement(Resource="a\x00")), "Statement[0].Resource", "control character"),
    # elements
    "no version": ('{"Statement": []}', "Version", 'must be "2012-10-17"'),
    "another version": ('{"Version": "2008-10-17", "Statement": []}', "Version", 'must be "2012-10-17"'),
    "a version that is a number": ('{"Version": 2012, "Statement": []}', "Version", 'must be "2012-10-17"'),
    "no statement": ('{"Version": "2012-10-17"}', "Statement", "is missing"),
    "an empty list of statements": (document(), "Statement", "must be a statement or an array"),
    "too many statements": (document(*[statement()] * (STATEMENTS_MAX + 1)), "Statement", "of 1 to 200"),
    "a statement that is none": ('{"Version": "2012-10-17", "Statement": ["Allow"]}', "Statement[0]", "must be an object"),
    "an unknown element": ('{"Version": "2012-10-17", "Statements": []}', "Statements", "is 'Statement' meant?"),
    "an element in lower case": (document({**statement(), "action": "*"}), "Statement[0].action", "is 'Action' meant?"),
    "a principal": (document(statement(Principal="*")), "Statement[0].Principal", "is no element that is known here"),
    "no effect": (document({"Action": "*", "Resource": "*"}), "Statement[0].Effect", 'must be "Allow" or "Deny"'),
    "an effect in lower case": (document(statement("allow")), "Statement[0].Effect", 'must be "Allow" or "Deny"'),
    "an effect that is a list": (document({**statement(), "Effect": ["Allow"]}), "Statement[0].Effect", 'must be "Allow" or'),
    "a Sid with a blank": (document(statement(Sid="no jobs")), "Statement[0].Sid", "ASCII letters and digits"),
    "a Sid twice": (document(statement(Sid="A"), statement(Sid="A")), "Statement[1].Sid", "stands on another statement"),
    # actions
    "no action": (document({"Effect": "Deny", "Resource": "*"}), "Statement[0]", "must have Action or NotAction"),
    "both actions": (document({**statement(), "NotAction": "*"}), "Statement[0]", "and not both"),
    "an empty list of actions": (document(statement(Action=[])), "Statement[0].Action", "at least one"),
    "an action that is a number": (document(statement(Action=[1])), "Statement[0].Action[0]", "must be text"),
    "an action without service": (document(statement(Action="CreateJob")), "Statement[0].Action", "is no action"),
    "a star for the service": (document(statement(Action="*:CreateJob")), "Statement[0].Action", "is no action"),
    "a service and a star": (document(statement(Action="s3*")), "Statement[0].Action", "is no action"),
    "a misspelt action": (document(statement(Action="s3:CreatJob")), "Statement[0].Action", "is 's3:CreateJob' meant?"),
    "an action of no batch job": (document(statement(Action=["s3:GetObject"])), "Statement[0].Action[0]", "names no action"),
    "a pattern of nothing": (document(statement(NotAction="s3:?Job")), "Statement[0].NotAction", "names no action"),
    "a regular expression": (document(statement(Action="s3:(Create|Describe)Job")), "Statement[0].Action", "is no action"),
    "a letter of another script": (document(statement(Action="s3:\u212areateJob")), "Statement[0].Action", "is no action"),
    # resources
    "no resource": (document({"Effect": "Deny", "Action": "*"}), "Statement[0]", "must have Resource or NotResource"),
    "both resources": (document({**statement(), "NotResource": "*"}), "Statement[0]", "and not both"),
    "a name": (document(statement(Resource="batch")), "Statement[0].Resource", "can be no resource"),
    "two stars": (document(statement(Resource="**")), "Statement[0].Resource", "can be no resource"),
    "a question mark": (document(statement(Resource="?")), "Statement[0].Resource", "can be no resource"),
    "half an ARN": (document(statement(Resource="arn:aws:s3:*")), "Statement[0].Resource", "can be no resource"),
    "an object": (document(statement(Resource="arn:aws:s3:::data/*")), "Statement[0].Resource", "can be no resource"),
    "a star for the service of an ARN": (document(statement(Resource="arn:aws:*:::job/*")), "Statement[0].Resource", "can be no"),
    "another partition": (document(statement(Resource="arn:aws-cn:s3:*:*:job/*")), "Statement[0].Resource", "can be no resource"),
    "jobs": (document(statement(Resource="arn:aws:s3:*:*:jobs/*")), "Statement[0].Resource", "can be no resource"),
    "a job without id": (document(statement(Resource="arn:aws:s3:*:*:job/")), "Statement[0].Resource", "can be no resource"),
    "a role with a path": (document(statement(Resource="arn:aws:iam::*:role/x/*")), "Statement[0].Resource", "has no path here"),
    "a role with a region": (document(statement(Resource="arn:aws:iam:x:*:role/x")), "Statement[0].Resource", "can be no"),
    "a job without region": (document(statement(Resource="arn:aws:s3::*:job/*")), "Statement[0].Resource", "can be no resource"),
    "a COS job without region": (
        document(statement(Resource="qcs::cos::*:job/*")),
        "Statement[0].Resource",
        "can be no resource",
    ),
    "an account of letters": (document(statement(Resource="arn:aws:iam::acme:role/x")), "Statement[0].Resource", "can be no"),
    "no account": (document(statement(Resource="qcs::cam:::roleName/x")), "Statement[0].Resource", "can be no resource"),
    "a job of a uin": (document(statement(Resource="qcs::cos:*:uin/1:job/x")), "Statement[0].Resource", "can be no resource"),
    "a project": (document(statement(Resource="qcs:p:cos:*:uid/1:job/x")), "Statement[0].Resource", "can be no resource"),
    "an action and a resource that never meet": (
        document(statement(Action=["s3:*", "iam:PassRole"], Resource=["qcs::cos:*:*:job/x"])),
        "Statement[0].Action[1]",
        "its resource is a role",
    ),
    "a variable": (document(statement(Resource="arn:aws:s3:*:*:job/${aws:username}")), "Statement[0].Resource", "variables"),
    # conditions
    "a condition that is none": (document(statement(Condition=[])), "Statement[0].Condition", "must be an object"),
    "an operator of nothing": (
        document(statement(Condition={"Bool": {}})),
        "Statement[0].Condition.Bool",
        "must name a condition",
    ),
    "an unknown operator": (
        conditioned("StringEqual", "aws:username", "a"),
        "Statement[0].Condition.StringEqual",
        "is 'StringEquals' meant?",
    ),
    "an operator in lower case": (
        conditioned("stringequals", "aws:username", "a"),
        "Statement[0].Condition.stringequals",
        "is no operator",
    ),
    "an operator for bytes": (
        conditioned("BinaryEquals", "aws:username", "a"),
        "Statement[0].Condition.BinaryEquals",
        "is no operator",
    ),
    "IfExists twice": (
        conditioned("BoolIfExistsIfExists", "aws:SecureTransport", "true"),
        "Statement[0].Condition.BoolIfExistsIfExists",
        "is no operator",
    ),
    "Null if exists": (
        conditioned("NullIfExists", "aws:SourceIp", "true"),
        "Statement[0].Condition.NullIfExists",
        "stands alone",
    ),
    "Null of all": (
        conditioned("ForAllValues:Null", "aws:TagKeys", "true"),
        "Statement[0].Condition.ForAllValues:Null",
        "stands alone",
    ),
    "an unknown quantifier": (
        conditioned("ForNoValue:StringEquals", "aws:TagKeys", "a"),
        "Statement[0].Condition.ForNoValue:StringEquals",
        "is no operator",
    ),
    "an unknown key": (
        conditioned("StringEquals", "aws:PrincipalOrgID", "o"),
        "Statement[0].Condition.StringEquals.aws:PrincipalOrgID",
        "is no condition key",
    ),
    "a misspelt key": (
        conditioned("NumericEquals", "s3:RequestJobPriorty", 1),
        "Statement[0].Condition.NumericEquals.s3:RequestJobPriorty",
        "is 's3:RequestJobPriority' meant?",
    ),
    "a tag without key": (
        conditioned("StringEquals", "aws:RequestTag/", "a"),
        "Statement[0].Condition.StringEquals.aws:RequestTag/",
        "is no condition key",
    ),
    "a key twice in other letters": (
        document(statement(Condition={"Bool": {"aws:SecureTransport": "true", "AWS:SECURETRANSPORT": "false"}})),
        "Statement[0].Condition.Bool.AWS:SECURETRANSPORT",
        "stands twice",
    ),
    "text for a number": (
        conditioned("StringEquals", "s3:RequestJobPriority", "1"),
        "Statement[0].Condition.StringEquals.s3:RequestJobPriority",
        "NumericEquals",
    ),
    "a number for text": (
        conditioned("NumericEquals", "aws:username", 1),
        "Statement[0].Condition.NumericEquals.aws:username",
        "does not compare a key that is text",
    ),
    "several values without quantifier": (
        conditioned("StringEquals", "aws:TagKeys", "a"),
        "Statement[0].Condition.StringEquals.aws:TagKeys",
        "put ForAllValues: or ForAnyValue:",
    ),
    "a quantifier for one value": (
        conditioned("ForAllValues:StringEquals", "aws:username", "a"),
        "Statement[0].Condition.ForAllValues:StringEquals.aws:username",
        "has one value",
    ),
    "no value": (
        conditioned("StringEquals", "aws:username", []),
        "Statement[0].Condition.StringEquals.aws:username",
        "at least one",
    ),
    "a value in a list in a list": (
        conditioned("StringEquals", "aws:username", [["a"]]),
        "Statement[0].Condition.StringEquals.aws:username[0]",
        "must be text",
    ),
    "null": (
        conditioned("StringEquals", "aws:username", None),
        "Statement[0].Condition.StringEquals.aws:username",
        "must be text",
    ),
    "an object for a value": (
        conditioned("StringEquals", "aws:username", {}),
        "Statement[0].Condition.StringEquals.aws:username",
        "must be text",
    ),
    "true for text": (
        conditioned("StringEquals", "aws:username", True),
        "Statement[0].Condition.StringEquals.aws:username",
        "not true or false",
    ),
    "yes for true": (
        conditioned("Bool", "aws:SecureTransport", "yes"),
        "Statement[0].Condition.Bool.aws:SecureTransport",
        "true or",
    ),
    "one for true": (conditioned("Bool", "aws:SecureTransport", 1), "Statement[0].Condition.Bool.aws:SecureTransport", "true or"),
    "a number in words": (
        conditioned("NumericLessThan", "s3:RequestJobPriority", ["1", "ten"]),
        "Statement[0].Condition.NumericLessThan.s3:RequestJobPriority[1]",
        "is not a number",
    ),
    "a number in digits of another script": (
        conditioned("NumericLessThan", "s3:RequestJobPriority", "\u0661"),
        "Statement[0].Condition.NumericLessThan.s3:RequestJobPriority",
        "is not a number",
    ),
    "a number with underscores": (
        conditioned("NumericLessThan", "s3:RequestJobPriority", "1_0"),
        "Statement[0].Condition.NumericLessThan.s3:RequestJobPriority",
        "is not a number",
    ),
    "a number that is too long": (
        conditioned("NumericLessThan", "s3:RequestJobPriority", 10**50),
        "Statement[0].Condition.NumericLessThan.s3:RequestJobPriority",
        "is not a number",
    ),
    "a date in words": (
        conditioned("DateLessThan", "aws:CurrentTime", "tomorrow"),
        "Statement[0].Condition.DateLessThan.aws:CurrentTime",
        "is no date",
    ),
    "a date that is in no calendar": (
        conditioned("DateLessThan", "aws:CurrentTime", "2026-02-30"),
        "Statement[0].Condition.DateLessThan.aws:CurrentTime",
        "is no date of the calendar",
    ),
    "the year nought": (
        conditioned("DateLessThan", "aws:CurrentTime", "0000-01-01T00:00:00Z"),
        "Statement[0].Condition.DateLessThan.aws:CurrentTime",
        "is no date of the calendar",
    ),
    "a name for an address": (
        conditioned("IpAddress", "aws:SourceIp", "localhost"),
        "Statement[0].Condition.IpAddress.aws:SourceIp",
        "is no address",
    ),
    "a network with bits of an address": (
        conditioned("NotIpAddress", "aws:SourceIp", "10.0.0.1/8"),
        "Statement[0].Condition.NotIpAddress.aws:SourceIp",
        "has host bits set",
    ),
    "v4 inside v6": (
        conditioned("IpAddress", "aws:SourceIp", "::ffff:10.0.0.0/104"),
        "Statement[0].Condition.IpAddress.aws:SourceIp",
        "write it as IPv4",
    ),
    "a name for an ARN": (
        conditioned("ArnLike", "aws:PrincipalArn", "admin"),
        "Statement[0].Condition.ArnLike.aws:PrincipalArn",
        "is not an ARN",
    ),
    "an operation that is none": (
        conditioned("StringEquals", "s3:RequestJobOperation", ["S3PutObjectCopy", "COSPutObjectCopy"]),
        "Statement[0].Condition.StringEquals.s3:RequestJobOperation[1]",
        "is 'S3PutObjectCopy' meant?",
    ),
    "a pattern where none is read": (
        conditioned("StringEquals", "s3:ExistingJobOperation", "S3Put*"),
        "Statement[0].Condition.StringEquals.s3:ExistingJobOperation",
        "the key is never 'S3Put*'",
    ),
    "a cause that is none": (
        conditioned("StringEquals", "s3:JobSuspendedCause", "AwaitingConfirmation"),
        "Statement[0].Condition.StringEquals.s3:JobSuspendedCause",
        "is 'AWAITING_CONFIRMATION' meant?",
    ),
}


@pytest.mark.parametrize(("text", "path", "problem"), BROKEN.values(), ids=BROKEN)
def test_what_would_be_without_effect_or_another_than_meant_is_refused_by_its_path(
    text: str | bytes, path: str, problem: str
) -> None:
    with pytest.raises(PolicyError) as refused:
        parse(text, "test")
    assert refused.value.path == path
    assert problem in refused.value.problem
    assert str(refused.value).isprintable()


def test_documents_may_be_bytes_have_an_id_and_one_statement_without_a_list() -> None:
    found = parse(b'{"Id": "x", "Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}', "p")
    assert (found.name, len(found.statements)) == ("p", 1)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_built_in_policies_are_documents_that_anyone_could_have_written(name: str) -> None:
    assert parse(DOCUMENTS[name], name).statements


def test_values_are_read_by_the_kind_of_their_key() -> None:
    found = policy(
        statement(
            Condition={
                "NumericEquals": {"s3:RequestJobPriority": [10, "10.50", -1]},
                "DateEquals": {"aws:CurrentTime": ["1970-01-02", "1970-01-01T01:00:00+01:00", "1970-01-01T00:00:00.250Z", 3]},
                "BoolIfExists": {"aws:SecureTransport": [True, "false"]},
                "IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::1"]},
                "ForAnyValue:StringLike": {"aws:TagKeys": "team-*"},
                "StringEquals": {"AWS:requesttag/Team": "a"},
            }
        )
    )
    number, date, truth, address, many, tag = found.statements[0].conditions
    assert number.values == (10, Decimal("10.5"), -1)
    assert date.values == (86_400_000, 0, 250, 3_000)
    assert (truth.operator, truth.if_exists, truth.values) == ("Bool", True, (True, False))
    assert [str(value) for value in address.values] == ["10.0.0.0/8", "::1/128"]
    assert (many.operator, many.quantifier, many.values) == ("StringLike", "ForAnyValue", ("team-*",))
    assert tag.key == "aws:requesttag/Team"
