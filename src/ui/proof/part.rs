//! A part of a proof. To play all answers of the course takes longer than a build may, so each
//! build plays a part of them, and builds of all parts together play all.
//!
//! Part K/N takes every Nth, beginning with the Kth, from a list of each lesson or lab:
//! - of a lesson, from its wrong answers and other ways. Its solution, and the commands in its
//!   text, are always played.
//! - of a lab, from its seeds. A seed is played with the solution, and with the other ways and
//!   wrong answers that were given to this seed (each is given to one seed for each fault). Seeds
//!   of the other parts are not played, not even with the solution. Where there are more parts than
//!   seeds, several parts have the same seed and share its answers.
//!
//! Every lesson and every lab has something in each part. What only all answers together can show
//! is not judged of a part, for example that each hint of a lesson fits after some wrong answer.

use std::str::FromStr;

/// Every Nth item of a list, beginning with the Kth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// K - 1.
    first: usize,
    /// N.
    every: usize,
}

impl Part {
    /// Leaves nothing out.
    #[cfg(test)]
    pub(crate) const ALL: Part = Part { first: 0, every: 1 };
    /// Tells how a part is written: the error of [`Part::from_str`].
    pub const FORM: &str = "write K/N: every Nth answer, beginning with the Kth, for example 2/3";

    pub(super) fn is_all(self) -> bool {
        self.every == 1
    }

    /// Returns the items that are in this part; at least one, unless the list is empty.
    ///
    /// Example: 2/3 of `[a, b, c, d, e]` is `[b, e]`, and of `[a]` it is `[a]`.
    pub(super) fn select<T>(self, all: Vec<T>) -> Vec<T> {
        let first = self.first.checked_rem(all.len()).unwrap_or_default();
        all.into_iter().skip(first).step_by(self.every).collect()
    }

    /// Returns the share of this part in the answers of a seed that it has [selected](Part::select)
    /// of `seeds`: itself, unless other parts have the same seed.
    ///
    /// Example: of two seeds the first one is in 1/5, 3/5 and 5/5, which play one third of its
    /// answers each, and the second one in 2/5 and 4/5, which play one half each.
    pub(super) fn share(self, seeds: usize) -> Part {
        if seeds == 0 || self.every <= seeds {
            return Part { first: 0, every: 1 };
        }
        let seed = self.first % seeds;
        Part { first: self.first / seeds, every: (self.every - seed).div_ceil(seeds) }
    }

    /// Returns the items that are in this part; none, if there are fewer than parts.
    pub(super) fn only<T>(self, all: Vec<T>) -> Vec<T> {
        all.into_iter().skip(self.first).step_by(self.every).collect()
    }
}

/// Says how many answers were played. If some were left out it says of how many, so that a reader
/// does not take the part for all.
pub(super) fn played(some: usize, all: usize) -> String {
    if some == all { all.to_string() } else { format!("{some} of {all}") }
}

impl FromStr for Part {
    type Err = String;

    /// # Errors
    /// It is not `K/N` with K from 1 to N.
    fn from_str(text: &str) -> Result<Part, String> {
        let part = text.split_once('/').and_then(|(which, every)| {
            let (which, every): (usize, usize) = (which.parse().ok()?, every.parse().ok()?);
            (1..=every).contains(&which).then(|| Part { first: which - 1, every })
        });
        part.ok_or_else(|| Part::FORM.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_all_together_and_none_is_empty() {
        let part = |text: &str| text.parse::<Part>().unwrap().select(vec!['a', 'b', 'c', 'd', 'e']);
        assert_eq!((part("1/3"), part("2/3"), part("3/3")), (vec!['a', 'd'], vec!['b', 'e'], vec!['c']));
        assert_eq!(part("1/1").len(), 5);
        let third: Part = "3/3".parse().unwrap();
        assert_eq!(
            (third.select(vec![1]), third.select(vec![1, 2]), third.select(Vec::<u8>::new())),
            (vec![1], vec![1], vec![])
        );
        assert!(!third.is_all() && Part::ALL.is_all() && "1/1".parse() == Ok(Part::ALL));
    }

    #[test]
    fn a_text_that_is_no_part_is_refused() {
        for text in ["", "1", "0/3", "4/3", "a/3", "1/", "1/0", "-1/3"] {
            assert!(text.parse::<Part>().is_err(), "{text}");
        }
    }
    /// Whatever the number of seeds and parts: no answer is left out, and none is played twice.
    #[test]
    fn parts_that_have_the_same_seed_share_its_answers() {
        for (seeds, parts) in [(1, 12), (2, 5), (5, 12), (6, 12), (7, 3), (4, 4)] {
            let mut played = Vec::new();
            for part in (1..=parts).map(|part| format!("{part}/{parts}").parse::<Part>().unwrap()) {
                let chosen = part.select((0..seeds).collect());
                let share = part.share(seeds);
                let answers =
                    chosen.iter().flat_map(|seed| share.only((0..5).map(|at| (*seed, at)).collect()));
                played.extend(answers);
            }
            played.sort_unstable();
            let all: Vec<(usize, usize)> = (0..seeds).flat_map(|s| (0..5).map(move |at| (s, at))).collect();
            assert_eq!(played, all, "{seeds} seeds in {parts} parts");
        }
    }
}
