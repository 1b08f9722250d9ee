"""One suite per port: every promise of its docstrings as a test. Subclass it, give it its fixtures, inherit the promises."""
