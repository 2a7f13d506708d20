"""What fills the slots of the grammars: amounts, dates, places, reasons, products, people, names of companies."""

import re

from names import FORMS, SECTORS, WORDS

AGENCIES = ("Moody's", "S&P", "Fitch", "DBRS", "Scope")
BROKERS = ("Harcourt", "Danforth Securities", "Mercer Lane", "Bray & Co", "Tolland Partners", "Vance Research")
AUTHORITIES = (
    "SEC", "FDA", "EU Commission", "European regulator", "Central bank", "Competition authority", "FCA", "BaFin",
    "Markets watchdog", "Finance ministry", "EMA", "Trade regulator",
)  # fmt: skip
CURRENCIES = ("$", "€", "£", "EUR ", "USD ", "GBP ", "SEK ", "CHF ", "Rs ", "C$", "A$", "NOK ", "DKK ", "PLN ")
UNITS = ("m", "mn", " million", " mln", "bn", " billion")

LISTS = {
    "place": "Oslo|Leeds|Turin|Lagos|Chile|Texas|Poland|Vietnam|Gdansk|Lyon|Osaka|Peru|Ohio|Kenya|Bavaria|Seoul|Utrecht|"
    "Porto|Tampere|Brazil|Perth|Cork|Malmo|Ghana|Alberta|Hanoi|Quebec|Lille|Izmir|Manila|Bristol|Gujarat|Nevada|"
    "Egypt|Romania|Dubai|Zurich|Finland|Jakarta|Mexico",
    "month": "January|February|March|April|May|June|July|August|September|October|November|December",
    "day": "Monday|Tuesday|Wednesday|Thursday|Friday",
    "period": "Q1|Q2|Q3|Q4|the quarter|the first quarter|the third quarter|the half-year|the year|the nine months|2025",
    "quarter": "Q1|Q2|Q3|Q4|first-quarter|second-quarter|third-quarter|first-half|full-year|nine-month|quarterly",
    "talks": "talks with lenders|rescue talks|talks with a buyer|negotiations with banks|a refinancing",
    "badreason": "weak demand|higher costs|falling prices|a price war|lost customers|supply trouble|tariffs|rising debt|"
    "slow sales|cancelled orders|a strike|bad weather|weak consumer|soft advertising|project losses|"
    "thin margins|stiff competition|a failed launch|bad loans|cash burn",
    "goodreason": "strong demand|lower costs|higher prices|new customers|market share gains|falling debt|record orders|"
    "export growth|cost savings|good harvest|robust sales|better margins|cash generation|new products|"
    "a big contract|recovering travel|busy shops|rising volumes",
    "macrobad": "weak demand|ample supply|a firm dollar|profit-taking|growth worries|higher output|mild weather",
    "macrogood": "strong demand|tight supply|a soft dollar|short-covering|output cuts|restocking|cold weather",
    "misdeed": "fraud|bribery|price fixing|money laundering|false accounting|insider trading|mis-selling|tax evasion|"
    "data misuse|safety breaches|toxic waste|misleading investors|sanctions breaches|patent infringement|"
    "emissions cheating|unpaid wages|cartel|market abuse|forged invoices",
    "defect": "brake fault|fire risk|salmonella|faulty airbags|glass splinters|battery overheating|contamination|"
    "steering defect|mould|software fault|choking hazard|sharp edges",
    "claimants": "shareholders|former employees|customers|patients|tenants|suppliers|investors|a pension fund|farmers",
    "agency": "the regulator|the agency|the ministry|the exchange|the authority",
    "group": "a state fund|investors|a private equity firm|its founder|a pension fund|a family office|a bank group",
    "buyer": "the navy|a German carmaker|the city of Lyon|a Danish utility|a hospital group|the ministry|an airline|"
    "a US retailer|the post office|a mining group|a Spanish builder|a telecom operator|the railway|a brewery",
    "product": "turbines|pumps|software|ferries|trams|cables|batteries|vaccines|radar|packaging|cranes|boilers|chips|"
    "uniforms|sensors|lifts|solar panels|transformers|lenses|seats|steel pipes|paper machines|furniture",
    "topic": "hydrogen|batteries|logistics|payments|heat pumps|cloud services|recycling|digital health|shipping|"
    "training|packaging|data exchange|mobility",
    "person": "Anna Moser|Rui Falcao|Lotte Vos|Ove Lie|Maria Oduya|Tom Akande|Ilse Marten|Kenji Mori|Priya Nair|"
    "Jan Smit|Eva Lund|Omar Haddad|Lucia Rey|Piotr Zielski|Grace Owusu|Mats Berg|Nina Petrov|Carlos Ibarra",
    "firm": "Harlan & Moss|Big Four firm|Quist Audit|Bell Corrie",
    "commodity": "gold|copper|wheat|oil|Brent|cotton|cocoa|zinc|sugar|soybean futures|palm oil|nickel|the euro|the yen|"
    "silver|coffee|natural gas|the rupee|aluminium|rubber futures|the index|Nordic stocks|bank shares",
    "macro": "Higher oil|Rate cut|New tariff|Weak krona|Cold winter|Strong dollar|Cheap gas|Drought|Rate rise",
    "cents": "0.02|0.03|0.04|0.05|0.07|0.08|0.11|0.12|0.15|0.18|0.21|0.26",
}
LISTS = {slot: tuple(choices.split("|")) for slot, choices in LISTS.items()}


