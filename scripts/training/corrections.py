#!/usr/bin/env python3
"""Corrections of labels in the public training data: find candidates, record decisions, count them.

The data may not be copied, so `data/corrections.jsonl` has the SHA-256 of each exact text, not the text. A person
reads every candidate and decides it by docs/labelling.md; nothing here decides.

    corrections.py candidates FOLDER [--of RULE]   texts worth reading: file:line, labels, text
    corrections.py record FOLDER < DECISIONS       writes data/corrections.jsonl
    corrections.py check FOLDER                    every correction fits a text and its label; counts per rule

FOLDER has headlines-train.jsonl and tweets-train.jsonl. A decision is one line, fields parted by tabs:
FILE:LINE, label, rule, and the entity where the text has several.
"""

import argparse
import collections
import hashlib
import json
import pathlib
import re
import sys

FILES = ("headlines-train", "tweets-train")
CORRECTIONS = pathlib.Path(__file__).resolve().parents[2] / "data" / "corrections.jsonl"
LABELS = ("negative", "neutral", "positive")

# Rows of docs/labelling.md that decide; each with the words of texts it may decide, and the labels to look at.
RULES = {
    "insolvency and default": (r"bankrupt|insolv|default|collaps|noncompliance|non-compliance", "neutral positive"),
    "restructuring": (r"restructur|debt recast|bondholder", "neutral positive"),
    "layoffs and closures": (r"layoff|lays off|job cuts|clos(es|ing)|suspend|shut", "neutral positive"),
    "plain net loss": (r"\bloss(es)?\b", "neutral positive"),
    "loss that changes": (r"loss.*(narrow|shrink|halve)|(narrow|halve).*loss", "neutral negative"),
    "up and down": (r"\b(up|down|rises?|falls?|gains?|slips?|low|high|record)\b", "neutral positive negative"),
    "number without direction": (r"(profit|net|PAT) (at|of)", "positive"),
    "against expectation": (r"beat|miss|consensus|in-line|estimates", "neutral positive"),
    "guidance and forecasts": (r"guidance|outlook|forecast|expect|likely|may|can", "neutral positive"),
    "dividend": (r"dividend", "neutral positive negative"),
    "buyback": (r"buy-?back|repurchase", "neutral"),
    "shares and bonds": (r"rights|offering|convertible|QIP|FPO|share (sale|issue)|preferential", "neutral positive"),
    "credit rating": (r"affirm|reaffirm|moody|fitch", "positive"),
    "analysts": (r"maintain|reiterat|retain|bull|bear|target", "neutral positive negative"),
    "people": (r"resign|quits?\b|exit|steps? down|leave|depart", "neutral"),
    "probe, lawsuit, accident, strike": (
        r"prob(e|es)\b|investigat|fraud|scam|lawsuit|court|settle|fine|recall|fire|accident|strike|arrest|accus",
        "neutral positive",
    ),
    "contracts, orders, approvals, trials": (r"wins?\b|order|contract|award|approv|nod\b|study|FDA|delay", "neutral"),
    "launches, openings and notices": (r"open|launch|present|award|plan|invest", "positive negative"),
    "takeovers": (r"acqui|bid\b|takeover", "negative"),
    "authorities and onlookers": (r"sebi|moody|sells|buys", "positive negative"),
    "rumour and risk": (r"may\b|could|looms|threat|worr|risk", "neutral"),
    "good and bad together": (r"but|despite|;", "neutral positive"),
    "negation and risk averted": (r"\bnot?\b|n't|unlikely|well ring-fenced", "neutral negative"),
}


def read(folder):
    """The labelled texts of a folder: file, line from 1, text, labels by entity (None: the document)."""
    for name in FILES:
        with open(pathlib.Path(folder) / f"{name}.jsonl", encoding="utf-8") as file:
            for line, content in enumerate(file, 1):
                row = json.loads(content)
                labels = {entity["name"]: entity["label"] for entity in row.get("entities") or []}
                if "label" in row:
                    labels[None] = row["label"]
                yield name, line, row["text"], labels


