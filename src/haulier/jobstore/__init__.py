"""Jobs and the ledger of chunks, in SQL."""
