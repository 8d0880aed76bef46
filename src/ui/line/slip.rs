//! Finds typing errors in the first word of a line. Pure.

use super::words::{WORDS, bare_verbs};

/// Returns the word that was probably meant: one slip away (two in long words), counting swapped
/// neighbours as one slip.
pub(super) fn did_you_mean(word: &str) -> Option<&'static str> {
    let known = ["kubectl", "ropewalk"].into_iter().chain(bare_verbs()).chain(WORDS.iter().copied());
    let slips = if word.chars().count() < 6 { 1 } else { 2 };
    known
        .map(|k| (distance(word, k), k))
        .filter(|(d, _)| *d > 0 && *d <= slips)
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// Counts the edits from one word to the other: insert, remove, replace, swap neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX; // further than a caller asks for
    }
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_fingers_are_understood() {
        assert_eq!(did_you_mean("kubctl"), Some("kubectl"));
        assert_eq!(did_you_mean("kunectl"), Some("kubectl"));
        assert_eq!(did_you_mean("kubeclt"), Some("kubectl"));
        assert_eq!(did_you_mean("gte"), Some("get"));
        assert_eq!(did_you_mean("decsribe"), Some("describe"));
        assert_eq!(did_you_mean("kubectl"), None);
        assert_eq!(did_you_mean("foo"), None);
    }
}
