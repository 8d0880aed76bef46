//! `--lang` in front of a subcommand.

use std::ffi::OsString;

const OPTION: &str = "--lang";

/// Moves `--lang LANG` from before the subcommand to behind it: `ropewalk --lang ko status` means
/// `ropewalk status --lang ko`. The other options in front of a subcommand stay an error, because
/// they are for the interface: `--plain` says nothing about `status`.
pub(crate) fn behind_the_subcommand(mut args: Vec<OsString>) -> Vec<OsString> {
    let option = args.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    let words = match option.strip_prefix(OPTION) {
        Some("") => 2,
        Some(value) if value.starts_with('=') => 1,
        _ => return args,
    };
    let is_subcommand = |word: &OsString| !word.to_string_lossy().starts_with('-');
    if args.get(1 + words).is_some_and(is_subcommand) {
        args[1..=1 + words].rotate_right(1);
    }
    args
}

#[cfg(test)]
mod tests {
    use super::super::Args;
    use super::*;
    use clap::Parser;
    use lang::Lang;

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
    fn the_words_of_kubectl_stay_its_own() {
        let Ok(Args { command: Some(super::super::Command::Kubectl { words, .. }), .. }) =
            parsed("ropewalk --lang ko kubectl get pods --lang x")
        else {
            panic!("no kubectl")
        };
        assert_eq!(words, ["get", "pods", "--lang", "x"]);
    }
}
