//! Runs `help`, and finds the text that explains a word.

use super::{Lines, Session};
use crate::texts::Say;
use lang::charset::println;
use std::path::Path;

/// Words that the overview of `help` alone explains.
const HERE: &[&str] = &["clear", "exit", "help", "map", "quit"];

/// True for a word that is a command of this program, whose `--help` explains it.
fn is_command(word: &str) -> bool {
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

/// Returns the text that explains a word of lessons. `None`: it is no such word.
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

impl Session {
    /// `help [WORD]`: explains a word of the prompt, a verb of kubectl or a command of this
    /// program. Returns the exit code.
    pub(super) fn help(&mut self, about: &[String], lines: &mut dyn Lines) -> i32 {
        let asking =
            |words: &[String]| words.iter().cloned().chain(["--help".to_string()]).collect::<Vec<_>>();
        let about = match about.split_first() {
            Some((first, verb)) if matches!(first.as_str(), "kubectl" | "k") => {
                return self.kubectl(&asking(verb), lines);
            }
            // `ropewalk hint` is no command of the program: with its name in front, too, a word of
            // the prompt is explained here.
            Some((first, command)) if first == "ropewalk" => match command {
                [] => command,
                [word] if of_lessons(word).is_some() || HERE.contains(&word.as_str()) => command,
                _ => return self.run_own_command(&asking(command)),
            },
            _ => about,
        };
        if let Some(text) = about.first().and_then(|word| of_lessons(word)) {
            println!("{}", self.say(text, &[]));
            return 0;
        }
        if let Some(word) = about.first().filter(|word| !HERE.contains(&word.as_str())) {
            let args = asking(about);
            return if is_command(word) { self.run_own_command(&args) } else { self.kubectl(&args, lines) };
        }
        if self.frame.is_some() {
            // Longer than the pane: the frame shows it over everything.
            self.tell_frame(&["help"]);
            return 0;
        }
        let shown = |path: &Path| path.display().to_string();
        let values = [shown(&self.place.kubeconfig()), shown(&self.place.home.bin())];
        println!("{}", self.say(Say::Help, &[&values[0], &values[1]]));
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;
    use crate::session::Manner;
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
