//! The hops of a trace as text.

use super::rows::{Row, rows};
use crate::layout::wrapped;
use tap::Record;

/// One line a hop: when it ended, the component, the object, what was done and how long it took.
pub(super) fn table(records: &[Record]) -> String {
    let line = |r: &Row| format!("{:>8.1} ms  {:<36} {:<52} {}\n", r.to, r.actor, r.object, r.act);
    rows(records).iter().map(line).collect()
}

/// Columns that a row of the table needs.
pub(super) const WIDE: usize = 130;

/// The hops for a narrow terminal: below each component what it did, broken between words.
pub(super) fn stacked(records: &[Record], width: usize) -> String {
    const INDENT: &str = "             ";
    let mut out = String::new();
    for row in rows(records) {
        out.push_str(&format!("{:>8.1} ms  {}\n", row.to, row.actor));
        out.push_str(&wrapped(&format!("{} {}", row.object, row.act), INDENT, width));
    }
    out
}
