//! The texts: files of sections, a heading `[name]` before each, one frame a line. Lines before the first heading
//! say what the file is.

use super::dice::Dice;
use std::collections::BTreeMap;

const FILES: [(&str, &str); 6] = [
    ("words", include_str!("words.txt")),
    ("social", include_str!("social.txt")),
    ("news", include_str!("news.txt")),
    ("crisis", include_str!("crisis.txt")),
    ("campaign", include_str!("campaign.txt")),
    ("odd", include_str!("odd.txt")),
];

/// All frames by section, a section being called `file/name`.
pub(super) struct Script(BTreeMap<String, Section>);

#[derive(Default)]
struct Section {
    frames: Vec<&'static str>,
    /// What is left of the shuffled frames.
    deck: Vec<&'static str>,
}

impl Script {
    /// Reads the files that are compiled in.
    pub fn read() -> Self {
        let mut sections: BTreeMap<String, Section> = BTreeMap::new();
        for (file, text) in FILES {
            let mut heading = None;
            for line in text.lines().filter(|line| !line.is_empty()) {
                if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                    heading = Some(format!("{file}/{name}"));
                } else if let Some(heading) = &heading {
                    sections
                        .entry(heading.clone())
                        .or_default()
                        .frames
                        .push(line);
                }
            }
        }
        Self(sections)
    }

    /// All frames of a section in the order of the file, none when there is no such section.
    pub fn section(&self, name: &str) -> &[&'static str] {
        self.0.get(name).map_or(&[], |section| &section.frames)
    }

    /// A frame of a section; none comes again before all have been dealt.
    pub fn deal(&mut self, name: &str, dice: &mut Dice) -> &'static str {
        let Some(section) = self.0.get_mut(name) else {
            return "";
        };
        if section.deck.is_empty() {
            section.deck.clone_from(&section.frames);
            dice.shuffle(&mut section.deck);
        }
        section.deck.pop().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_section_is_dealt_out_before_a_frame_comes_again() {
        let (mut script, mut dice) = (Script::read(), Dice::new(1));
        let frames = script.section("social/joke").len();
        let dealt: HashSet<_> = (0..frames)
            .map(|_| script.deal("social/joke", &mut dice))
            .collect();
        assert_eq!(dealt.len(), frames);
        assert!(dealt.contains(script.deal("social/joke", &mut dice)));
    }

    #[test]
    fn there_are_hundreds_of_frames_and_none_twice() {
        let script = Script::read();
        let frames: Vec<_> = script
            .0
            .iter()
            .filter(|(name, _)| !name.starts_with("words/"))
            .flat_map(|(_, section)| &section.frames)
            .collect();
        assert!(frames.len() > 600, "{}", frames.len());
        assert_eq!(frames.iter().collect::<HashSet<_>>().len(), frames.len());
    }
}
