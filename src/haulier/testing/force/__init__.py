"""Real force: real processes on a real store, killed, frozen and cut off at moments and places that a seed decides.

`plan` (what a seed decides), `dying` (makes a real process end at a named place), `effectlog` (the proxy that keeps what the
store was asked and what it did), `work` (the jobs: objects, manifests, what must be there in the end), `round` (one seed),
`users` (who asks for the jobs, pauses and cancels), `verdict` (report, effects and content held against each other, row by
row), `ledger` (the database and the files it names).
"""
