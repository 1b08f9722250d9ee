"""The operator's emergency brake (`core.brake`): put it on, take it off."""

from haulier.admin.state import Asked, Decided, State
from haulier.core.clock import timestamp
from haulier.core.stored import Put, Remove, StoredStop


class StopAll(Asked, frozen=True, kw_only=True, tag="stop-all"):
    """Stop everything."""

    def decide(self, state: State) -> Decided:
        """Nothing changes where that is so already."""
        stop = state.stored.stop or StoredStop(since_ms=state.now_ms)
        answer = {"stopped": True, "since": timestamp(stop.since_ms), "before": state.stored.stop is not None}
        return Decided(answer, [] if state.stored.stop is not None else [Put(stop)])


class ResumeAll(Asked, frozen=True, kw_only=True, tag="stop-all resume"):
    """Let everything go on."""

    def decide(self, state: State) -> Decided:
        """Nothing changes where nothing is stopped."""
        stop = state.stored.stop
        answer = {"stopped": False, "since": None if stop is None else timestamp(stop.since_ms), "before": stop is not None}
        return Decided(answer, [] if stop is None else [Remove(stop)])
