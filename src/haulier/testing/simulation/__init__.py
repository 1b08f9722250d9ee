"""Deterministic simulation: the real engine in one thread, under fake time, with everything going wrong that a seed decides.

`plan_of(seed)` is what goes wrong, `run(plan)` what comes of it; `python -m haulier.testing.simulation` runs many seeds. Inside:
`hub` and `strands` (time and turns), `network`, `spool`, `database`, `runners`, `server` (the machine around the real code),
`truth` and `users` (the world), `ledger`, `oracle`, `endings` (what must hold). It needs the package greenlet, which Haulier
itself does not.
"""
