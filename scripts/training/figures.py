"""Texts whose numbers decide: what was, what is, and for whom more is better."""

import slots

# What is measured: (name, is more better).
MEASURES = tuple(
    (name, better)
    for better, names in (
        (True, "net sales|sales|revenue|turnover|operating profit|net profit|profit before taxes|pretax profit|EBIT|"
         "EBITDA|net income|order intake|order book|order backlog|gross profit|operating income|cash flow|"
         "free cash flow|rental income|premium income|interest income|adjusted profit|orders received|"
         "comparable sales"),
        (False, "net debt|operating costs|loan losses|energy costs|claims|impairments|operating expenses|"
         "inventories|interest costs|bad debt|material costs|warranty costs|provisions for bad loans"),
    )
    for name in names.split("|")
)  # fmt: skip
RATES = tuple(
    (name, better)
    for better, names in (
        (True, "operating margin|gross margin|EBITDA margin|market share|occupancy|load factor|return on equity|"
         "capacity use|net interest margin|customer retention"),
        (False, "churn|vacancy rate|default rate|combined ratio|cost-income ratio|scrap rate|bad loan ratio|"
         "unit costs per sale"),
    )
    for name in names.split("|")
)  # fmt: skip
COUNTS = (
    "passengers", "subscribers", "customers", "cars sold", "tonnes shipped", "users", "parcels", "hotel nights",
    "homes sold",
)  # fmt: skip

LOSSES = ("net loss", "loss", "pretax loss", "loss before taxes", "quarterly loss")
UP = "rose|grew|increased|climbed|went up|advanced|improved|jumped|was up"
DOWN = "fell|declined|decreased|dropped|went down|slipped|shrank|slid|was down"
PERIODS = (
    "in the first quarter|in the second quarter|in the third quarter|in the last quarter|in January-March|in April-June|"
    "in the first half|in the first nine months|for the full year|in the review period|in the period|in the year"
).split("|")
EARLIER = (
    "a year earlier|a year ago|in the year-earlier period|in the same period last year|in the corresponding period|"
    "the year before|last year|in the comparable period|in the previous year"
).split("|")


def values(rng):
    """What is measured, whether more of it is better, and a lower and a higher value of it."""
    kind = rng.random()
    if kind < 0.68:
        measure, better = rng.choice(MEASURES)
        return measure, better, *slots.pair(rng)
    if kind < 0.88:
        measure, better = rng.choice(RATES)
        low = rng.uniform(2, 60)
        unit = rng.choice(("%", " %", " percent", " per cent"))
        return measure, better, f"{low:.1f}{unit}", f"{low + rng.uniform(0.5, 6):.1f}{unit}"
    low = rng.randint(11, 900)
    return rng.choice(COUNTS), True, f"{low},000", f"{low + max(2, low * rng.randint(3, 30) // 100)},000"


def earnings_per_share(rng):
    low = rng.randint(4, 240) / 100
    currency = rng.choice(("$", "EUR ", "€", "SEK ", ""))
    return "earnings per share", True, f"{currency}{low:.2f}", f"{currency}{low + rng.randint(2, 60) / 100:.2f}"


def comparison(rng):
    """A text of figures: its sign, the text and its entity."""
    name = slots.name("A", rng, set())
    measure, better, low, high = earnings_per_share(rng) if rng.random() < 0.1 else values(rng)
    plural = measure.endswith("s") and measure != "profit before taxes" or measure in COUNTS
    was = "were" if plural else "was"
    period, earlier = rng.choice(PERIODS), rng.choice(EARLIER)
    kind = rng.random()
    if kind < 0.12:
        return loss(rng, name)
    if kind < 0.34:
        return plain(rng, name, measure, low, was, period)
    rises = rng.random() < 0.5
    now, then = (high, low) if rises else (low, high)
    verb = rng.choice((UP if rises else DOWN).split("|")).replace("was ", f"{was} ")
    Measure = measure[0].upper() + measure[1:]
    if kind < 0.44:
        return against_expectation(rng, name, measure, better, rises, now, then, was)
    frames = [
        f"{name} {measure} {verb} to {now} from {then}",
        f"{name}'s {measure} {verb} to {now} {period} from {then} {earlier}",
        f"{Measure} of {name} {verb} to {now} from {then} {earlier}",
        f"{Measure} at {name} {verb} from {then} to {now}",
        f"{name} said its {measure} {verb} to {now} {period}, compared with {then} {earlier}",
        f"{Measure} {verb} to {now} {period}, {name} reports; {earlier} {'they' if plural else 'it'} {was} {then}",
        f"{period[0].upper()}{period[1:]} {measure} of {name} {was} {now} ({then})",
        f"{name}: {measure} {now} ({then})",
        f"{name} {measure} {now} vs {then} {earlier}",
        f"{Measure} of {name} totalled {now}, compared to {then} {earlier}",
        f"{Measure} of {name} amounted to {now} against {then} {earlier}",
        f"{name} reported {measure} of {now} {period}, {'up' if rises else 'down'} from {then}",
        f"{name} posts {measure} of {now} versus {then} {earlier}",
        f"{earlier[0].upper()}{earlier[1:]} the {measure} of {name} {was} {then}; now {now}",
        f"{name} {measure} {'up' if rises else 'down'} at {now} from {then}",
        f"{'Higher' if rises else 'Lower'} {measure} at {name}: {now} after {then}",
        f"Compared with {then} {earlier}, {measure} at {name} {verb} to {now} {period}",
        f"{name} {period}: {measure} {now}, {earlier} {then}",
    ]  # fmt: skip
    sign = "+" if rises == better else "-"
    return sign, rng.choice(frames), [{"name": name, "label": "positive" if sign == "+" else "negative"}]


