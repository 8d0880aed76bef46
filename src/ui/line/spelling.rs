//! Words of this program in other spellings than the English one.

use super::hangul::keys_of;
use super::words::{LESSON, WORDS};
use super::{Line, own};

/// Returns the word of lessons that was typed with a Korean keyboard layout on.
pub(super) fn latin(word: &str) -> Option<&'static str> {
    latin_among(word, LESSON)
}

/// Returns the one of the `known` words that was typed with a Korean keyboard layout on: the layout
/// puts letters together to syllables, which are taken apart again.
pub(crate) fn latin_among(word: &str, known: &[&'static str]) -> Option<&'static str> {
    let keys: String = word.chars().map(keys_of).collect::<Option<Vec<_>>>()?.concat();
    known.iter().find(|w| **w == keys).copied()
}

/// Returns the word of lessons that a Korean word names, as the interface names it.
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

/// Returns the word that a Korean word names and a process of this program runs, so that a shell
/// can run it, too.
pub(super) fn korean_own(word: &str) -> Option<&'static str> {
    Some(match word {
        "연습" => "drill",
        "용어" => "what",
        "진도" => "progress",
        _ => return None,
    })
}

/// Returns what a line is that begins with a word of this program in Korean, or typed with a Korean
/// keyboard layout on. `special`: only the shell can run it. `None`: it begins with another word.
pub(super) fn classified(text: &str, words: &[String], special: bool, cluster: &str) -> Option<Line> {
    let (first, behind) = words.split_first().filter(|(first, _)| !first.is_ascii())?;
    let in_english = |word: &str| -> Vec<String> {
        std::iter::once(word.to_string()).chain(behind.iter().cloned()).collect()
    };
    if let Some(word) = korean_own(first).or_else(|| latin_among(first, &["drill", "progress"])) {
        let words = in_english(word);
        return Some(own(word, &text[first.len()..], &words, special, cluster));
    }
    match first.as_str() {
        _ if special => None,
        "도움말" => Some(Line::Help(subject(behind))),
        _ => latin(first).or_else(|| korean(first)).map(|word| Line::Lesson(in_english(word))),
    }
}

/// Returns what stands behind `help`, with a word of this program in English: `힌트` and `ㅗㅑㅜㅅ` are
/// `hint`. A word of kubectl's stays.
pub(super) fn subject(words: &[String]) -> Vec<String> {
    let mut subject = words.to_vec();
    let meant = subject.first().and_then(|word| {
        let of_help = (word == "도움말").then_some("help");
        of_help.or_else(|| latin_among(word, WORDS)).or_else(|| korean(word)).or_else(|| korean_own(word))
    });
    if let (Some(first), Some(meant)) = (subject.first_mut(), meant) {
        *first = meant.into();
    }
    subject
}

#[cfg(test)]
mod tests {
    use crate::line::{Line, classify, word_of_the_session};

    #[test]
    fn the_shell_runs_korean_words_as_it_runs_english_ones() {
        for (text, whole) in [
            ("연습 show | cat", "ropewalk drill --name main show | cat"),
            ("진도|cat", "ropewalk progress --name main|cat"),
            ("용어 파드 > out", "ropewalk what 파드 > out"),
            ("! 연습", "! ropewalk drill --name main"),
            ("true; 용어 파드", "true; ropewalk what 파드"),
            ("힌트 | cat", "힌트 | cat"),
            ("'연습' | cat", "'연습' | cat"),
        ] {
            assert_eq!(classify(text, "main"), Line::Shell(whole.into()), "{text}");
        }
        assert_eq!(classify("용어 파드", "main"), Line::Own(vec!["what".into(), "파드".into()]));
        assert_eq!(word_of_the_session("kubectl get pods && 힌트"), Some("hint"));
    }

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
