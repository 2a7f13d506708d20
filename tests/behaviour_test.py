"""The behavioural suites are what tests/behaviour/README.md says they are.

    python3 -m unittest tests/behaviour_test.py

Each check returns what is wrong, so that the tests at the end can show that it finds what it is for.
"""

import copy
import json
import re
import unittest
from collections import Counter
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "behaviour"
SUITE, UNSEEN = FOLDER / "suite.jsonl", FOLDER / "unseen.jsonl"
LABELS = {"negative", "neutral", "positive"}
EVENTS = (
    "insolvency default rating probe departure accident recall cyber litigation regulation guidance results dilution "
    "layoffs strike trial broken-deal liquidity supply"
).split()
TRAPS = "negation numbers narrowing-loss falling-costs risk-averted sarcasm slang cashtags emoji questions".split()
TYPES = {*EVENTS, *(f"{event}-good" for event in EVENTS), *TRAPS, "neutral"}
FIELDS = {"id", "type", "text", "label", "entities", "pair"}


def read(path):
    """The cases of a file, in its order."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def only_label(kind):
    """The label that every case of this type has, or None where the type holds several."""
    if kind in TRAPS:
        return None
    if kind == "neutral":
        return "neutral"
    return "positive" if kind.endswith("-good") else "negative"


def frame(text):
    """The text without what a template would fill in: names, tickers and figures."""
    first, *rest = re.sub(r"[$\w]*\d[\w.,]*|\$\w+", "#", text).split()
    return " ".join([first.lower(), *(word for word in rest if not word[:1].isupper())])


def wrong_cases(cases, prefix=""):
    """What is wrong with single cases."""
    found = []
    for case in cases:
        place = case.get("id", "a case without id")
        if not {"id", "type", "text", "label"} <= case.keys() <= FIELDS:
            found.append(f"{place}: fields {sorted(case)}")
            continue
        if case["type"] not in TYPES:
            found.append(f"{place}: unknown type {case['type']}")
        elif not re.fullmatch(rf"{prefix}{case['type']}-\d{{3}}", place):
            found.append(f"{place}: the id does not tell the type {case['type']}")
        elif case["label"] != (only_label(case["type"]) or case["label"]):
            found.append(f"{place}: {case['label']} in a type that holds another label")
        if case["label"] not in LABELS:
            found.append(f"{place}: unknown label {case['label']}")
        if not case["text"].strip() or case["text"] != case["text"].strip():
            found.append(f"{place}: empty text, or space around it")
        names = [entity["name"] for entity in case.get("entities", [])]
        if "entities" in case and not names or len(set(names)) < len(names):
            found.append(f"{place}: no entities, or one twice")
        found += [f"{place}: {name} is not in the text" for name in names if name not in case["text"]]
        found += [f"{place}: unknown entity label" for e in case.get("entities", []) if e["label"] not in LABELS]
    return found


def wrong_pairs(cases):
    """Pairs that lead nowhere, to the case itself, or by label contradict being one."""
    ids = {case["id"] for case in cases}
    return [
        f"{case['id']}: pair {case['pair']}"
        for case in cases
        if "pair" in case and (case["pair"] not in ids or case["pair"] == case["id"])
    ]


def repeated(cases):
    """Ids and texts that stand twice, and texts of no pair that differ only in names and figures."""
    found = [f"id {id} twice" for id, times in Counter(case["id"] for case in cases).items() if times > 1]
    seen, frames = {}, {}
    for case in cases:
        text = " ".join(re.findall(r"\w+", case["text"].lower())) or case["text"]
        if text in seen and case.get("pair") != seen[text]:
            found.append(f"{case['id']}: the text of {seen[text]}")
        seen.setdefault(text, case["id"])
        shape = frame(case["text"])
        other = frames.setdefault(shape, case)
        pair = case.get("pair") == other["id"] or other.get("pair") == case["id"]
        if other is not case and not pair and len(shape.split()) >= 4:
            found.append(f"{case['id']}: alike {other['id']} but for names and figures")
    return found


def wrong_counts(readme, suite, unseen):
    """Rows of the README's table of types that do not agree with the files."""
    told = {m[1]: (int(m[2]), int(m[3])) for m in re.finditer(r"^\| `([a-z-]+)` \| (\d+) \| (\d+) \|", readme, re.M)}
    have = {kind: tuple(sum(case["type"] == kind for case in cases) for cases in (suite, unseen)) for kind in TYPES}
    found = [f"{kind}: README {told.get(kind)}, files {have[kind]}" for kind in sorted(TYPES) if told.get(kind) != have[kind]]
    for name, cases in (("suite", suite), ("unseen", unseen)):
        labels = Counter(case["label"] for case in cases)
        entities = sum("entities" in case for case in cases)
        row = f"| `{name}.jsonl` | {len(cases)} | {labels['negative']} / {labels['neutral']} / {labels['positive']} | {entities} |"
        if row not in readme:
            found.append(f"README lacks: {row}")
    return found


class Suites(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.suite, cls.unseen = read(SUITE), read(UNSEEN)

    def test_sizes(self):
        self.assertGreaterEqual(len(self.suite), 800)
        self.assertGreaterEqual(len(self.unseen), 300)
        for cases in (self.suite, self.unseen):
            self.assertEqual({case["type"] for case in cases}, TYPES)
            for trap in TRAPS:
                self.assertGreater(len({case["label"] for case in cases if case["type"] == trap}), 1, trap)

    def test_cases(self):
        self.assertEqual(wrong_cases(self.suite) + wrong_cases(self.unseen, "unseen-"), [])

    def test_pairs(self):
        self.assertEqual(wrong_pairs(self.suite) + wrong_pairs(self.unseen), [])

    def test_nothing_twice(self):
        self.assertEqual(repeated(self.suite + self.unseen), [])

    def test_readme(self):
        readme = (FOLDER / "README.md").read_text(encoding="utf-8")
        self.assertEqual(wrong_counts(readme, self.suite, self.unseen), [])


class ChecksFind(unittest.TestCase):
    """Each check fails on the fault that it is for."""

    def setUp(self):
        self.cases = copy.deepcopy(read(SUITE))

    def test_faulty_cases(self):
        faults = [
            {"label": "bad"},
            {"label": "positive"},
            {"type": "insolvencies"},
            {"type": "default"},
            {"text": " "},
            {"entities": []},
            {"entities": [{"name": "Nobody", "label": "negative"}]},
            {"comment": "x"},
        ]
        for fault in faults:
            with self.subTest(fault=fault):
                self.assertNotEqual(wrong_cases([{**self.cases[0], **fault}]), [])

    def test_faulty_pairs(self):
        for pair in ("insolvency-999", self.cases[0]["id"]):
            self.assertNotEqual(wrong_pairs([{**self.cases[0], "pair": pair}, *self.cases[1:]]), [])

    def test_repeats(self):
        case = {"id": "results-900", "text": "Quarterly profit at Halmar fell 12 % because of the weather"}
        self.assertNotEqual(repeated([case, case]), [])
        self.assertNotEqual(repeated([case, {"id": "results-901", "text": case["text"].upper()}]), [])
        swapped = {"id": "results-901", "text": case["text"].replace("Halmar", "Ostrev").replace("12", "31")}
        self.assertNotEqual(repeated([case, swapped]), [])
        self.assertEqual(repeated([case, {**swapped, "pair": case["id"]}]), [])

    def test_counts(self):
        readme = (FOLDER / "README.md").read_text(encoding="utf-8")
        self.assertNotEqual(wrong_counts(readme, self.cases[1:], read(UNSEEN)), [])


if __name__ == "__main__":
    unittest.main()
