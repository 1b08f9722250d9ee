"""What is done to a data directory from outside, whether a server runs on it or not: examine its jobs, back it up, restore it."""
