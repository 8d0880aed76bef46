//! A lesson's word in other spellings than the English one.

use super::hangul::keys_of;
use super::words::LESSON;

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
