//! Words that tell whether a name in a text is meant as an entity's.

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

/// Directly after a company's name: what companies do, and what only a name can be the subject of.
pub(super) static VERBS: Words = words!(
    "accelerates accepts accuses achieves acquires adapts added adds adjusts admits adopts advances agrees aims allows also announces appeals"
    "applies appoints approves asks attracts automates avoids awards axes backs bans beats becomes begins believes benefits bets blames blocks"
    "boosts borrows bows braces breaks brings broadens builds bulks buys calls can can't cancels cannot celebrates changes chooses cites claims"
    "climbed climbs closed closes combines comes commits competes completes concedes confirms considers continues could crashes creates"
    "cuts debuts declared declares declined declines defends defers delays delivers denies deploys did didn't disappoints discloses"
    "discontinues dismisses ditches divests does doesn't doubles downgraded drops dropped ducks earns edged eases eliminates embraces enables ended"
    "ends enters estimates exceeds executes expands expects explores extends eyes faces fails falls fell files finds fined fires flags"
    "forecasts forges freezes furloughs gained gains gathers gears gets gives goes grabs grapples grounds grows guides had halts has hasn't"
    "heads helps hikes hires hit hits hopes idles improves inaugurates increases inks insists integrates intends introduces invests is isn't"
    "issues joined joins jumped jumps just keeps kicks lacks laid lands launched launches lays leads leans learns leaves lets lifts limits lists"
    "logs looks loses lost lowers made maintains makes manages may meets merges might misses moved moves must named names nears needs"
    "notches offers opens orders outlines outpaces outperforms outsells overhauls overtakes owes owns parts partners passes pauses pays"
    "pitches plans pledges plummets plunged plunges points pops posted posts predicts prepares presents prevails prices projects promises"
    "promotes proposes provides pulls pursues pushes puts quits raised raises rallied rallies ramps reaches reaffirms rebounds recalled"
    "recalls recalling receives reclaims records recovers reduces refuses regains rejects rejoins releases relies remains removes renames"
    "reorganises replaces reported reports requires resolves responds restarts restates restores restricts restructures resumes"
    "retains retreats returns reveals revamps reviews revises rides rises rolls rose runs said sank saw says scales scraps seals secures"
    "sees seeks sells sends sets settles shares shed sheds shifts ships should shows shut shuts signals signs sinks skips slashes slid"
    "slides slipped slips slowed slows slumped slumps soared soars sold sounds spends spins splits spooks stands started starts stays steals"
    "steps stops strengthens strikes struck struggles stumbles submits sued sues suffers supports surged surges surpasses surprises suspends"
    "swings tackles takes talks targets taps teams tells terminates tests threatens ties told took tops touts trades trails trials tries trims"
    "triples trots tumbled tumbles turns undercuts unveils updates upgraded upgrades urges uses vows wants warned warns was wasn't weighs went were"
    "widens will wins withdraws won won't works would wraps writes"
);

/// Directly after a company's name: what companies have.
pub(super) static NOUNS: Words = words!(
    "boss bulls bears ceo cfo chair chairman chief competitor customers dealers deliveries director dividend earnings employees eps executive"
    "executives factory guidance holders investors ipo management margins merger options outlook parent plant profit profits puts q1 q2 q3"
    "q4 rating results revenue revenues rival rivals sales shareholders share shares staff stake stock stocks store stores subsidiary supplier suppliers"
    "takeover union unit workers"
);

/// Directly before a company's name: what it is, or who is at it.
pub(super) static ROLES: Words = words!(
    "acquirer airline automaker bank brand broker buy buying carmaker chain chipmaker company competitor conglomerate consultant"
    "developer drugmaker fund giant group insurer insurers lender lenders maker manufacturer miner operator owner owns parent"
    "partner producer provider retailer retailers rival rivals sell selling seller shareholder short startup sue sued sues supplier telecom telco tech utility"
    "versus vs"
);

