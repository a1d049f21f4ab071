"""Hostile archives, tables and images."""

from __future__ import annotations

import time
import zipfile
from functools import partial

import httpx

from tests.attack.bystander import ENDED, job_status
from tests.attack.probe import CHILD, GATEWAY
from tests.attack.scenario import Attack, scenario, size_text
from tests.hostile_files import ARCHIVES, CORPUS, IMAGES, Made, zip_of_one_member

SHORT = (
    "tar.gz: PAX header of digits", "zip: bzip2", "zip: overlapping members", "csv: 52,000 columns",
    "png: 16-bit grey with alpha", "ndjson: unknown fields",
)  # fmt: skip
# Larger than the entries of the corpus, which take at most a second to make.
LARGE: dict[str, Made] = {
    "zip: bzip2 of 1 GiB": ("application/zip", partial(zip_of_one_member, zipfile.ZIP_BZIP2, 1024))
}
JOB_S = 60.0


@scenario("files", short=True, faults=(2, 4, 18))
def files(attack: Attack) -> None:
    """Send every file of the corpus to the operation that reads its type, one at a time."""
    corpus: dict[str, Made] = {name: CORPUS[name] for name in SHORT} if attack.is_short else {**CORPUS, **LARGE}
    for name, (content_type, make) in attack.entries(corpus):
        content, started_s = make(), time.monotonic()
        seen = _send(attack, _path_of(name), content_type, content)
        attack.count(seen)
        took_s, peak_mb = time.monotonic() - started_s, _peak_mb(attack, started_s)
        attack.fact(f"{name} ({size_text(content)}): {seen} after {took_s:.1f} s; most memory: {peak_mb}")


def _path_of(name: str) -> str:
    if name in IMAGES:
        return "/v1/images/classify"
    return "/v1/images/jobs" if name in ARCHIVES or name in LARGE else "/v1/tabular/jobs"


def _send(attack: Attack, path: str, content_type: str, content: bytes) -> str:
    """Send one file, wait until its job has ended, and return what the client saw."""
    try:
        response = attack.target.send("POST", path, content=content, headers={"Content-Type": content_type})
    except httpx.TransportError as error:
        return type(error).__name__
    if response.status_code != 202:
        return str(response.status_code)
    location, until = response.headers["Location"], time.monotonic() + JOB_S
    attack.bystander.ledger.jobs[location] = "attacker"
    while (status := job_status(attack.target, location, "attacker")) not in ENDED and time.monotonic() < until:
        time.sleep(0.1)
    attack.require(status in ENDED, f"a job of {content_type} is {status} after {JOB_S:.0f} s")
    return f"202 {status}"


def _peak_mb(attack: Attack, started_s: float) -> str:
    """Return the most memory of the gateway and of one of its children since `started_s`."""
    sizes: dict[str, float] = {}
    for each in attack.target.probe.between(started_s, time.monotonic()):
        for name in {GATEWAY, CHILD} & each.memory_mb.keys():
            sizes[name] = max(sizes.get(name, 0.0), each.memory_mb[name])
    return ", ".join(f"{name} {size_mb:.0f} MB" for name, size_mb in sizes.items()) or "not measured"
