"""What the demo claims, looked up in the store itself, past Haulier. A claim is a sentence and what contradicts it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from haulier.cli.demo.stage import SOURCE, TAGS, TARGET, Stage, copied_key
from haulier.cli.progress import State
from haulier.core.errors import samples
from haulier.testing.jobs import JobReport
from haulier.testing.objects import list_objects, tags_of


class Claim(NamedTuple):
    """A sentence that should be true; `problem` is empty when it is."""

    sentence: str
    problem: str = ""


def counted(state: State, report: JobReport, keys: Sequence[str], failures: Mapping[str, int]) -> Iterator[Claim]:
    """Of any job: it is Complete, its counters fit its manifest, and its report names every row exactly once."""
    failed = sum(failures.values())
    expected = State(state.job_id, "Complete", len(keys), len(keys) - failed, failed)
    yield Claim(
        f"Complete: {expected.succeeded:,} of {expected.total:,} tasks succeeded, {failed} failed",
        "" if state == expected else f"it says {state}",
    )
    problem = _difference(Counter(keys), Counter(row.key for row in report.rows))
    yield Claim(f"the report names each of the {len(keys):,} rows exactly once", problem)
    found = report.failures()
    yield Claim(f"the report's failures are {dict(failures) or 'none'}", "" if found == failures else f"they are {dict(found)}")


def copied(stage: Stage) -> Iterator[Claim]:
    """The target holds a copy of every object under its new name, with the same content, and nothing else."""
    wanted = {copied_key(key): etag for key, etag in stage.etags_before.items()}
    found = list_objects(stage.s3, TARGET)
    yield Claim(f"the store lists {len(wanted):,} copies under the new prefix and nothing else", _difference(wanted, found))
    changed = [key for key in wanted if key in found and wanted[key] != found[key]]
    yield Claim("every copy has its source's ETag", samples(changed))


def tagged(stage: Stage) -> Iterator[Claim]:
    """Every copy carries the tags, and no source object does."""
    copies = tags_of(stage.store, TARGET, list_objects(stage.s3, TARGET))
    wrong = [key for key, tags in copies.items() if tags != TAGS]
    yield Claim(f"all {len(copies):,} copies carry the tags {TAGS}", samples(wrong))
    sources = tags_of(stage.store, SOURCE, list(stage.objects.bodies)[1::50])
    yield Claim(
        f"{len(sources)} source objects, looked at one by one, carry none", samples([key for key in sources if sources[key]])
    )


def deleted(stage: Stage) -> Iterator[Claim]:
    """What the manifest named is gone, everything else is untouched."""
    wanted = {key: etag for key, etag in stage.etags_before.items() if key not in set(stage.objects.deleted)}
    found = list_objects(stage.s3, SOURCE)
    left = [key for key in stage.objects.deleted if key in found]
    yield Claim(f"the {len(stage.objects.deleted):,} deleted objects are gone", samples(left))
    same = "" if wanted == {key: etag for key, etag in found.items() if key in wanted} else _difference(wanted, found)
    yield Claim(f"the other {len(wanted):,} are still there, each with its old ETag", same or _changed(wanted, found))
    unharmed = list_objects(stage.s3, TARGET)
    yield Claim("the copies were not touched", _difference({copied_key(key): 0 for key in stage.etags_before}, unharmed))


def _changed(wanted: Mapping[str, str], found: Mapping[str, str]) -> str:
    return samples([key for key in wanted if key in found and wanted[key] != found[key]])


def _difference(wanted: Mapping[str, object], found: Mapping[str, object]) -> str:
    """How two sets of keys differ (or two counts of keys); empty when they do not."""
    parts = []
    if missing := [key for key in wanted if key not in found]:
        parts.append(f"missing: {samples(missing)}")
    if surplus := [key for key in found if key not in wanted]:
        parts.append(f"too much: {samples(surplus)}")
    if isinstance(wanted, Counter) and (uneven := [key for key in wanted if key in found and wanted[key] != found[key]]):
        parts.append(f"not once: {samples(uneven)}")
    return "; ".join(parts)
