//! The header `Range`, as `ngx_http_range_parse` reads it.

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// No bytes, or more of them than there are: the header is ignored.
    Whole,
    /// The first and the last byte of each part.
    Parts(Vec<(u64, u64)>),
    /// Nothing that there is, or nothing that can be read.
    Unsatisfiable,
}

/// Reads a header for a file of so many bytes.
///
/// ```text
/// bytes=0-4          Parts([(0, 4)])
/// bytes=5-           Parts([(5, 9)])             of ten bytes
/// bytes=-3, 0-0      Parts([(7, 9), (0, 0)])
/// bytes=20-, 0-0     Parts([(0, 0)])             the first one is beyond the end
/// bytes=0-9, 0-0     Whole                       eleven bytes of ten
/// bytes=x            Unsatisfiable
/// lines=0-4          Whole
/// ```
pub(super) fn parse(text: &str, length: u64) -> Selection {
    let is_of_bytes = text.get(..6).is_some_and(|unit| unit.eq_ignore_ascii_case("bytes="));
    if !is_of_bytes || text.len() == 6 {
        return Selection::Whole;
    }
    let (mut parts, mut size) = (vec![], 0_u64);
    for range in text[6..].split(',') {
        match begin_and_end(range, length) {
            None => return Selection::Unsatisfiable,
            Some((begin, end)) if begin < end => {
                size = size.saturating_add(end - begin);
                parts.push((begin, end - 1));
            }
            Some((0, _)) => return Selection::Whole, // the file is empty
            Some(_) => {}
        }
    }
    match parts.is_empty() {
        true => Selection::Unsatisfiable,
        false if size > length => Selection::Whole,
        false => Selection::Parts(parts),
    }
}

/// Returns the first byte of a part, and the one behind its last. `None` if it cannot be read.
fn begin_and_end(range: &str, length: u64) -> Option<(u64, u64)> {
    let (first, last) = range.trim_matches(' ').split_once('-')?;
    if first.is_empty() {
        return Some((length.saturating_sub(number(last)?), length));
    }
    let end = match last.trim_start_matches(' ') {
        "" => length,
        last => number(last)?.saturating_add(1).min(length),
    };
    Some((number(first.trim_end_matches(' '))?, end))
}

fn number(text: &str) -> Option<u64> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    u64::try_from(text.parse::<i64>().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_nginx_reads_them() {
        let parts = |parts: &[(u64, u64)]| Selection::Parts(parts.to_vec());
        for (text, length, selection) in [
            ("bytes=0-4", 10, parts(&[(0, 4)])),
            ("Bytes=5-", 10, parts(&[(5, 9)])),
            ("bytes=-3", 10, parts(&[(7, 9)])),
            ("bytes=-30", 10, parts(&[(0, 9)])),
            ("bytes=5-30", 10, parts(&[(5, 9)])),
            ("bytes=0-1,4-5", 10, parts(&[(0, 1), (4, 5)])),
            ("bytes= 4 - 5 , 0-1 , -1", 10, parts(&[(4, 5), (0, 1), (9, 9)])),
            ("bytes=20-,5-2,0-0", 10, parts(&[(0, 0)])),
            ("bytes=0-9,0-0", 10, Selection::Whole),
            ("bytes=10-", 10, Selection::Unsatisfiable),
            ("bytes=5-2", 10, Selection::Unsatisfiable),
            ("bytes=-0", 10, Selection::Unsatisfiable),
            ("bytes=x", 10, Selection::Unsatisfiable),
            ("bytes=0-1,", 10, Selection::Unsatisfiable),
            ("bytes=-", 10, Selection::Unsatisfiable),
            ("bytes=+1-2", 10, Selection::Unsatisfiable),
            ("bytes=0-99999999999999999999", 10, Selection::Unsatisfiable),
            ("bytes=", 10, Selection::Whole),
            ("lines=1-2", 10, Selection::Whole),
            ("bytes=0-", 0, Selection::Whole),
            ("bytes=-5", 0, Selection::Whole),
            ("bytes=1-", 0, Selection::Unsatisfiable),
        ] {
            assert_eq!(parse(text, length), selection, "{text} of {length}");
        }
    }
}
