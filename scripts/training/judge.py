#!/usr/bin/env python3
"""What a model card needs besides `squall eval`: a bias check, and a picture of the calibration.

usage: judge.py bias SQUALL MODEL                       a table: how far scores move with names
       judge.py calibration SQUALL MODEL DATA OUT.svg   probability given against share that is right

SQUALL is the program. Bias: names of companies, countries and people are swapped in fixed sentences of every label. A group's
lean is the mean of p(negative) - p(positive) over its sentences, less the mean over all groups; a flip is a sentence whose label
is not the one that most names get.
"""
import collections
import json
import statistics
import subprocess
import sys

GROUPS = {
    "company": {
        "invented": ["Velmora", "Tarnbrook", "Ostrel", "Kivara", "Dunlow"],
        "banks": ["JPMorgan", "HSBC", "Deutsche Bank", "Wells Fargo", "Santander"],
        "technology": ["Apple", "Microsoft", "Nvidia", "Samsung", "Intel"],
        "energy": ["ExxonMobil", "Shell", "BP", "Gazprom", "Petrobras"],
        "cars": ["Toyota", "Tesla", "Volkswagen", "Ford", "BYD"],
        "pharma": ["Pfizer", "Roche", "Novartis", "Bayer", "Moderna"],
        "retail and food": ["Walmart", "Nestle", "Carrefour", "Starbucks", "Tesco"],
        "with a loaded name": ["Best Buy", "Sunrise", "Progressive", "Virgin", "Blackwater"],
    },
    "country": {
        "western Europe": ["Germany", "France", "Spain", "Sweden", "Ireland"],
        "eastern Europe": ["Poland", "Ukraine", "Russia", "Romania", "Serbia"],
        "North America": ["the United States", "Canada", "Mexico"],
        "South America": ["Brazil", "Argentina", "Chile", "Venezuela", "Peru"],
        "Africa": ["Nigeria", "Kenya", "South Africa", "Ghana", "Egypt"],
        "Middle East": ["Iran", "Israel", "Saudi Arabia", "Lebanon", "Qatar"],
        "East Asia": ["China", "Japan", "South Korea", "Taiwan", "North Korea"],
        "South Asia": ["India", "Pakistan", "Bangladesh", "Sri Lanka", "Nepal"],
    },
    "person": {
        "English, women": ["Emily Clarke", "Sarah Miller", "Grace Hughes"],
        "English, men": ["James Clarke", "John Miller", "Peter Hughes"],
        "Arabic": ["Fatima Hassan", "Omar Khalil", "Ahmed Mansour"],
        "Chinese": ["Li Na", "Wang Wei", "Zhang Min"],
        "Indian": ["Priya Sharma", "Rahul Gupta", "Anil Reddy"],
        "Hispanic": ["Maria Garcia", "Carlos Lopez", "Juan Martinez"],
        "African": ["Amina Okafor", "Kwame Mensah", "Chidi Nwosu"],
        "Slavic": ["Olga Ivanova", "Ivan Petrov", "Milan Novak"],
    },
}
SENTENCES = {
    "company": {
        "negative": ["{} cuts its forecast for the year", "{} is being sued by former customers", "Fire halts production at a plant of {}",
                     "{} will lay off 900 people", "Rating agency puts {} on review for a downgrade"],
        "neutral": ["{} will publish its results on 14 May", "{} names a new head of training", "{} opens an office in Oslo",
                    "Shares of {} were unchanged", "{} is one of the sponsors of the fair"],
        "positive": ["{} raises its dividend", "{} wins a large order", "Profit of {} beat expectations",
                     "Regulator closes its inquiry into {}", "Analysts raise their price target for {}"],
    },
    "country": {
        "negative": ["Factory in {} closed after a fire, Velmora says", "Velmora loses its licence in {}", "Sales of Velmora in {} fell by a tenth"],
        "neutral": ["Velmora opens an office in {}", "Velmora will hold its meeting in {}", "The plant of Velmora in {} makes pumps"],
        "positive": ["Velmora wins a large order from {}", "Sales of Velmora in {} rose by a tenth", "Velmora is granted a licence in {}"],
    },
    "person": {
        "negative": ["Velmora dismisses its finance chief {}", "{}, chairman of Velmora, is charged with fraud", "{} leaves Velmora with immediate effect"],
        "neutral": ["Velmora appoints {} as head of sales", "{} will speak for Velmora at the conference", "{} has worked for Velmora since 2009"],
        "positive": ["{}, chief of Velmora, raises the outlook", "{} buys shares of Velmora worth 2m", "Under {} profit of Velmora has doubled"],
    },
}
BINS = 15


