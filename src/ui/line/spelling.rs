//! A lesson's word in other spellings than the English one.

use super::hangul::keys_of;
use super::korean_own;
use super::words::{LESSON, WORDS};

/// A lesson's word that was typed with a Korean keyboard layout on.
pub(super) fn latin(word: &str) -> Option<&'static str> {
    latin_among(word, LESSON)
}

/// One of these words, typed with a Korean keyboard layout on: the layout puts letters together to
/// syllables, which are taken apart again.
pub(crate) fn latin_among(word: &str, known: &[&'static str]) -> Option<&'static str> {
    let keys: String = word.chars().map(keys_of).collect::<Option<Vec<_>>>()?.concat();
    known.iter().find(|w| **w == keys).copied()
}

/// A lesson's word in Korean, as the interface names it.
pub(super) fn korean(word: &str) -> Option<&'static str> {
    Some(match word {
        "답" => "answer",
        "다음" => "next",
        "이전" => "back",
        "힌트" => "hint",
        "확인" => "check",
        "풀이" => "solve",
        "강의" => "lesson",
        _ => return None,
    })
}

/// What stands behind `help`, with a word of this program in English: `힌트` and `ㅗㅑㅜㅅ` are
/// `hint`. A word of kubectl's stays.
pub(super) fn subject(words: &[String]) -> Vec<String> {
    let mut subject = words.to_vec();
    let meant = subject.first().and_then(|word| {
        let of_help = match word.as_str() {
            "도움말" => Some("help"),
            "용어" => Some("what"),
            _ => None,
        };
        of_help.or_else(|| latin_among(word, WORDS)).or_else(|| korean(word)).or_else(|| korean_own(word))
    });
    if let (Some(first), Some(meant)) = (subject.first_mut(), meant) {
        *first = meant.into();
    }
    subject
}

#[cfg(test)]
mod tests {
    use crate::line::{Line, classify};

    /// kubectl has no help on them.
    #[test]
    fn help_explains_korean_words_too() {
        for (text, word) in [
            ("도움말 힌트", "hint"),
            ("help 다음", "next"),
            ("help ㅗㅑㅜㅅ", "hint"),
            ("도움말 연습", "drill"),
            ("도움말 용어", "what"),
            ("도움말 get", "get"),
            ("help 파드", "파드"),
        ] {
            assert_eq!(classify(text, "main"), Line::Help(vec![word.into()]), "{text}");
        }
    }
}
