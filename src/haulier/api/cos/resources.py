"""What the COS wire's resource names may name in a request."""

from haulier.core.arns import Resource, cos_resource
from haulier.core.errors import InvalidField


def bucket(text: str, path: str) -> Resource:
    """The bucket that the resource name means. Raises InvalidField."""
    resource = cos_resource(text, path)
    if resource.key:
        raise InvalidField(path, f"{text!r} names an object; a bucket is needed (qcs::cos:region:uid/APPID:bucket-APPID)")
    return resource
