"""The domain: plain values and decisions. No I/O, no clock, no event loop."""
