"""The operator's emergency brake: while it is on, nothing is asked of any store, for any job of any account.

It is one fact beside all jobs, not a change of each. So it holds for jobs that are only being created, prepared or reported, too;
taking it off undoes what it did and nothing else; and pauses of users stay theirs.
"""


class Brake:
    """Set by `haulier stop-all` (`admin.stopping`), looked at by the coordinator at each turn. From any thread."""

    def __init__(self) -> None:
        self.since_ms: int | None = None
        """When it was put on; None = it is off."""

    @property
    def on(self) -> bool:
        """Whether everything is stopped."""
        return self.since_ms is not None
