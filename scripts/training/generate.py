#!/usr/bin/env python3
"""Writes data/training/generated.jsonl from the grammars beside it: the same seed, the same texts.

A line of a grammar is a sign and a template. The sign is the label of the document (+, -, =, or ? for none); in the
template (a|b) is a choice, [a|b] one that may be left out, <slot> a filler, {A} or {B} a company with the sign's label,
{+A} one with a label of its own; {K} is a rating agency, {G} a broker or agency, {R} an authority, {T} a ticker or
company in a chat, {C} and {D} commodities, currencies and indices.
"""

import collections
import hashlib
import json
import pathlib
import random
import re
import sys

import figures
import slots

HERE = pathlib.Path(__file__).resolve().parent
OUTPUT = HERE.parents[1] / "data" / "training" / "generated.jsonl"
LABELS = {"+": "positive", "-": "negative", "=": "neutral"}
SEED = "squall"
# Texts a template may give at most, and how many for each doubling of the texts that it could give; neutral ones give
# more, since most of what comes in is neutral, and so do those of several entities.
MOST, EACH, MORE = 9, 0.9, 1.7
FIGURES = 1400
SEVERAL = ("rivals", "creditors", "takeover", "dispute", "markets")
CHATS = ("slang", "sarcasm", "customers say")


def templates():
    """Kind, sign and template of every line of every grammar."""
    for path in sorted(HERE.glob("grammar/*.txt")):
        kind = None
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("# "):
                kind = line[2:]
            elif line:
                yield kind, line[0], line[2:]


def ways(template):
    """How many texts a template could give, its fillers apart."""
    count = 1
    for optional, choices in re.findall(r"([(\[])([^()\[\]]*)[)\]]", template):
        count *= len(choices.split("|")) + (optional == "[")
    return count


def choose(template, rng):
    """Decides every (a|b) and [a|b], innermost first."""

    def one(match):
        choices = match[0][1:-1].split("|")
        if match[0][0] == "[":
            choices = ["", ""] + choices
        return rng.choice(choices)

    while re.search(r"[(\[]", template):
        template = re.sub(r"\([^()\[\]]*\)|\[[^()\[\]]*\]", one, template)
    return template


def fill(sign, template, rng):
    """One text of a template with its entities, or None where it came out badly."""
    text = choose(template, rng)
    names, entities = {}, []

    def company(match):
        own, role = match[1] or sign, match[2]
        if role not in names:
            name = slots.name(role, rng, set(names.values()))
            names[role] = name if match.start() else name[0].upper() + name[1:]
            entities.append({"name": names[role], "label": LABELS[own]})
        return names[role]

    text = re.sub(r"\{([-+=]?)([A-Z])\}", company, text)
    text = slots.fill(text, rng)
    text = re.sub(r"\s+", " ", text).replace(" ,", ",").replace("~", "").strip()
    return text, entities


def finish(text, entities, sign, rng, chat):
    """The text as it may come in: as a headline, a sentence, a post; a chat only as a post. The same for all labels."""
    style = rng.choice((rng.uniform(0, 0.6), rng.uniform(0.86, 1))) if chat else rng.random()
    keep = tuple(entity["name"] for entity in entities)
    if style < 0.62 or text.startswith("$"):
        text = text[0].upper() + text[1:] if not text.startswith(keep) else text
    elif style < 0.70:
        text = rng.choice(("BREAKING: ", "UPDATE 1-", "Just in: ", "JUST IN: ", "News: ", "RPT-", "Flash: ")) + text
    elif style < 0.78:
        text = text + rng.choice((" - Reuters", " - report", ": FT", " (Dow Jones)", " - source", " via @newswire"))
    elif style < 0.82:
        text = text if text.endswith(("?", ".")) else text + "."
    elif style < 0.86:
        text = (text if text.endswith(("?", ".")) else text + ".") + " " + slots.fill(rng.choice(slots.BESIDE), rng)
    elif style < 0.92:
        text = text + rng.choice((" #stocks", " #markets", " #news", " #finance #trading", " #investing"))
    else:
        first = text.split(" ")[0]
        text = text if text.startswith(keep) or not first.isalpha() else first.lower() + text[len(first) :]
    row = {"text": text}
    if sign != "?":
        row["label"] = LABELS[sign]
    if entities:
        row["entities"] = entities
    return row


def words(text, entities):
    """A text without its names and numbers: what sameness is judged by."""
    for entity in entities:
        text = text.replace(entity["name"], "X")
    return re.sub(r"[\d.,]+", "0", text.lower()).split()


def generate():
    rng = random.Random(SEED)
    rows, texts, shapes = [], set(), collections.Counter()

    def take(kind, sign, text, entities, of_one_shape):
        shape = " ".join(words(text, entities))
        if text in texts or shapes[shape] >= of_one_shape or any(entity["name"] not in text for entity in entities):
            return False
        texts.add(text)
        shapes[shape] += 1
        rows.append({**finish(text, entities, sign, rng, kind in CHATS), "type": kind})
        return True

    for kind, sign, template in templates():
        more = MORE if sign in "=?" or kind in SEVERAL else 1
        wanted = round(more * min(MOST, 4 + EACH * ways(template).bit_length()))
        for _ in range(wanted * 4):
            wanted -= take(kind, sign, *fill(sign, template, rng), of_one_shape=2)
            if not wanted:
                break
    wanted = FIGURES
    while wanted:
        sign, text, entities = figures.comparison(rng)
        wanted -= take("figures", sign, text, entities, of_one_shape=3)
    rows.sort(key=lambda row: hashlib.sha256(row["text"].encode()).digest())
    return rows


def main():
    rows = generate()
    OUTPUT.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{len(rows)} texts in {OUTPUT}", file=sys.stderr)


if __name__ == "__main__":
    main()
