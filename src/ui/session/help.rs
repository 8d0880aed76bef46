//! The help on words of lessons.

use crate::texts::Say;

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
