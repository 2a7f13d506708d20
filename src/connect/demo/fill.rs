//! Frames filled: what stands for each slot.

use super::CAMPAIGN;
use super::cast::Company;
use super::stage::Stage;

const CAMPAIGN_PAGE: &str = "https://strideholm.example/dawnrunner";

impl Stage {
    /// A frame of the section, filled for the company.
    pub fn line(&mut self, section: &str, company: usize) -> String {
        let frame = self.script.deal(section, &mut self.dice);
        self.fill(frame, company)
    }

    /// Fills the slots of a frame: `{3-12}` is a number, `{go search}` the campaign's link for a channel, others are a
    /// word of the company or of `words.txt`. Equal slots get equal values, unknown ones stay.
    pub fn fill(&mut self, frame: &str, company: usize) -> String {
        let mut filled = String::new();
        let mut values: Vec<(&str, String)> = Vec::new();
        let mut rest = frame;
        while let Some((before, (slot, after))) = rest
            .split_once('{')
            .and_then(|(before, tail)| Some((before, tail.split_once('}')?)))
        {
            filled.push_str(before);
            let known = values.iter().position(|(name, _)| *name == slot);
            let place = known.unwrap_or_else(|| {
                values.push((slot, self.value(slot, company)));
                values.len() - 1
            });
            filled.push_str(&values[place].1);
            rest = after;
        }
        filled.push_str(rest);
        capitalised(&filled)
    }

    fn value(&mut self, slot: &str, company: usize) -> String {
        if let Some((Ok(low), Ok(high))) = slot
            .split_once('-')
            .map(|(low, high)| (low.parse(), high.parse()))
        {
            return grouped(self.dice.between(low, high));
        }
        if let Some(channel) = slot.strip_prefix("go ") {
            return format!("{CAMPAIGN_PAGE}?utm_source={channel}&utm_campaign={CAMPAIGN}");
        }
        let cast = &self.companies[company];
        match slot {
            "co" => match self.dice.below(100) {
                0..45 => cast.short.clone(),
                45..78 => format!("${}", cast.id),
                78..90 => cast.name.clone(),
                _ => cast.id.clone(),
            },
            "name" => cast.short.clone(),
            "full" => cast.name.clone(),
            "tag" => format!("${}", cast.id),
            "boss" => cast.boss.clone(),
            "city" => cast.city.clone(),
            "peers" => cast.peers.clone(),
            "product" => {
                let products: Vec<&str> = cast.products.split('|').collect();
                (*self.dice.pick(&products)).to_owned()
            }
            "price" => {
                let cents = cast.price * self.dice.between(9_700, 10_300) / 100;
                format!("${}.{:02}", cents / 100, cents % 100)
            }
            "rival" => {
                let others: Vec<&Company> = self
                    .companies
                    .iter()
                    .filter(|other| other.sector == cast.sector && other.id != cast.id)
                    .collect();
                match others.is_empty() {
                    true => self.companies[0].short.clone(),
                    false => self.dice.pick(&others).short.clone(),
                }
            }
            _ => match self.word(slot) {
                "" => format!("{{{slot}}}"),
                word => word.to_owned(),
            },
        }
    }

    /// One of the words of that name in `words.txt`, empty when there is none.
    pub fn word(&mut self, name: &str) -> &'static str {
        match self.script.section(&format!("words/{name}")) {
            [] => "",
            words => self.dice.pick::<&str>(words),
        }
    }
}

/// With a comma between thousands from 10,000 on: years have none.
fn grouped(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    #[test]
    fn equal_slots_get_equal_values_and_unknown_ones_stay() {
        let mut stage = Stage::new(Timestamp::EPOCH);
        let company = stage.company("TEPT");
        let text = stage.fill("{1-1000000} {1-1000000} {no such slot} {full}", company);
        let words: Vec<&str> = text.splitn(3, ' ').collect();
        assert_eq!(words[0], words[1]);
        assert_eq!(words[2], "{no such slot} Teapot Beverages");
        assert_eq!(stage.fill("a { b", company), "A { b");
    }

    #[test]
    fn years_have_no_comma_and_thousands_have() {
        assert_eq!(grouped(2026), "2026");
        assert_eq!(grouped(12_007), "12,007");
    }
}
