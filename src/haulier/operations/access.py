"""Give a copy its access control list, and believe only what is read back: some stores answer success and drop it."""

from collections.abc import Callable

from haulier.core.acl import Acl, told
from haulier.core.errors import StoreError
from haulier.core.ports import ObjectStore
from haulier.core.task import Outcome

ACL_LOST = "AccessControlLost"
"""The code of a task whose copy is there without the access control list that it was to have."""


async def grant(
    store: ObjectStore,
    bucket: str,
    key: bytes,
    version: bytes | None,
    *,
    set_to: Callable[[str], Acl | str],
    fits: Callable[[Acl], bool],
) -> Outcome | None:
    """See to it that the object's list is one that `fits`: look, set it to `set_to(owner)` (a list, or a canned one's name) where
    it is not, look again. Returns how the task failed, None when all is well.

    Repeating it does no harm (reliability §3): what fits is not written again.
    """
    try:
        present = await store.get_acl(bucket, key, version)
        if fits(present):
            return None
        refusal: StoreError | None = None
        try:
            await store.put_acl(bucket, key, version, set_to(present.owner))
        except StoreError as error:
            refusal = error
            if not error.unknown:
                raise
        present = await store.get_acl(bucket, key, version)
    except StoreError as error:
        return error.outcome(message=f"the copy was made, but its access control list was not set: {error.message}")
    if fits(present):
        return None
    if refusal is not None:
        return refusal.outcome(message=f"the copy was made without its access control list: {refusal.message}")
    text = f"the copy was made, but the store did not keep its access control list: it grants {told(present)}"
    return Outcome(409, ACL_LOST, text)
