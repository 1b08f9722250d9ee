"""`haulier stop-all`: the operator's emergency brake."""

from haulier.cli import output as out
from haulier.cli.administer import Target, administer
from haulier.cli.exits import Exit


def stop_all(*, to: Target, resume: bool = False) -> int:
    """Stop every job of every account at once: two seconds after the answer no request to any store is begun any more.

    That holds, over restarts of the server too, until --resume is given. Jobs can be created, confirmed, paused and cancelled
    meanwhile, and do nothing. Where no server runs, the next one starts stopped.

    Parameters
    ----------
    resume
        Let all jobs go on that were stopped by this; those that users have paused stay paused.
    """
    from haulier.admin.stopping import ResumeAll, StopAll  # noqa: PLC0415

    answer = administer(to, ResumeAll() if resume else StopAll())
    if to.output != "table":
        out.done(answer, to.output, "stopped", "")
    elif resume:
        out.line("all jobs go on" if answer["before"] else "nothing was stopped")
    else:
        out.line(f"everything is stopped, since {answer['since']}; haulier stop-all --resume lets it go on")
    return Exit.CLEAN
