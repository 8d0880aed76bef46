//! The help on words of this place.

use crate::texts::Say;

/// Words that the overview explains.
pub(super) const HERE: &[&str] = &["clear", "exit", "help", "map", "quit"];

/// True for a word that is a command of this program, whose `--help` explains it.
pub(super) fn is_command(word: &str) -> bool {
    matches!(
        word,
        "doctor"
            | "drill"
            | "etcdctl"
            | "fault"
            | "lab"
            | "lang"
            | "progress"
            | "redo"
            | "rewind"
            | "status"
            | "trace"
            | "undo"
            | "what"
            | "why"
    )
}

/// What a word of lessons does.
pub(super) fn of_lessons(word: &str) -> Option<Say> {
    Some(match word {
        "answer" => Say::HelpAnswer,
        "next" => Say::HelpNext,
        "back" => Say::HelpBack,
        "goto" => Say::HelpGoto,
        "hint" => Say::HelpHint,
        "check" => Say::HelpCheck,
        "lesson" => Say::HelpLesson,
        "solve" => Say::HelpSolve,
        "debrief" => Say::HelpDebrief,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kubectl knows none of them.
    #[test]
    fn every_word_of_this_place_is_explained_in_one_way() {
        for word in crate::line::WORDS {
            let ways = [of_lessons(word).is_some(), is_command(word), HERE.contains(word)];
            assert_eq!(ways.iter().filter(|way| **way).count(), 1, "{word}");
        }
        assert!(!is_command("get"));
    }
}
