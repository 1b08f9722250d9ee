"""Write every page anew."""

from generator import PAGES, REFERENCE

for name, text in PAGES.items():
    (REFERENCE / name).write_text(text(), "utf-8")
