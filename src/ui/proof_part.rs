//! A part of a proof: a course is proved in some minutes, and all of it after some days.

use std::str::FromStr;

/// Every so many-th of the answers, beginning with one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 0; less than `every`.
    first: usize,
    every: usize,
}

impl Part {
    /// No answer is left out.
    pub const ALL: Part = Part { first: 0, every: 1 };

    pub(super) fn is_all(self) -> bool {
        self.every == 1
    }

    /// Those that are in this part. Something always is, if there is anything.
    ///
    /// Example: 2/3 of `[a, b, c, d, e]` is `[b, e]`, and of `[a]` it is `[a]`.
    pub(super) fn of<T>(self, all: Vec<T>) -> Vec<T> {
        let first = self.first.checked_rem(all.len()).unwrap_or_default();
        all.into_iter().skip(first).step_by(self.every).collect()
    }
}

/// How many answers were played. Of a part it says of how many, so that nobody takes it for all.
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
        part.ok_or_else(|| "write K/N: every Nth answer, beginning with the Kth, for example 2/3".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_all_together_and_none_is_empty() {
        let part = |text: &str| text.parse::<Part>().unwrap().of(vec!['a', 'b', 'c', 'd', 'e']);
        assert_eq!((part("1/3"), part("2/3"), part("3/3")), (vec!['a', 'd'], vec!['b', 'e'], vec!['c']));
        assert_eq!(part("1/1").len(), 5);
        let third: Part = "3/3".parse().unwrap();
        assert_eq!(
            (third.of(vec![1]), third.of(vec![1, 2]), third.of(Vec::<u8>::new())),
            (vec![1], vec![1], vec![])
        );
        assert!(!third.is_all() && Part::ALL.is_all() && "1/1".parse() == Ok(Part::ALL));
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for text in ["", "1", "0/3", "4/3", "a/3", "1/", "1/0", "-1/3"] {
            assert!(text.parse::<Part>().is_err(), "{text}");
        }
    }
}
