//! The two-set Korean keyboard layout: which keys give a character. Pure.

use super::words::{WORDS, is_bare_verb};
use kubectl::table;

/// Returns the letter on the key that gives this one with a Korean layout on.
pub(crate) fn latin_key(c: char) -> Option<char> {
    let keys = keys_of(c)?;
    let mut keys = keys.chars();
    keys.next().filter(|_| keys.next().is_none())
}

/// Returns a line as the same keys give it with an English layout: syllables are taken apart,
/// everything else stays. `None` if nothing in it is Hangul.
///
/// The layout knows no capital letters but those of its double consonants. So `-A` and `-a` look
/// alike, and kubectl has only the former.
///
/// What stands in quotes and what follows the first line belong to the text of an object or a
/// message, and stay.
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

/// Returns an answer as the same keys give it with an English layout, if letters stand alone in it:
/// such a text is no Korean word. Whole syllables may be one, and stay.
///
/// Example: `ㅎㄱㄷ두` is `green`.
pub(crate) fn answer_keys(written: &str) -> String {
    let turned = if written.contains(stands_alone) { english_keys(written) } else { None };
    turned.unwrap_or_else(|| written.into())
}

/// True for a letter of Hangul that is in no syllable.
fn stands_alone(c: char) -> bool {
    ('ㄱ'..='ㅣ').contains(&c)
}

/// Returns a line with `first` as its first word and with the terms behind it that are no Korean
/// words, because letters stand alone in them, as the same keys give them with an English layout.
///
/// Example: with `what`, `좀ㅅ ㅔㅐㅇ 파드` becomes `what pod 파드`.
fn with_latin_terms(first: &str, text: &str) -> String {
    let terms = text.split_whitespace().skip(1).map(|word| match word.contains(stands_alone) {
        true => english_keys(word).unwrap_or_else(|| word.into()),
        false => word.to_string(),
    });
    std::iter::once(first.to_string()).chain(terms).collect::<Vec<_>>().join(" ")
}

/// Returns the keys of a two-set Korean layout that give this character.
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

/// Returns the line that was meant by one typed with a Korean keyboard layout on, if its first word
/// is then one of kubectl's or of this program's, or its second one a verb behind `kubectl`.
/// Another line may mean what it says: there may be a program of that name.
///
/// Example: `ㅏㅕㅠㄷㅊ시 ㅎㄷㅅ ㅔㅐㅇㄴ` is `kubectl get pods`.
pub(crate) fn of_korean_layout(text: &str) -> Option<String> {
    let mut typed = text.split_whitespace();
    let (first, second) = (typed.next()?, typed.next().unwrap_or_default());
    if first.starts_with('!') {
        return None;
    }
    let meant = english_keys(text)?;
    let mut words = meant.split_whitespace();
    let known = words.next()?.to_string();
    // Behind these stands a term, which may be meant in Korean.
    let takes_term = |word: &str| matches!(word, "what" | "help" | "용어" | "도움말");
    if takes_term(first) {
        return text.contains(stands_alone).then(|| with_latin_terms(first, text));
    }
    if takes_term(&known) {
        return Some(with_latin_terms(&known, text));
    }
    // The answer behind it may be in Korean: see [`answer_keys`].
    if known == "answer" {
        return None;
    }
    if first != known {
        let is_known = matches!(known.as_str(), "kubectl" | "ropewalk")
            || known == "k" && !second.is_empty()
            || WORDS.contains(&known.as_str())
            || is_bare_verb(&known);
        return is_known.then_some(meant);
    }
    let is_verb = |word: &str| table::root().children().any(|verb| verb.name() == word);
    let switched =
        matches!(first, "kubectl" | "k") && words.next().is_some_and(|w| w != second && is_verb(w));
    switched.then_some(meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_understood_on_either_keyboard_layout() {
        for (typed, meant) in [
            ("ㅎㄱㄷ두", "green"),
            ("ㅐㅕ새ㄹ체ㅕ", "outofcpu"),
            ("ㅠ ㅇ", "b d"),
            ("초록", "초록"),
            ("green", "green"),
            ("10.244.1.7", "10.244.1.7"),
            ("$(echo 'ㅁ')", "$(echo 'ㅁ')"),
            ("", ""),
        ] {
            assert_eq!(answer_keys(typed), meant, "{typed}");
        }
    }

    #[test]
    fn a_whole_line_is_understood_on_either_keyboard_layout() {
        for (typed, meant) in [
            ("ㅏㅕㅠㄷㅊ시 ㅎㄷㅅ ㅔㅐㅇㄴ", "kubectl get pods"),
            ("ㅏ ㅎㄷㅅ ㅔㅐㅇㄴ -ㅁ", "k get pods -A"),
            (
                "ㅏㅕㅠㄷㅊ시 ㄱㅕㅜ ㅜ햐ㅜㅌ-ㅔㅐㅇ --ㅑㅡㅁㅎㄷ=ㅜ햐ㅜㅌ",
                "kubectl run nginx-pod --image=nginx",
            ),
            ("ㅎㄷㅅ ㅜㅐㅇㄷㄴ -ㅐ 쟝ㄷ", "get nodes -o wide"),
            ("ㅎㅐ새 2", "goto 2"),
            ("ㄴㅅㅁ션", "status"),
            ("kubectl ㅎㄷㅅ pods", "kubectl get pods"),
            ("좀ㅅ 파드", "what 파드"),
            ("좀ㅅ ㅔㅐㅇ", "what pod"),
            ("what ㅔㅐㅇ", "what pod"),
            ("용어 ㅔㅐㅇ", "용어 pod"),
            ("help ㅎㄷㅅ", "help get"),
            (
                "ㅏㅕㅠㄷㅊ시 ㅁㅜㅜㅐㅅㅁㅅㄷ ㅔㅐㅇ ㅈ듀 ㅜㅐㅅㄷ=\"안녕\"",
                "kubectl annotate pod web note=\"안녕\"",
            ),
            ("ㅏㅕㅠㄷㅊ시 ㅁㅔㅔㅣㅛ -ㄹ -\nname: 안녕", "kubectl apply -f -\nname: 안녕"),
            ("ㅏㅕㅠㄷㅊ시 ㅎㄷㅅ ㅔㅐㅇㄴ | ㅎㄱ데 ㅈ듀", "kubectl get pods | grep web"),
        ] {
            assert_eq!(of_korean_layout(typed).as_deref(), Some(meant), "{typed}");
        }
        for text in [
            "kubectl get pods",
            "다음",
            "도움말",
            "안녕 세상",
            "what 파드",
            "용어 파드",
            "ㅣㄴ -ㅣ",
            "ㅁㅜㄴㅈㄷㄱ 요청",
            "!ㅎㄷㅅ",
            "echo 안녕",
            "",
            "k",
            "ㅏ",
        ] {
            assert_eq!(of_korean_layout(text), None, "{text}");
        }
        // A program of the shell's is offered when there is none of the name that was typed.
        assert_eq!(english_keys("쳐기 ㅣㅐㅊ미ㅗㅐㄴㅅ:31234").as_deref(), Some("curl localhost:31234"));
        assert_eq!(english_keys("ls -l"), None);
    }
}
