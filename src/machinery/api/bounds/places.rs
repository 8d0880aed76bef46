//! How many places of a pattern may be under way at once. Matching keeps a table of the sets of
//! places that it has met. If the table grows too large, it looks at every place for each byte of
//! the text: `[ab]*a[ab]{1000}` has a thousand of them, and 2^1000 sets.
//!
//! A class or character that is repeated counts as often as it is repeated, unless a text can enter
//! it at one place only:
//!
//! ```text
//! [ab]*a[ab]{1000}                       1000
//! a{3}(b{10}c){2}                        25    a group that is repeated counts with all it has
//! ^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$   0     each text has one way to the repetition
//! ^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*$  63    of the second one: the first may have any length
//! ```

/// The number of characters and classes in a part of a pattern. One that is repeated counts as
/// often as it is repeated.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// All of them.
    all: usize,
    /// Those that are repeated.
    repeated: usize,
    /// Those that are repeated and that a text can enter at several places.
    live: usize,
}

impl Part {
    const ONE: Part = Part { all: 1, repeated: 0, live: 0 };

    fn and(self, other: Part) -> Part {
        Part {
            all: self.all.saturating_add(other.all),
            repeated: self.repeated.saturating_add(other.repeated),
            live: self.live.saturating_add(other.live),
        }
    }
}

/// Counts the places of a pattern while it is read.
#[derive(Debug)]
pub(super) struct Places {
    /// The group that is being read and those around it, without the last part.
    groups: Vec<Part>,
    /// The part that an operator that follows repeats.
    last: Part,
    last_is_group: bool,
    /// A group begins here: a `?` is no operator.
    is_opened: bool,
    /// Nothing was read yet.
    is_empty: bool,
    /// The pattern begins with `^`, and what was read until now has one length.
    is_fixed: bool,
}

impl Default for Places {
    fn default() -> Self {
        let groups = vec![Part::default()];
        Places {
            groups,
            last: Part::default(),
            last_is_group: false,
            is_opened: false,
            is_empty: true,
            is_fixed: false,
        }
    }
}

impl Places {
    /// Passes a part of the pattern that begins with `c` and is no repetition.
    pub(super) fn pass(&mut self, c: char) {
        if std::mem::take(&mut self.is_empty) {
            self.is_fixed = c == '^';
        }
        self.keep_last();
        (self.last_is_group, self.is_opened) = (c == ')', c == '(');
        match c {
            '(' => self.groups.push(Part::default()),
            ')' if self.groups.len() > 1 => self.last = self.groups.pop().unwrap_or_default(),
            '|' => self.is_fixed = false,
            _ => self.last = Part::ONE,
        }
    }

    /// Passes an operator: `{2,3}` has `least` 2 and `most` 3, and `*` has 0 and none.
    pub(super) fn repeat(&mut self, least: usize, most: Option<usize>) {
        if std::mem::take(&mut self.is_opened) {
            return;
        }
        self.is_empty = false;
        let times = most.unwrap_or(least).max(1);
        let all = self.last.all.saturating_mul(times);
        self.last = match (times > 1, self.last_is_group) {
            (true, true) => Part { all, repeated: all, live: all },
            (true, false) => Part { all, repeated: all, live: if self.is_fixed { 0 } else { all } },
            // A group that comes again, `(…)*`, is entered again.
            (false, _) if most.is_none() => Part { live: self.last.repeated, ..self.last },
            (false, _) => self.last,
        };
        // Zero times is none at all, as in `^{0}`.
        self.is_fixed &= most == Some(least) && least > 0;
    }

    fn keep_last(&mut self) {
        if let Some(group) = self.groups.last_mut() {
            *group = group.and(std::mem::take(&mut self.last));
        }
    }

    /// Returns the number of places of what was read.
    pub(super) fn live(&self) -> usize {
        self.groups.iter().fold(self.last, |sum, group| sum.and(*group)).live
    }
}

#[cfg(test)]
mod tests {
    use super::super::live_places;

    #[test]
    fn repetitions_that_are_entered_at_several_places_count() {
        for (pattern, places) in [
            ("[ab]*a[ab]{1000}", 1000),
            ("a[ab]{10}", 10),
            ("a{3}(b{10}c){2}", 25),
            ("^(?:a|b{2,7})c", 7),
            ("^(a{1,5}b)*$", 5),
            ("^(a{1,5}b)?$", 0),
            ("^a{4}b{5,6}c{7}", 7),
            ("(?m)^a{4}", 4),
            ("^{0}a{4}", 4),
            ("(a?){9}", 9),
            (r"^\Qa*b\E[a-z]{8}x?[^]]{9}$", 9),
            (r"^\d{3}-\d{4}$", 0),
            ("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", 0),
            (r"^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*$", 63),
            (r"^a{,3}{$", 0),
            ("", 0),
            ("(", 0),
            ("a{1001}", 0),
        ] {
            assert_eq!(live_places(pattern), places, "{pattern}");
        }
    }
}
