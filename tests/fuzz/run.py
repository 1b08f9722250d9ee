"""Fuzz one target for so many seconds, guided by coverage (atheris): `python tests/fuzz/run.py TARGET SECONDS`.

What is found is written to `build/fuzz/TARGET/`; once mended it belongs into `tests/fuzz/corpus/TARGET/`.
"""

import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

with atheris.instrument_imports(include=["haulier.api", "haulier.core", "haulier.service"]):
    import structlog

    from fuzz import targets


def main() -> None:
    name, seconds = sys.argv[1:]
    found = ROOT / "build" / "fuzz" / name
    grown = found / "corpus"
    grown.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={int(seconds)}",
        f"-artifact_prefix={found}/",
        "-max_len=8192",
        "-timeout=10",
        "-rss_limit_mb=2048",
    ]
    structlog.configure(processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.ReturnLoggerFactory())
    atheris.Setup([sys.argv[0], *options, str(grown), str(targets.CORPUS / name)], targets.TARGETS[name])
    atheris.Fuzz()


main()
