"""The policy evaluator under any bytes: refused with a message that can be shown, or judged as the second reading judges it."""

from fuzz import naive_policy
from haulier.core.calls import Call
from haulier.core.errors import PolicyError
from haulier.core.policy import Question, parse

QUESTIONS = (
    Question(names=Call.CREATE.names, context={"s3:requestjobpriority": 10, "s3:requestjoboperation": "S3DeleteObject"}),
    Question(names=Call.LIST.names, context={"aws:sourceip": "::ffff:10.0.0.7", "aws:securetransport": False}),
    Question(
        names=Call.SET_STATUS.names,
        resources=("arn:aws:s3:us-east-1:123456789012:job/7f1d", "qcs::cos:us-east-1:uid/1250000000:job/7f1d"),
        context={
            "s3:existingjobpriority": 0,
            "s3:existingjoboperation": "S3PutObjectCopy",
            "s3:jobsuspendedcause": "AWAITING_CONFIRMATION",
            "aws:resourcetag/team": "Data",
            "aws:username": "admin",
            "aws:principalarn": "arn:aws:iam::123456789012:user/admin",
            "aws:currenttime": 1_700_000_000_000,
            "aws:epochtime": 1_700_000_000_000,
        },
    ),
    Question(names=Call.PUT_TAGS.names, context={"aws:tagkeys": ("team", "Cost"), "aws:requesttag/team": "a"}),
    Question(
        names=Call.PASS_ROLE.names,
        resources=("arn:aws:iam::123456789012:role/batch", "qcs::cam::uin/100000000001:roleName/batch"),
        context={"iam:passedtoservice": "batchoperations.s3.amazonaws.com", "haulier:dialect": "cos"},
    ),
)


def policy(data: bytes) -> None:
    """The target."""
    try:
        found = parse(data, "fuzzed")
    except PolicyError as error:
        shown = str(error)
        assert shown.isprintable(), shown
        return
    for question in QUESTIONS:
        naive = naive_policy.allowed(data, question.names, question.resources, question.context)
        assert found.decide(question).allowed is naive, question
        assert found.may_allow(question.names) or not naive, question
