//! Command lines of `lesson` that are refused before anything is done.

use crate::args::{Lesson as Command, LessonArgs};
use crate::named::MAIN;
use crate::words::Word;
use lab::format::library;
use ui::texts::{Lang, Say};

/// Returns the id of a lesson to check or solve, if no lesson can have it. An id to solve becomes a
/// word of a line of the session: with a `;` in it the session would run the rest as a line of its
/// own, and for an empty one it would solve the open lesson.
pub(super) fn odd_id(command: &Command) -> Option<&str> {
    let id = match command {
        Command::Check { id: Some(id), .. } => return id.trim().is_empty().then_some(id.as_str()),
        Command::Solve { id: Some(id), .. } => id,
        _ => return None,
    };
    let is_plain = |c: char| c.is_alphanumeric() || "/-_.".contains(c);
    let is_word = id.starts_with(char::is_alphanumeric) && id.chars().all(is_plain);
    (!is_word).then_some(id.as_str())
}

/// Returns what is wrong with a command line: options that contradict each other, or a directory of
/// lessons for a command that the running cluster answers with its own.
pub(super) fn problem(args: &LessonArgs, lang: Lang) -> Option<String> {
    let on_foreign_cluster = args.kubeconfig.is_some();
    let of_cluster = [("--kubeconfig", on_foreign_cluster), ("--name", args.name != MAIN)];
    let given = |options: &[(&'static str, bool)]| {
        options.iter().find(|(_, is_given)| *is_given).map(|(option, _)| *option)
    };
    if matches!(args.command, Command::Preview { .. }) {
        let option = given(&[of_cluster[0], of_cluster[1], ("--lessons", args.lessons.is_some())]);
        return option.map(|option| lang.say(Word::PreviewAlone, &[option]));
    }
    if matches!(args.command, Command::New { .. })
        && let Some(option) = given(&of_cluster)
    {
        return Some(lang.say(Word::NewAlone, &[option]));
    }
    if args.only && args.lessons.is_none() {
        return Some(lang.say(Say::OnlyWhat, &[library::ONLY, library::DIRECTORY]));
    }
    let directory = args.lessons.as_ref()?.display().to_string();
    if on_foreign_cluster {
        return Some(lang.say(Word::ForeignDirectory, &[library::DIRECTORY]));
    }
    let command = answered_by_cluster(&args.command)?;
    Some(lang.say(Say::OwnDirectory, &[command, "--lessons", library::DIRECTORY, directory.as_str()]))
}

/// Returns the words of a command that the running cluster answers, with its own lessons.
fn answered_by_cluster(command: &Command) -> Option<&'static str> {
    match command {
        Command::Check { .. } => Some("lesson check"),
        Command::Solve { .. } => Some("lesson solve"),
        Command::Show { id: None, .. } => Some("lesson show"),
        Command::Leave => Some("lesson leave"),
        Command::List { .. }
        | Command::Show { .. }
        | Command::Test { .. }
        | Command::Record { .. }
        | Command::Preview { .. }
        | Command::New { .. } => None,
    }
}

/// True for commands that need the process in which the lessons of a foreign cluster live.
pub(super) fn asks_cluster(command: &Command) -> bool {
    matches!(command, Command::List { .. }) || answered_by_cluster(command).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{self, Args};
    use clap::Parser;

    fn problem_of(line: &str, lang: Lang) -> Option<String> {
        let args = Args::try_parse_from(line.split(' ')).unwrap();
        let Some(args::Command::Lesson(lesson)) = args.command else { panic!("{line}") };
        problem(&lesson, lang)
    }

    /// Options that would be ignored are refused.
    #[test]
    fn a_preview_reads_its_own_folder_and_no_cluster() {
        let preview =
            |options: &str, lang| problem_of(&format!("ropewalk lesson preview mine{options}"), lang);
        assert_eq!(preview("", Lang::En), None);
        assert_eq!(preview(" --only", Lang::En), None, "without the built-in lessons");
        for (options, end) in [
            (" --kubeconfig f", "out --kubeconfig"),
            (" --lessons x --only", "out --lessons"),
            (" --name other", "out --name"),
        ] {
            assert!(preview(options, Lang::En).is_some_and(|text| text.ends_with(end)), "{options}");
        }
        let korean = preview(" --kubeconfig f", Lang::Ko).unwrap();
        assert!(korean.contains("--kubeconfig 옵션을 빼세요"), "{korean}");
    }

    #[test]
    fn a_template_is_written_without_a_cluster() {
        let new =
            |options: &str, lang| problem_of(&format!("ropewalk lesson new harbour/01-first{options}"), lang);
        assert_eq!(new("", Lang::En), None);
        assert!(new(" --kubeconfig f", Lang::En).is_some_and(|text| text.ends_with("out --kubeconfig")));
        assert!(new(" --name other", Lang::En).is_some_and(|text| text.ends_with("out --name")));
        let korean = new(" --name other", Lang::Ko).unwrap();
        assert!(korean.contains("--name 옵션을 빼세요"), "{korean}");
        assert_eq!(new(" --lessons mine", Lang::En), None, "that is where it is written to");
    }

    /// The cluster has lessons of its own, and reads no directory for a command.
    #[test]
    fn a_directory_of_lessons_goes_with_commands_that_read_it() {
        let with = |line: &str| problem_of(&format!("ropewalk lesson {line} --lessons mine"), Lang::En);
        for line in ["list", "show harbour/01", "test --all", "record harbour/02-next"] {
            assert_eq!(with(line), None, "{line}");
        }
        for line in ["show", "check", "check harbour/01", "solve", "leave"] {
            assert!(with(line).is_some_and(|text| text.contains("--lessons")), "{line}");
        }
        assert!(with("list --kubeconfig f").is_some_and(|text| text.contains("ROPEWALK_LESSONS")));
        assert!(problem_of("ropewalk lesson list --only", Lang::En).is_some(), "of which directory?");
    }

    /// A script may read the ids out of a file that others write.
    #[test]
    fn an_id_is_no_line_of_the_shell() {
        let is_odd = |id: &str| odd_id(&Command::Solve { id: Some(id.into()), all: false }).is_some();
        for id in ["first-voyage/04", "4", "04-pods", "2048/01", "하버_1.2/01"] {
            assert!(!is_odd(id), "{id}");
        }
        for id in ["", " ", "4; true", "x\ntrue", "$(true)", "> f", "4 && true", "--all", "`true`", "4|cat"] {
            assert!(is_odd(id), "{id}");
        }
        assert_eq!(odd_id(&Command::Solve { id: None, all: true }), None, "the open lesson");
        assert_eq!(odd_id(&Command::Check { id: Some(";".into()), output: None }), None, "never a line");
        assert_eq!(odd_id(&Command::Check { id: Some(" ".into()), output: None }), Some(" "));
    }
}