# Sentences beside the matter: they change no label.
BESIDE = (
    "The company is based in <place>.",
    "The group employs <count2> hundred people in <place>.",
    "Founded in <oldyear>, it has offices in <place> and <place>.",
    "A call for analysts will be held on <day>.",
    "The statement was made on <day> in <place>.",
    "It makes <product> and <product>.",
    "The company could not be reached on <day>.",
    "More will be said on <date>, the company added.",
    "It was listed in <oldyear>.",
    "Shares are traded in <place>.",
)


def money(rng, units):
    """A currency and a unit that goes with it."""
    currency = rng.choice(CURRENCIES)
    return currency, rng.choice((" crore", " lakh", " cr") if currency == "Rs " else units)


def amount(rng):
    """An amount of money with its currency and unit."""
    currency, unit = money(rng, UNITS)
    number = rng.choice((1.2, 2.5, 3, 4, 7.5, 8, 12, 14.6, 18, 25, 40, 65, 90, 120, 210, 340, 600))
    if "b" in unit and number > 20:
        number = round(number / 40, 1)
    return f"{currency}{number:g}{unit}"


def pair(rng):
    """Two amounts in one currency and unit, the lower first."""
    low = rng.choice((0.4, 0.9, 1.1, 1.7, 2.3, 3.2, 4.8, 5.6, 7.1, 9.4, 12.3, 16, 21.5, 33, 48, 74, 120))
    high = low * rng.choice((1.05, 1.1, 1.2, 1.3, 1.5, 1.8, 2.2, 3))
    currency, unit = money(rng, ("m", "mn", " mn", " million", "bn", "k", " mln", " m"))
    write = (lambda n: f"{currency}{n:.0f}{unit}") if low >= 16 else (lambda n: f"{currency}{n:.1f}{unit}")
    return (write(low), write(high)) if write(low) != write(high) else pair(rng)


def number(slot, rng):
    """The fillers that are numbers."""
    price = rng.choice((4, 7.5, 12, 18, 24, 31, 45, 60, 88, 120))
    return {
        "money": lambda: amount(rng),
        "pct": lambda: f"{rng.choice((2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 14, 17, 20, 23, 28, 35))}{rng.choice(('%', '%', ' percent', ' pc'))}",
        "smallpct": lambda: f"{rng.choice((0.3, 0.5, 0.8, 1, 1.2, 1.5, 2, 2.5, 3))}{rng.choice(('%', '%', ' percent'))}",
        "premium": lambda: f"{rng.choice((18, 22, 25, 30, 34, 40, 55))}%",
        "count": lambda: rng.choice(("120", "300", "450", "800", "1,100", "2,400", "5,000", "75", "640", "1,750")),
        "count2": lambda: rng.choice(("two", "three", "four", "five", "six", "seven", "nine", "12", "18")),
        "bigcount": lambda: rng.choice(("4,200", "12,000", "30,000", "85,000", "140,000", "1.2 million", "2 million", "3.4m")),
        "small": lambda: str(rng.randint(3, 60)),
        "year": lambda: str(rng.randint(2026, 2034)),
        "oldyear": lambda: str(rng.randint(1890, 2024)),
        "date": lambda: f"{rng.randint(1, 28)} {rng.choice(LISTS['month'])}",
        "px": lambda: f"{price:g}",
        "pxhigher": lambda: f"{price * rng.choice((1.1, 1.25, 1.4)):.0f}" if price >= 12 else f"{price + 3:g}",
        "pxlower": lambda: f"{price * rng.choice((0.6, 0.75, 0.85)):.0f}" if price >= 12 else f"{price - 2:g}",
        "dps": lambda: f"{rng.choice((0.05, 0.1, 0.12, 0.18, 0.25, 0.4, 0.55, 1.1)):.2f}",
    }.get(slot)  # fmt: skip


def fill(text, rng):
    """Fills every <slot>; a slot with a capital gives a capital. Prices and pairs of one text belong together."""
    low, high = pair(rng)
    state = rng.getstate()

    def one(match):
        slot = match[1].lower()
        if slot in ("low", "high"):
            return low if slot == "low" else high
        if slot.startswith("px"):
            rng_of_text.setstate(state)
            return number(slot, rng_of_text)()
        filler = rng.choice(LISTS[slot]) if slot in LISTS else number(slot, rng)()
        return filler[0].upper() + filler[1:] if match[1][0].isupper() else filler

    rng_of_text = type(rng)()
    text = re.sub(r"<B2>", lambda _: rng.choice(("newcomers", "cheaper brands", "online shops")), text)
    return re.sub(r"<([A-Za-z]+[0-9]?)>", one, text)


def ticker(word, rng):
    """A ticker that could be the company's."""
    letters = [letter for letter in word.upper() if letter not in "AEIOU"] or list(word.upper())
    return "$" + "".join(([word[0].upper()] + letters[1:] + list("XYZ"))[: rng.choice((3, 4, 4))])


def name(role, rng, taken):
    """A name for a role: company, agency or broker, authority, or what a chat calls a company."""
    while True:
        word = rng.choice(WORDS)
        if role == "G":
            found = rng.choice(AGENCIES + BROKERS)
        elif role == "K":
            found = rng.choice(AGENCIES)
        elif role in "CD":
            found = rng.choice(LISTS["commodity"])
        elif role == "R":
            found = rng.choice(AUTHORITIES)
        elif role == "T":
            found = ticker(word, rng) if rng.random() < 0.7 else word
        else:
            kind = rng.random()
            found = word
            if kind < 0.45:
                found = f"{word} {rng.choice(SECTORS)}"
            elif kind < 0.55:
                found = f"{word} {rng.choice(FORMS)}"
            elif kind < 0.62:
                found = ticker(word, rng)
        if not any(found in other or other in found for other in taken):
            return found
