"""For tests, here and elsewhere: real stores on loopback, faults, suites that every implementation passes."""
