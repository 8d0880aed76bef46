//! `--lang` in front of a subcommand.

use clap::ValueEnum;
use lang::Lang;
use std::ffi::OsString;

const OPTION: &str = "--lang";

/// Moves `--lang LANG` from before the subcommand to behind it: `ropewalk --lang ko status` means
/// `ropewalk status --lang ko`. The other options in front of a subcommand stay an error, because
/// they are for the interface: `--plain` says nothing about `status`.
///
/// `help` takes names of commands alone, so there the option is left out on both sides. Its
/// language is that of [`asked_language`](crate::korean::asked_language), of the line as it came.
pub(crate) fn behind_the_subcommand(mut args: Vec<OsString>) -> Vec<OsString> {
    let in_front = option_at(&args, 1).map_or(0, |option| option.words);
    let command = args.get(1 + in_front).map(|word| word.to_string_lossy().into_owned());
    match command {
        Some(command) if command == "help" => {
            let option = |at: usize| option_at(&args, at).filter(|option| option.is_language);
            let place = (1..args.len()).find_map(|at| Some(at..at + option(at)?.words));
            if let Some(place) = place {
                drop(args.drain(place));
            }
        }
        Some(command) if in_front > 0 && !command.starts_with('-') => {
            args[1..=1 + in_front].rotate_right(1);
        }
        _ => {}
    }
    args
}

/// `--lang` in a line.
struct LanguageOption {
    /// How many words it takes with its value.
    words: usize,
    /// Whether its value is a language.
    is_language: bool,
}

/// Returns the option that begins with the word `at` of a line; `None`: another word stands there.
fn option_at(args: &[OsString], at: usize) -> Option<LanguageOption> {
    let word = |at: usize| args.get(at).and_then(|word| word.to_str()).unwrap_or_default();
    let (words, value) = match word(at).strip_prefix(OPTION)? {
        "" => (2, word(at + 1)),
        rest => (1, rest.strip_prefix('=')?),
    };
    Some(LanguageOption { words, is_language: Lang::from_str(value, false).is_ok() })
}

#[cfg(test)]
mod tests {
    use super::super::Args;
    use super::*;
    use clap::Parser;
    use clap::error::ErrorKind;

    fn parsed(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(behind_the_subcommand(line.split(' ').map(OsString::from).collect()))
    }

    #[test]
    fn every_command_takes_a_language_on_both_sides() {
        for command in [
            "status",
            "doctor",
            "down",
            "reset --yes",
            "up --detach",
            "fault list",
            "fault kill etcd",
            "undo --list",
            "trace",
            "kubeconfig",
            "lesson list",
            "lab check",
            "net show svc/web",
            "what pod",
            "why",
            "drill show",
            "progress",
            "lang",
            "lang en",
            "repl -c ls",
            "learn first-voyage/04",
        ] {
            for line in [
                format!("ropewalk --lang ko {command}"),
                format!("ropewalk --lang=ko {command}"),
                format!("ropewalk {command} --lang ko"),
            ] {
                let args = parsed(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
                assert_eq!(args.session.lang, Some(Lang::Ko), "{line}");
                assert!(args.command.is_some(), "{line}");
            }
        }
        assert_eq!(
            parsed("ropewalk --lang ko --plain").map(|args| args.session.lang).ok(),
            Some(Some(Lang::Ko))
        );
        assert!(parsed("ropewalk --lang de status").is_err());
        assert!(parsed("ropewalk --plain status").is_err(), "it would mean nothing");
        assert!(parsed("ropewalk --lang").is_err());
    }

    #[test]
    fn help_takes_a_language_on_both_sides() {
        for line in [
            "--lang ko help",
            "--lang ko help up",
            "--lang=ko help lab start",
            "help up --lang ko",
            "help --lang=ko",
        ] {
            let error = parsed(&format!("ropewalk {line}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{line}: {error}");
        }
        for line in ["--lang de help up", "help up --lang de", "help up --lang", "--lang ko help upp"] {
            let error = parsed(&format!("ropewalk {line}")).unwrap_err();
            assert_ne!(error.kind(), ErrorKind::DisplayHelp, "{line}");
        }
    }

    /// The value of an option may be called as a command is.
    #[test]
    fn a_cluster_may_have_the_name_of_a_command() {
        for name in ["kubectl", "etcdctl", "status", "help"] {
            for line in [
                format!("ropewalk --name {name} --lang ko"),
                format!("ropewalk --lang ko --name {name}"),
                format!("ropewalk --lang=ko --name={name}"),
            ] {
                let args = parsed(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
                assert_eq!((args.session.name.as_str(), args.session.lang), (name, Some(Lang::Ko)), "{line}");
                assert!(args.command.is_none(), "{line}");
            }
            let args = parsed(&format!("ropewalk --lang ko status --name {name}")).unwrap();
            let is_meant =
                matches!(&args.command, Some(super::super::Command::Status { name: of, .. }) if of == name);
            assert!(is_meant && args.session.lang == Some(Lang::Ko), "{name}");
        }
    }

    #[test]
    fn the_words_of_kubectl_stay_its_own() {
        let Ok(Args { command: Some(super::super::Command::Kubectl { words, .. }), .. }) =
            parsed("ropewalk --lang ko kubectl get pods --lang x")
        else {
            panic!("no kubectl")
        };
        assert_eq!(words, ["get", "pods", "--lang", "x"]);
    }
}
