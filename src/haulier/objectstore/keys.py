"""Which keys can be asked for at all, whatever the store."""

from haulier.core.errors import StoreError


def check_key(key: bytes) -> None:
    """Raises StoreError 400 for a key that names no object inside its bucket."""
    if not key:
        # It would mean the bucket: PUT creates it, DELETE removes it.
        raise StoreError(400, "InvalidArgument", "an object's key is never empty")
    if climbs(key):
        raise StoreError(400, "InvalidURI", "the key's .. segments lead above its bucket")


def names_object(key: bytes) -> bool:
    """Whether `check_key` lets the key through."""
    return bool(key) and not climbs(key)


def climbs(key: bytes) -> bool:
    """Whether the key, read as a path from left to right, ever leads above its beginning.

    S3 refuses such keys. A store or a proxy that resolves dots would find another bucket, one that no role was checked for.
    """
    if b".." not in key:
        return False
    depth = 0
    for segment in key.split(b"/"):
        depth += -1 if segment == b".." else 0 if segment in (b"", b".") else 1
        if depth < 0:
            return True
    return False
