"""Turns pytest's JUnit file into one line a test file: name, passed, failed, skipped, seconds. Standard library only."""

import collections
import sys
import xml.etree.ElementTree as ElementTree


def rows(path):
    suites = collections.OrderedDict()
    for case in ElementTree.parse(path).iter("testcase"):
        parts = case.get("classname", "").split(".")
        name = "/".join(parts[-2:]) if len(parts) > 1 else case.get("name", "?")
        row = suites.setdefault(name, [0, 0, 0, 0.0])
        outcomes = {child.tag for child in case}
        column = 1 if outcomes & {"failure", "error"} else 2 if "skipped" in outcomes else 0
        row[column] += 1
        row[3] += float(case.get("time", 0))
    return suites


if __name__ == "__main__":
    for name, (passed, failed, skipped, seconds) in rows(sys.argv[1]).items():
        print(name, passed, failed, skipped, round(seconds))
