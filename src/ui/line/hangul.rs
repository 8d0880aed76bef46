//! The two-set Korean keyboard layout: which keys give a character. Pure.

/// The letter on the key that gives this one with a Korean layout on.
pub(crate) fn latin_key(c: char) -> Option<char> {
    let keys = keys_of(c)?;
    let mut keys = keys.chars();
    keys.next().filter(|_| keys.next().is_none())
}

/// A line as the same keys give it with an English layout: syllables are taken apart, everything
/// else stays. `None` if nothing in it is Hangul.
///
/// The layout knows no capital letters but those of its double consonants. So `-A` and `-a` look
/// alike, and kubectl has only the former.
///
/// What stands in quotes and what follows the first line are somebody's words, which stay.
pub(crate) fn english_keys(text: &str) -> Option<String> {
    let (line, rest) = text.split_at(text.find('\n').unwrap_or(text.len()));
    let mut quote = None;
    let mut turned = String::new();
    for word in line.split_inclusive(' ') {
        if quote.is_none() && word.trim_end() == "-ㅁ" {
            turned.push_str(&word.replace('ㅁ', "A"));
            continue;
        }
        for c in word.chars() {
            match (quote, c) {
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), _) if open == c => quote = None,
                _ => {}
            }
            match keys_of(c).filter(|_| quote.is_none()) {
                Some(keys) => turned.push_str(&keys),
                None => turned.push(c),
            }
        }
    }
    turned.push_str(rest);
    (turned != text).then_some(turned)
}

/// The keys of a two-set Korean layout that give this character.
pub(super) fn keys_of(c: char) -> Option<String> {
    const FIRST: [&str; 19] =
        ["r", "R", "s", "e", "E", "f", "a", "q", "Q", "t", "T", "d", "w", "W", "c", "z", "x", "v", "g"];
    const MIDDLE: [&str; 21] = [
        "k", "o", "i", "O", "j", "p", "u", "P", "h", "hk", "ho", "hl", "y", "n", "nj", "np", "nl", "b", "m",
        "ml", "l",
    ];
    const LAST: [&str; 28] = [
        "", "r", "R", "rt", "s", "sw", "sg", "e", "f", "fr", "fa", "fq", "ft", "fx", "fv", "fg", "a", "q",
        "qt", "t", "T", "d", "w", "c", "z", "x", "v", "g",
    ];
    // Letters that stand alone, from ㄱ on.
    const ALONE: [&str; 51] = [
        "r", "R", "rt", "s", "sw", "sg", "e", "E", "f", "fr", "fa", "fq", "ft", "fx", "fv", "fg", "a", "q",
        "Q", "qt", "t", "T", "d", "w", "W", "c", "z", "x", "v", "g", "k", "o", "i", "O", "j", "p", "u", "P",
        "h", "hk", "ho", "hl", "y", "n", "nj", "np", "nl", "b", "m", "ml", "l",
    ];
    let code = c as usize;
    match c {
        '가'..='힣' => {
            let n = code - '가' as usize;
            Some([FIRST[n / 588], MIDDLE[n % 588 / 28], LAST[n % 28]].concat())
        }
        'ㄱ'..='ㅣ' => Some(ALONE[code - 'ㄱ' as usize].into()),
        _ => None,
    }
}
