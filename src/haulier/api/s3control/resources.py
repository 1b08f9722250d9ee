"""What the S3 wire's ARNs may name in a request."""

from haulier.api.elements import Named
from haulier.core.arns import s3_resource
from haulier.core.errors import InvalidField


def bucket(arn: str, path: str, named: Named) -> str:
    """The bucket that the ARN names, which is noted in `named`. Raises InvalidField."""
    resource = s3_resource(arn, path)
    if resource.key is not None:
        raise InvalidField(path, f"{arn!r} names an object or an access point; a bucket is needed (arn:aws:s3:::bucket)")
    named.setdefault(resource.bucket, resource.region)
    return resource.bucket
