"""What each client of the matrix could do: tests append to a file, and this program makes the page RESULTS.md of it.

    results.record("franz-go", "1.20.4", "group consume", True)
    results.record("kcat", "1.7.1", "admin", None, "kcat has no admin requests")
    results.record("sarama", "1.46.1", "rebalance", False, "the second member got no partition in 30 s")

`ok` is True, False, or None where the client has no such thing; `detail` is one sentence, wanted unless `ok` is True. A scenario
that ran twice counts as it ended last. The page has no dates and no times: the same results make the same bytes.

    python tests/clients/results.py            writes tests/clients/RESULTS.md from the results so far
    python tests/clients/results.py --forget   starts a new collection

The collection is client-results.jsonl in the test bed, or the file that STRANDLINE_RESULTS names.
"""

import json
import os
import pathlib
import re
import sys

PAGE = pathlib.Path(__file__).with_name("RESULTS.md")

# The columns of the large table, in the order in which a reader looks for them. Every other scenario stands in the list of
# its client below the table.
COLUMNS = ["produce", "group consume", "rebalance", "commit and resume", "admin", "idempotence", "KIP-848"]

HEAD = """# The client matrix

Real clients against a real node, its bucket on an S3 server. Made by `tests/clients/results.py` from what the tests of
`tests/clients` recorded; not written by hand. "-": the client has no such thing, or it was not asked for it.
"""


def collection():
    """The file that results are appended to."""
    if named := os.environ.get("STRANDLINE_RESULTS"):
        return pathlib.Path(named)
    import bed

    return bed.TESTBED / "client-results.jsonl"


def record(client, version, scenario, ok, detail=""):
    """Appends one result. Any process may call it at any time: a line is one write."""
    line = {"client": str(client), "version": str(version), "scenario": str(scenario), "ok": ok, "detail": one_line(detail)}
    with open(collection(), "ab", buffering=0) as out:
        out.write((json.dumps(line, sort_keys=True) + "\n").encode())


def record_test(node, client, version, scenario):
    """Appends how a test ended, from its own teardown; the test is pytest's node."""
    report = getattr(node, "report", None)
    failed = report is not None and report.failed
    # The first line that pytest would print in red.
    crash = getattr(getattr(report, "longrepr", None), "reprcrash", None) if failed else None
    record(client, version, scenario, not failed, crash.message if crash else "")


# Ports, UUIDs, and the eight digits that keep names of topics and groups apart.
VARYING = [
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
    (r"-[0-9a-f]{8}\b", "-ID"),
]


def one_line(detail, limit=300):
    """A detail that fits into a list: one line, and nothing in it that differs from run to run."""
    text = " ".join(str(detail).split())
    for pattern, instead in VARYING:
        text = re.sub(pattern, instead, text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def load(lines):
    """{(client, version): {scenario: (ok, detail)}}; the last result of a scenario stands."""
    found = {}
    for line in filter(str.strip, lines):
        r = json.loads(line)
        found.setdefault((r["client"], r["version"]), {})[r["scenario"]] = (r["ok"], r["detail"])
    return found


def natural(text):
    """Sorts 2.10 after 2.9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in re.findall(r"\d+|\D+", text)]


def in_order(found):
    return sorted(found.items(), key=lambda item: (natural(item[0][0]), natural(item[0][1])))


def mark(results, scenario):
    ok = results.get(scenario, (None, ""))[0]
    return {True: "yes", False: "**no**", None: "-"}[ok]


def page(found):
    lines = [HEAD, "| client | version | " + " | ".join(COLUMNS) + " |", "|" + " --- |" * (len(COLUMNS) + 2)]
    for (client, version), results in in_order(found):
        if not set(results) & set(COLUMNS):
            continue
        lines.append(f"| {client} | {version} | " + " | ".join(mark(results, column) for column in COLUMNS) + " |")
    lines += ["", "## What failed, and why", ""]
    failed = [(who, scenario, detail) for who, results in in_order(found) for scenario, (ok, detail) in sorted(results.items()) if ok is False]
    lines += [f"- {client} {version}, {scenario}: {detail or 'no reason given'}" for (client, version), scenario, detail in failed] or ["Nothing."]
    lines += ["", "## What else ran", ""]
    for (client, version), results in in_order(found):
        others = [f"{scenario} ({mark(results, scenario).strip('*')})" for scenario in sorted(results, key=natural) if scenario not in COLUMNS]
        if others:
            lines.append(f"- {client} {version}: {'; '.join(others)}")
    lines += ["", "## What a client does not have", ""]
    absent = [(who, scenario, detail) for who, results in in_order(found) for scenario, (ok, detail) in sorted(results.items()) if ok is None]
    lines += [f"- {client} {version}, {scenario}: {detail}" for (client, version), scenario, detail in absent] or ["Nothing."]
    return "\n".join(lines) + "\n"


def main(arguments):
    if arguments == ["--forget"]:
        collection().unlink(missing_ok=True)
        return 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        lines = collection().read_text().splitlines()
    except FileNotFoundError:
        print(f"{collection()} is not there: no test has recorded anything", file=sys.stderr)
        return 1
    PAGE.write_text(page(load(lines)))
    print(f"{PAGE}: {len(lines)} results")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
