//! Who is talked about, and who talks.

use super::dice::Dice;
use super::script::Script;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A company with what the frames need of it.
#[derive(Deserialize)]
pub(super) struct Company {
    pub id: String,
    /// Posts on a quiet day, in relation to the other companies'.
    pub rate: u64,
    /// Price of a share in dollars.
    pub price: u64,
    /// The name people use.
    pub short: String,
    /// Separated by `|`.
    pub products: String,
    pub boss: String,
    pub city: String,
    /// What its competitors and itself are called together.
    pub peers: String,
    /// Name in the dictionary.
    #[serde(skip)]
    pub name: String,
    /// Sector in the dictionary.
    #[serde(skip)]
    pub sector: String,
}

/// The companies of `cast.csv`, with name and sector from the dictionary.
pub(super) fn companies() -> Vec<Company> {
    #[derive(Deserialize)]
    struct Entry {
        id: String,
        name: String,
        sector: String,
    }
    let entries: BTreeMap<String, Entry> = rows(super::dictionary_csv())
        .map(|entry: Entry| (entry.id.clone(), entry))
        .collect();
    rows(include_str!("cast.csv"))
        .map(|mut company: Company| {
            if let Some(entry) = entries.get(&company.id) {
                company.name.clone_from(&entry.name);
                company.sector.clone_from(&entry.sector);
            }
            company
        })
        .collect()
}

/// The rows of a table that is compiled in.
fn rows<T: serde::de::DeserializeOwned>(text: &'static str) -> impl Iterator<Item = T> {
    csv::Reader::from_reader(text.as_bytes())
        .into_deserialize()
        .map(|row| row.expect("tables that are compiled in can be read"))
}

/// Someone who posts.
pub(super) struct Person {
    pub handle: String,
    pub followers: u64,
    /// Ends posts with an emoji.
    pub emoji: bool,
    /// Adds hashtags.
    pub hashtags: bool,
    /// Leaves out the last full stop.
    pub casual: bool,
}

/// So many people, most with few followers and few with very many.
pub(super) fn crowd(size: usize, script: &Script, dice: &mut Dice) -> Vec<Person> {
    let (first, second, names) = (
        script.section("words/first"),
        script.section("words/second"),
        script.section("words/name"),
    );
    let mut people = BTreeMap::new();
    while people.len() < size {
        let number = dice.between(1, 99);
        let handle = match dice.below(5) {
            0 => format!("{}{}", dice.pick(first), dice.pick(second)),
            1 => format!("{}_{}", dice.pick(first), dice.pick(second)),
            2 => format!("{}_{}{number}", dice.pick(names), dice.pick(second)),
            3 => format!("{}{}{number}", dice.pick(first), dice.pick(names)),
            _ => format!("the{}{}", dice.pick(first), dice.pick(second)),
        };
        let mut followers = dice.between(20, 400);
        while followers < 2_000_000 && dice.chance(48) {
            followers = followers * 2 + dice.below(followers);
        }
        people.insert(
            handle.clone(),
            Person {
                handle,
                followers,
                emoji: dice.chance(18),
                hashtags: dice.chance(15),
                casual: dice.chance(30),
            },
        );
    }
    let mut people: Vec<Person> = people.into_values().collect();
    dice.shuffle(&mut people);
    people
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_company_is_in_the_dictionary_and_its_sector_has_frames() {
        let script = Script::read();
        for company in companies() {
            assert!(!company.name.is_empty(), "{}", company.id);
            let section = format!("social/{}", company.sector);
            assert!(script.section(&section).len() > 4, "{section}");
        }
    }

    #[test]
    fn the_busiest_company_has_twenty_times_the_posts_of_the_quietest() {
        let rates: Vec<u64> = companies().iter().map(|company| company.rate).collect();
        assert_eq!(
            rates.iter().max().copied(),
            rates.iter().min().map(|rate| rate * 20)
        );
    }

    #[test]
    fn most_people_have_few_followers_and_some_very_many() {
        let people = crowd(1_000, &Script::read(), &mut Dice::new(1));
        let mut followers: Vec<u64> = people.iter().map(|person| person.followers).collect();
        followers.sort_unstable();
        assert!(followers[500] < 1_000, "{}", followers[500]);
        assert!(followers[999] > 100_000, "{}", followers[999]);
    }
}
