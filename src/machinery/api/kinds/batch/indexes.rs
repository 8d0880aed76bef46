//! Lists of indexes of an indexed Job, as `spec.successPolicy` and its status write them: `0,2-4`.

/// Reads one interval of indexes, `3` or `2-4`, below the number of completions: its first and its
/// last.
///
/// # Errors
/// It is none, in upstream's words.
pub(super) fn interval(part: &str, completions: i64) -> Result<(i64, i64), String> {
    let number = |text: &str| {
        let number: i64 =
            text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        match number >= completions {
            true => Err(format!("too large index: {text:?}")),
            false => Ok(number),
        }
    };
    let Some((first, last)) = part.split_once('-') else { return number(part).map(|n| (n, n)) };
    if last.contains('-') {
        return Err(format!(
            "the fragment {part:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        ));
    }
    let (first, last) = (number(first)?, number(last)?);
    match first >= last {
        true => Err(format!("non-increasing order, previous: {first}, current: {last}")),
        false => Ok((first, last)),
    }
}

/// Returns how many indexes `0,2-4` names: intervals in rising order, below the number of
/// completions.
///
/// # Errors
/// The text is no such list, in upstream's words.
pub(super) fn count(text: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut before): (i64, Option<i64>) = (0, None);
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = interval(part, completions)?;
        if let Some(before) = before.filter(|before| *before >= first) {
            return Err(format!("non-increasing order, previous: {before}, current: {first}"));
        }
        total = total.saturating_add(last - first + 1);
        before = Some(last);
    }
    Ok(total)
}
