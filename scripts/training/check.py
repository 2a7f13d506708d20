#!/usr/bin/env python3
"""Checks data/training/*.jsonl and data/corrections.jsonl; prints what they hold.

    check.py [--counts] [--samples N] [PUBLIC...]

Fails where a text occurs twice, has an unknown label, no label or no type, names an entity that it does not contain
or one twice; where a correction is malformed; where a text is one of the PUBLIC files too. --counts prints texts by
type and label, --samples N texts of each type to read.
"""

import argparse
import collections
import json
import pathlib
import random
import re
import sys

DATA = pathlib.Path(__file__).resolve().parents[2] / "data"
LABELS = {"negative", "neutral", "positive"}


def lines(path):
    """The rows of a JSON Lines file with their numbers from 1."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            yield number, json.loads(line)


def problems_of(row):
    text, entities = row.get("text"), row.get("entities", [])
    if not isinstance(text, str) or not text.strip() or text != text.strip() or "\n" in text:
        yield "no text, or space around it"
        return
    if re.search(r"[{}<>~\[\]]|  ", text) and not re.search(r"p ?<", text):
        yield "looks like an unfilled template"
    if "label" not in row and not entities:
        yield "neither label nor entities"
    if not row.get("type"):
        yield "no type"
    if row.get("label", "neutral") not in LABELS:
        yield "unknown label"
    names = [entity["name"] for entity in entities]
    if len(names) != len(set(names)):
        yield "an entity twice"
    for entity in entities:
        if entity["label"] not in LABELS or not entity["name"] or entity["name"] not in text:
            yield f"entity {entity}"


def shape(row):
    """A text without its names and numbers."""
    text = row["text"]
    for entity in row.get("entities", []):
        text = text.replace(entity["name"], "X")
    return re.sub(r"[\d.,]+", "0", text.lower())


def grams(row, length=4):
    words = shape(row).split()
    return {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}


def sameness(rows):
    """Share of texts whose shape another has too, and distinct 4-grams a text."""
    shapes = collections.Counter(map(shape, rows))
    distinct = set().union(*map(grams, rows))
    return sum(shapes[shape(row)] > 1 for row in rows) / len(rows), len(distinct) / len(rows)


def count(rows):
    counts = collections.defaultdict(collections.Counter)
    for row in rows:
        counts[row["type"]][row.get("label", "by entity")] += 1
    print("| Type | negative | neutral | positive | by entity only |\n| --- | --- | --- | --- | --- |")
    for kind in sorted(counts):
        print(f"| {kind} |", " | ".join(str(counts[kind][label]) for label in (*sorted(LABELS), "by entity")), "|")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", action="store_true")
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("public", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()

    bad, seen, everything = [], {}, []
    for path in arguments.public:
        for number, row in lines(path):
            seen[row["text"]] = f"{path}:{number}"
    for path in sorted((DATA / "training").glob("*.jsonl")):
        rows = []
        for number, row in lines(path):
            place = f"{path.name}:{number}"
            bad += [f"{place}: {problem}: {row}" for problem in problems_of(row)]
            if row["text"] in seen:
                bad.append(f"{place}: also in {seen[row['text']]}: {row['text']}")
            seen[row["text"]] = place
            rows.append(row)
        labels = collections.Counter(row.get("label", "by entity") for row in rows)
        conflicting = sum(len({entity["label"] for entity in row.get("entities", [])}) > 1 for row in rows)
        same, distinct = sameness(rows)
        print(
            f"{path.name}: {len(rows)} texts, {dict(sorted(labels.items()))}, {conflicting} whose entities disagree, "
            f"{same:.0%} share their shape, {distinct:.1f} distinct 4-grams a text"
        )
        everything += rows

    keys = set()
    for number, correction in lines(DATA / "corrections.jsonl"):
        key = correction["sha256"], correction.get("entity")
        known = {correction["label"], correction["was"]} <= LABELS and correction["label"] != correction["was"]
        if not known or key in keys or not re.fullmatch("[0-9a-f]{64}", key[0]) or not correction["reason"]:
            bad.append(f"corrections.jsonl:{number}: {correction}")
        keys.add(key)
    print(f"corrections.jsonl: {len(keys)} labels")

    if arguments.counts:
        count(everything)
    if arguments.samples:
        by_type = collections.defaultdict(list)
        for row in everything:
            by_type[row["type"]].append(row)
        for kind, rows in sorted(by_type.items()):
            for row in random.Random(kind).sample(rows, min(arguments.samples, len(rows))):
                named = "; ".join(f"{entity['name']}: {entity['label']}" for entity in row.get("entities", []))
                print(kind, row.get("label", "?"), row["text"], named, sep="\t")
    if bad:
        sys.exit("\n".join(bad[:40] + [f"{len(bad)} problems"]))


if __name__ == "__main__":
    main()