def words(text):
    return frozenset(re.findall(r"[a-z0-9$]+", re.sub(r"https?://\S+", "", text.lower())))


def conflicting_near_duplicates(rows, alike=0.7):
    """Pairs of texts of one file that share most of their words and differ in their labels."""
    by_word = collections.defaultdict(list)
    bags = [words(row[2]) for row in rows]
    for number, bag in enumerate(bags):
        for word in bag:
            by_word[word].append(number)
    for number, bag in enumerate(bags):
        shared = collections.Counter(
            other for word in bag if len(by_word[word]) < 400 for other in by_word[word] if other < number
        )
        for other, _ in shared.items():
            similarity = len(bag & bags[other]) / len(bag | bags[other])
            same_file = rows[number][0] == rows[other][0]
            differ = set(rows[number][3].values()) != set(rows[other][3].values())
            if same_file and differ and similarity >= alike:
                yield rows[other], rows[number]


def show(row):
    name, line, text, labels = row
    said = "; ".join(f"{entity or 'document'}: {label}" for entity, label in labels.items())
    print(f"{name}:{line}", said, " ".join(text.split()), sep="\t")


def candidates(rows, rule):
    if rule is None:
        for pair in conflicting_near_duplicates(rows):
            for row in pair:
                show(row)
            print()
    for name, (pattern, labels) in RULES.items():
        if rule not in (None, name):
            continue
        print(f"# {name}")
        for row in rows:
            if re.search(pattern, row[2], re.IGNORECASE) and set(row[3].values()) & set(labels.split()):
                show(row)


def digest(text):
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def record(rows, decisions):
    places = {(name, line): (text, labels) for name, line, text, labels in rows}
    corrections = {}
    for decision in filter(None, map(str.strip, decisions)):
        place, label, rule, *entity = decision.split("\t")
        name, line = place.rsplit(":", 1)
        text, labels = places[name, int(line)]
        entity = entity[0] if entity else (next(iter(labels)) if len(labels) == 1 else None)
        if rule not in RULES or label not in LABELS or entity not in labels:
            sys.exit(f"{decision!r}: no such rule, label or entity ({list(labels)})")
        if labels[entity] == label:
            sys.exit(f"{decision!r}: it has this label already")
        correction = {"sha256": digest(text), "label": label, "was": labels[entity], "reason": rule}
        if entity is not None:
            correction = {"sha256": correction["sha256"], "entity": entity, **correction}
        if corrections.setdefault((correction["sha256"], entity), correction) != correction:
            sys.exit(f"{decision!r}: decided twice, differently")
    ordered = sorted(corrections.values(), key=lambda c: (c["reason"], c["sha256"], c.get("entity", "")))
    CORRECTIONS.write_text("".join(json.dumps(c, ensure_ascii=False) + "\n" for c in ordered), encoding="utf-8")
    print(f"{len(ordered)} corrections in {CORRECTIONS}")


def check(rows):
    labels_of = collections.defaultdict(list)
    for name, _, text, labels in rows:
        labels_of[digest(text)].append((name, labels))
    counts = collections.Counter()
    for number, line in enumerate(CORRECTIONS.read_text(encoding="utf-8").splitlines(), 1):
        correction = json.loads(line)
        for name, labels in labels_of.get(correction["sha256"]) or [("no text has this hash", {})]:
            was = labels.get(correction.get("entity"))
            if was != correction["was"]:
                sys.exit(f"{CORRECTIONS}:{number}: {name}: the label is {was}")
            counts[correction["reason"], name, correction["was"], correction["label"]] += 1
    for (rule, name, was, label), count in sorted(counts.items()):
        print(f"{rule}\t{name}\t{was} -> {label}\t{count}")
    print(f"total\t{sum(counts.values())}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("candidates", "record", "check"))
    parser.add_argument("folder")
    parser.add_argument("--of", choices=tuple(RULES), help="one rule only")
    arguments = parser.parse_args()
    rows = list(read(arguments.folder))
    if arguments.command == "candidates":
        candidates(rows, arguments.of)
    elif arguments.command == "record":
        record(rows, sys.stdin)
    else:
        check(rows)


if __name__ == "__main__":
    main()
