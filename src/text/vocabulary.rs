//! Words that tell whether a name in a text is meant as a company's.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Words of this field, looked up folded.
pub(super) struct Words(LazyLock<HashSet<&'static str>>);

impl Words {
    pub(super) fn contains(&self, folded: &str) -> bool {
        self.0.contains(folded)
    }
}

macro_rules! words {
    ($($list:literal)*) => {
        Words(LazyLock::new(|| [$($list),*].iter().flat_map(|list| list.split(' ')).collect()))
    };
}

/// Directly after a company's name: what companies do, in headlines and reports.
pub(super) static VERBS: Words = words!(
    "accuses acquires adds admits agrees aims announces appeals appoints approves asks awards axes backs bans beats begins bets blames"
    "boosts borrows bows braces builds buys calls cancels ceo claims climbs closes completes confirms considers crashes cuts debuts declares"
    "declines defends defers delays delivers denies discloses ditches divests doubles downgraded drops eases ends enters expands expects explores"
    "extends faces fails falls files fined fires flags forecasts freezes gains gives grounds grows guides halts hikes hires hit hits idles"
    "inks introduces invests issues joins jumps keeps launches leads lets lifts loses lowers makes merges misses moves named names nears"
    "needs offers opens orders outsells outlines overtakes owes partners pauses pays pitches plans pledges plummets plunges posts prepares prices"
    "projects promises promotes pulls pushes raises rallies rebounds recalls recalling rejects releases removes rents reorganises replaces reported"
    "reports restates resumes retreats reveals rises rolls said says scales scraps sees seeks sells sets settles shares sheds ships shuts signs"
    "sinks slashes slides slips slows slumps soars spends spins sues sued suffers surges suspends swings takes targets teams tells tests threatens"
    "added climbed closed declined dropped edged ended fell gained jumped lost plunged rose sank shed slid slipped slumped soared surged tumbled"
    "tops touts trims tumbles unveils upgraded upgrades urges wants warned warns wins withdraws would"
);

/// Directly after a company's name: what companies have.
pub(super) static NOUNS: Words = words!(
    "boss bulls bears calls cfo chair chairman chief competitor customers debt dealers deliveries dividend earnings employees eps executive"
    "executives factory guidance holders investors ipo management margins memory merger options outlook parent plant posts profit profits puts q1 q2 q3"
    "q4 rating results revenue rival rivals sales shareholders share shares staff stake stock stocks stores subsidiary supplier suppliers"
    "takeover union unit workers"
);

/// Directly before a company's name: what it is, or who is at it.
pub(super) static ROLES: Words = words!(
    "acquirer airline apple-supplier automaker bank brand broker buy buying carmaker chain chipmaker company competitor conglomerate consultant"
    "conglomerate developer drugmaker fund giant group insurer insurers lender lenders maker manufacturer miner operator owner owns parent"
    "partner producer provider retailer retailers rival rivals sell selling seller shareholder short startup sue sued sues supplier telecom telco tech utility"
    "versus vs"
);

/// Anywhere near: what is said of companies and markets, and of little else.
pub(super) static MARKET: Words = words!(
    "acquisition acquisitions advertising analyst analysts annual antitrust bankruptcy billion board bond bonds boycott brand broker buyback buybacks"
    "capital ceo cfo chief chipmaker coo company company's consumer costs customers deal dealmaking debt demand dividend dividends earnings ebitda"
    "employees eps estimates executive executives factory fiscal forecast fund funds growth guidance headcount hiring invested investor"
    "investors ipo jobs launch lawsuit layoffs lender listing loss losses margin margins market markets mds merger million monopoly"
    "nasdaq nyse outlook overweight outperform plant portfolio product products profit profits q1 q2 q3 q4 quarter quarterly rally rating recall"
    "regulator regulators restructuring results retail retailer revenue revenues sales sec selloff settlement share shareholder shareholders shares short"
    "staff stake stock stocks store stores subscribers sue sued suppliers takeover tariff tariffs theft trading underperform underweight unit"
    "valuation workers"
);

/// Directly before a name: a person's title. What follows is a person.
pub(super) static TITLES: Words = words!(
    "actor actress agent author captain chairman coach dame director general governor judge justice king lady lord madam mayor minister miss mister mr mrs ms"
    "officer premier president prince princess professor queen rep representative sen senator sheriff singer sir striker dr"
);

/// Around a currency's name: numbers in words. What is counted is money, not the currency.
pub(super) static NUMBERS: Words = words!(
    "a one two three four five six seven eight nine ten twenty fifty hundred thousand million billion trillion bn mln mn m k crore lakh few per-"
    "half many more"
);

/// After a hyphen: the name still means the company.
pub(super) static TIED: Words = words!(
    "backed based branded built controlled developed founded funded led linked listed made maker owned parent run supplier suppliers"
);

/// After a hyphen: something that only resembles it.
pub(super) static ALIKE: Words = words!("esque free ish like shaped sized style type");

/// Capitalised wherever they stand.
pub(super) static CALENDAR: Words = words!(
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september october november december"
    "christmas easter"
);