def against_expectation(rng, name, measure, better, more, now, expected, was):
    """A value against what analysts expected of it."""
    frames = [
        f"{name} {measure} {now} vs {expected} expected",
        f"{name}: {measure} of {now}; consensus {expected}",
        f"{measure[0].upper()}{measure[1:]} at {name} {was} {now}, analysts had expected {expected}",
        f"{name} {measure} {now}, {'above' if more else 'below'} the {expected} forecast",
        f"{name} reports {measure} of {now} versus estimate of {expected}",
        f"{name} {measure} came in at {now}, the Street was looking for {expected}",
    ]
    sign = "+" if more == better else "-"
    return sign, rng.choice(frames), [{"name": name, "label": "positive" if sign == "+" else "negative"}]


def plain(rng, name, measure, value, was, period):
    """A value without a direction: alone, or the same as before."""
    Measure = measure[0].upper() + measure[1:]
    frames = [
        f"{Measure} of {name} {was} {value} {period}",
        f"{name} {measure} {value}",
        f"{name}'s {measure} {was} {value}",
        f"{name} reported {measure} of {value} {period}",
        f"{Measure} of {name} amounted to {value}",
        f"{Measure} at {name} totalled {value} {period}",
        f"{name} {measure} unchanged at {value}",
        f"{name}: {measure} {value} ({value})",
        f"{Measure} of {name} {was} {value}, as {rng.choice(EARLIER)}",
        f"{name} posts {measure} of {value} {period}",
        f"{name} {measure} {value}, in line with expectations",
        f"{Measure} of {name} remained at the level of the year before, {value}",
    ]
    return "=", rng.choice(frames), [{"name": name, "label": "neutral"}]


def loss(rng, name):
    """A loss: alone or wider it is bad, narrower or gone it is good."""
    low, high = slots.pair(rng)
    what, period, earlier = rng.choice(LOSSES), rng.choice(PERIODS), rng.choice(EARLIER)
    profit = what.replace("loss", "profit")
    kind = rng.choice(("alone", "wider", "narrower", "into", "out of"))
    now, then = (high, low) if kind == "wider" else (low, high)
    verbs = "widened|grew|rose|increased" if kind == "wider" else "narrowed|shrank|fell|decreased"
    verb = rng.choice(verbs.split("|"))
    frames = {
        "alone": (
            f"{name} posted a {what} of {low} {period}",
            f"{name} {what} {low}",
            f"{what.capitalize()} of {name} was {low} {period}",
            f"{name} reports {what} of {low}",
        ),
        "into": (
            f"{name} made a {what} of {low} {period} after a {profit} of {high} {earlier}",
            f"{name}: {what} {low}, {earlier} {profit} {high}",
            f"{name} slipped to a {what} of {low} from a {profit} of {high}",
        ),
        "out of": (
            f"{name} made a {profit} of {low} {period} after a {what} of {high} {earlier}",
            f"{name}: {profit} {low}, {earlier} {what} {high}",
            f"{name} returned to a {profit} of {low} from a {what} of {high}",
        ),
    }
    changed = (
        f"{name} {what} {verb} to {now} from {then}",
        f"{what.capitalize()} of {name} {verb} to {now} {period} from {then} {earlier}",
        f"{name}: {what} {now} ({then})",
        f"{name} reported a {what} of {now} {period}, compared with a {what} of {then} {earlier}",
        f"The {what} of {name} was {now}, {earlier} it was {then}",
    )
    sign = "+" if kind in ("narrower", "out of") else "-"
    text = rng.choice(frames.get(kind, changed))
    return sign, text, [{"name": name, "label": "positive" if sign == "+" else "negative"}]
