"""Who signed the request: SigV4, COS q-sign, and what the caller may do."""