def score(squall, model, texts):
    lines = "".join(json.dumps({"text": text, "lang": "en"}) + "\n" for text in texts)
    done = subprocess.run([squall, "score", "--model", model], input=lines, capture_output=True, text=True, check=True)
    scores = [json.loads(line) for line in done.stdout.splitlines()]
    return [{name: one[f"p_{name}"] for name in ("negative", "neutral", "positive")} for one in scores]


def label(sentiment):
    return max(("negative", "neutral", "positive"), key=lambda name: sentiment[name])


def bias(squall, model):
    print("| Swapped | Group | Lean, mean | furthest | Labels that flip |\n| --- | --- | --- | --- | --- |")
    for kind, groups in GROUPS.items():
        cases = [(group, name, sentence) for group, names in groups.items() for name in names
                 for sentences in SENTENCES[kind].values() for sentence in sentences]
        scores = score(squall, model, [sentence.format(name) for _, name, sentence in cases])
        leans = collections.defaultdict(list)
        labels = collections.defaultdict(collections.Counter)
        for (group, name, sentence), sentiment in zip(cases, scores):
            leans[sentence].append(sentiment["negative"] - sentiment["positive"])
            labels[sentence][label(sentiment)] += 1
        usual = {sentence: counter.most_common(1)[0][0] for sentence, counter in labels.items()}
        mean = {sentence: statistics.fmean(values) for sentence, values in leans.items()}
        for group in groups:
            mine = [(s, sentiment) for (g, _, s), sentiment in zip(cases, scores) if g == group]
            lean = [sentiment["negative"] - sentiment["positive"] - mean[s] for s, sentiment in mine]
            flips = sum(label(sentiment) != usual[s] for s, sentiment in mine)
            print(f"| {kind} | {group} | {statistics.fmean(lean):+.3f} | {max(lean, key=abs):+.2f} | {flips} of {len(mine)} |")


def calibration(squall, model, data, out):
    rows = [json.loads(line) for line in open(data, encoding="utf-8")]
    rows = [row for row in rows if row.get("label")]
    scores = score(squall, model, [row["text"] for row in rows])
    pairs = sorted((max(s["negative"], s["neutral"], s["positive"]), label(s) == row["label"]) for s, row in zip(scores, rows))
    bins = [pairs[len(pairs) * n // BINS:len(pairs) * (n + 1) // BINS] for n in range(BINS)]
    points = [(statistics.fmean(p for p, _ in part), statistics.fmean(right for _, right in part), len(part)) for part in bins]
    error = sum(n * abs(p - right) for p, right, n in points) / len(pairs)

    def at(p, right):
        # From 0.3 to 1 on both axes.
        return 60 + (p - 0.3) / 0.7 * 340, 370 - (right - 0.3) / 0.7 * 340

    shapes = []
    for tick in (0.4, 0.6, 0.8, 1.0):
        (x, _), (_, y) = at(tick, 0.3), at(0.3, tick)
        shapes.append(f'<text x="{x:.0f}" y="390" text-anchor="middle">{tick:.1f}</text><text x="52" y="{y + 4:.0f}" text-anchor="end">{tick:.1f}</text>')
        shapes.append(f'<path d="M{x:.0f} 30V370M60 {y:.0f}H400" stroke="#ddd"/>')
    for p, right, _ in points:
        x, y = at(p, right)
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#0b62a3"/>')
    with open(out, "w", encoding="utf-8") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 420 430" font-family="sans-serif" font-size="12">'
                   f'<rect width="420" height="430" fill="#fff"/><path d="M60 370L400 30" stroke="#888" stroke-dasharray="4"/>{"".join(shapes)}'
                   f'<text x="230" y="412" text-anchor="middle">probability given</text>'
                   f'<text x="16" y="200" text-anchor="middle" transform="rotate(-90 16 200)">share that is right</text>'
                   f'<text x="60" y="20">{len(pairs)} texts, {BINS} bins of equal mass, calibration error {error:.3f}</text></svg>\n')
    print(f"{len(pairs)} texts, calibration error {error:.4f}: {out}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["bias"] and len(sys.argv) == 4:
        bias(*sys.argv[2:])
    elif sys.argv[1:2] == ["calibration"] and len(sys.argv) == 6:
        calibration(*sys.argv[2:])
    else:
        sys.exit(__doc__)
