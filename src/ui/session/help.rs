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
    use crate::script::Script;
    use crate::session::{Manner, Session};
    use crate::texts::Lang;

    /// As the words are typed at the prompt.
    #[test]
    fn the_name_of_the_program_may_stand_in_front() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = cluster::Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        for (line, code) in [
            ("help kubectl", 0),
            ("help k get", 0),
            ("help kubectl nope", 1),
            ("help ropewalk", 0),
            ("help ropewalk hint", 0),
            ("help ropewalk map", 0),
            // kubectl has no such verbs. This program, here that of the tests, has a help.
            ("help ropewalk down", 0),
            ("help ropewalk lesson check", 0),
        ] {
            session.run(line, &mut Script::of([]));
            assert_eq!(session.last(), code, "{line}");
        }
    }

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
