//! Sets of completion indexes as a Job's status writes them: `1,3-5,7`.
//!
//! A set is kept as intervals, as upstream's `orderedIntervals`: a Job may have two thousand
//! million completions, and `0-2147483646` must cost no more than it is long. `{0,1,2,5}` is `[(0,
//! 2), (5, 5)]`.

use std::fmt;

/// Completion indexes; memory and time grow with the number of intervals, not of indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes(
    /// First and last of each interval: sorted, none touches the next.
    Vec<(i32, i32)>,
);

impl Indexes {
    /// Reads the indexes below `completions`; what cannot be read is skipped, as upstream does with
    /// a spoiled status.
    pub(super) fn parse(text: &str, completions: i32) -> Indexes {
        let mut found = Vec::new();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
                let (first, last) = (first.max(0), last.min(completions.saturating_sub(1)));
                if first <= last {
                    found.push((first, last));
                }
            }
        }
        Indexes::of(found)
    }

    fn of(mut intervals: Vec<(i32, i32)>) -> Indexes {
        intervals.sort_unstable();
        let mut all: Vec<(i32, i32)> = Vec::with_capacity(intervals.len());
        for (first, last) in intervals {
            match all.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => all.push((first, last)),
            }
        }
        Indexes(all)
    }

    /// Returns the interval that contains `index`.
    fn around(&self, index: i32) -> Option<(i32, i32)> {
        let after = self.0.partition_point(|(first, _)| *first <= index);
        self.0[..after].last().copied().filter(|(_, last)| index <= *last)
    }

    pub(super) fn contains(&self, index: i32) -> bool {
        self.around(index).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many indexes there are. None is negative, so the length of an interval fits.
    pub(super) fn len(&self) -> i32 {
        self.0.iter().fold(0, |n: i32, (first, last)| n.saturating_add((last - first).saturating_add(1)))
    }

    /// Returns how many indexes are in both sets.
    pub(super) fn common(&self, other: &Indexes) -> i32 {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut count = 0i32;
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            let (first, last) = (x.0.max(y.0), x.1.min(y.1));
            if first <= last {
                count = count.saturating_add((last - first).saturating_add(1));
            }
            if x.1 < y.1 {
                a.next()
            } else {
                b.next()
            };
        }
        count
    }

    /// Returns the smallest index from `index` on that is not in the set; `None` behind the largest
    /// there can be.
    pub(super) fn next_outside(&self, index: i32) -> Option<i32> {
        self.around(index).map_or(Some(index), |(_, last)| last.checked_add(1))
    }
}

impl Extend<i32> for Indexes {
    fn extend<I: IntoIterator<Item = i32>>(&mut self, more: I) {
        let mut all = std::mem::take(&mut self.0);
        all.extend(more.into_iter().map(|index| (index.max(0), index.max(0))));
        *self = Indexes::of(all);
    }
}

/// As the status has it. Neighbours become a range from three of them on: `0,1` stays `0,1`, and
/// `0,1,2` is `0-2`.
impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            match last - first {
                0 => write!(f, "{first}")?,
                1 => write!(f, "{first},{last}")?,
                _ => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