/// Anywhere near: what is said of companies and markets, and of little else.
pub(super) static MARKET: Words = words!(
    "acquisition acquisitions advertising analyst analysts annual antitrust bankruptcy billion board bond bonds boycott brand broker buyback buybacks"
    "capital ceo cfo chief chipmaker coo company company's consumer costs customers deal dealmaking debt demand dividend dividends earnings ebitda"
    "employees eps estimates executive executives factory fiscal forecast fund funds growth guidance headcount hiring invested investor"
    "investors ipo jobs launch lawsuit layoffs lender listing loss losses margin margins market markets merger million monopoly"
    "nasdaq nyse outlook overweight outperform plant portfolio product products profit profits q1 q2 q3 q4 quarter quarterly rally rating recall"
    "regulator regulators restructuring results retail retailer revenue revenues sales sec selloff settlement share shareholder shareholders shares short"
    "staff stake stock stocks store stores subscribers sue sued suppliers takeover tariff tariffs theft trading underperform underweight unit"
    "valuation workers"
);

/// In the sentence of a name that begins it: what is said of listed companies only.
pub(super) static LISTED: Words = words!(
    "buyback dividend downgrade downgraded ebitda eps ipo outperform overweight premarket shareholder shareholders stock's underperform underweight"
    "upgrade upgraded"
);

/// Directly after the name of an index, a currency or a commodity: how it moves.
pub(super) static MOVES: Words = words!(
    "adds advance advances at back below bounce bounces breaks bulls bears climb climbed climbs closed closes collapses crashes crawls cuts decline declines dips dives"
    "down drifts drop dropped drops ease eased eases edge edged edges edging ekes end ended ends extend extends fall fallen falling falls"
    "fell finish finishes firm firmer firms flat futures gain gained gaining gains gives grinds halts held higher hit hits hold holding holds hovers"
    "jump jumped jumps keeps lose loses losses lower mixed move moves narrowly nears nudges nurses off opens paces pares pauses peaks plummets plunge plunged plunges"
    "pulls rallied rallies rally range-bound rangebound rate rates rebound rebounds recoups recovers regains remain remains resumes"
    "retreat retreats rise rises rising roars rose sags scales set settle settled settles shaky shed sheds sink sinks skids slide slides sliding slip slipped slips"
    "slump slumps snaps soar soared soars soften softens spike spiked spikes stabilises stabilizes stands steadies steady strength strengthen strengthens stretches strikes stuck stumbles"
    "subdued succumbs supported surge surged surges swings takes tests top tops touches trades trims tumble tumbled tumbles turns under up volatility wavers weaken weakens weakness wilts wobbles"
);

/// Directly before the name of an index, a currency or a commodity: how it stands.
pub(super) static STATES: Words = words!(
    "against cheaper falling firm firmer flat higher lower retreating rising slumping soaring soft softer spot stable strengthening strong stronger tumbling"
    "versus volatile vs weak weakening weaker april august december february january july june march may november october september"
);

/// Directly after the name of a commodity: those who make it. They are meant, not the commodity.
pub(super) static MAKERS: Words = words!(
    "companies company digger explorer explorers firm giant giants maker makers major majors miner miners mogul producer producers rig rigs"
    "smuggler smugglers trader"
);

/// Directly before a name: a person's title. What follows is a person.
pub(super) static TITLES: Words = words!(
    "actor actress agent author captain chairman coach dame dr general governor judge justice king lady lord madam mayor minister miss"
    "mister mr mrs ms officer premier president prince princess professor queen rep representative sen senator sheriff singer sir striker"
);

/// Directly before a currency's name: numbers in words. What is counted is money, not the currency.
pub(super) static NUMBERS: Words = words!(
    "a bn billion billions crore eight few fifty five four half hundred hundreds k lakh m many million millions mln mn more nine one seven six"
    "ten thousand thousands three trillion trillions twenty two"
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
