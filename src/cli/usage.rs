//! What went wrong, in the learner's language.

use super::korean;
use super::layout::columns;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use cluster::{self, Home};
use lang::charset::{self, eprint, eprintln, print};
use std::ffi::OsString;
use ui::texts::{Lang, Say, problem};
use ui::{self, settings};

/// Words that learners type at the prompt, each with a line that works.
const EXAMPLES: &[(&str, &str)] = &[
    ("doctor", "doctor · doctor -o json"),
    ("drill", "drill · drill --seed 417 · drill check · drill stop"),
    ("fault", "fault kill kube-scheduler"),
    ("lab", "lab list · lab start ID · lab check · lab grade"),
    ("lang", "lang · lang en · lang ko"),
    ("progress", "progress · progress -o json"),
    ("rewind", "rewind 812 · rewind 10:42:07 · rewind 5m · undo --list"),
    ("status", "status · status -o json"),
    ("trace", "trace · trace pod/web"),
    ("undo", "undo · undo 2 · undo --list"),
    ("redo", "redo"),
    ("what", "what pod · what control plane · what"),
    ("why", "why · why pod/web"),
];

/// Returns the language of a text: `chosen`, else that of the home, else that of the environment.
pub(crate) fn language(chosen: Option<Lang>) -> Lang {
    let without_home = || chosen.map_or_else(settings::environment, |lang| charset::presentable(lang, true));
    Home::find().map_or_else(|_| without_home(), |home| settings::language(chosen, &home))
}

/// Prints what is wrong with a command line, or the page of the help that it asks for. `chosen`:
/// the language of its `--lang`. Returns the exit code.
pub(crate) fn report(words: &[OsString], chosen: Option<Lang>, error: &clap::Error) -> i32 {
    let lang = language(chosen);
    let korean = if lang == Lang::Ko { korean::error(words, columns()) } else { None };
    let printed = match (in_prompt(lang, error), &korean) {
        (Some(text), _) => {
            eprintln!("{text}");
            Ok(())
        }
        (None, Some(korean)) => match korean::text(korean) {
            Some(text) => {
                eprint!("{text}");
                Ok(())
            }
            None => korean.print(),
        },
        (None, None) if charset::ascii_only() && error.use_stderr() => {
            eprint!("{error}");
            Ok(())
        }
        (None, None) if charset::ascii_only() => {
            print!("{error}");
            Ok(())
        }
        (None, None) => error.print(),
    };
    printed.map_or_else(|failed| unprinted(&failed), |()| error.exit_code())
}

/// Says why clap could not print a page, unless its reader has left. Returns the exit code, which
/// is the one of any other text that cannot be printed.
fn unprinted(failed: &std::io::Error) -> i32 {
    if failed.kind() == std::io::ErrorKind::BrokenPipe {
        return 141;
    }
    eprintln!("ropewalk: {failed}");
    1
}

/// Returns the cluster's error in an error of a command.
fn of_cluster(error: &anyhow::Error) -> Option<&cluster::Error> {
    match error.downcast_ref::<ui::Error>() {
        Some(ui::Error::Cluster(inner)) => Some(inner),
        _ => error.downcast_ref::<cluster::Error>(),
    }
}

/// Describes an error with its causes. `chosen`: the language of `--lang`; a session, which may
/// change its own, does not set it for the process.
pub(crate) fn reason(error: &anyhow::Error, chosen: Option<Lang>) -> String {
    match (error.downcast_ref::<ui::Error>(), error.downcast_ref::<cluster::Error>()) {
        (Some(inner), _) => inner.say(language(chosen)),
        (None, Some(inner)) => inner.say(language(chosen)),
        (None, None) => charset::harmless_lines(format!("{error:#}")),
    }
}

/// The exit code for an error: a command line that can never do anything is a usage error, also if
/// it is not clap that finds it out.
pub(crate) fn code(error: &anyhow::Error) -> i32 {
    match of_cluster(error) {
        Some(cluster::Error::Refusal(refusal)) if refusal.is_usage() => super::codes::USAGE,
        _ => 1,
    }
}

/// Returns the sentence about a command of the prompt that was written wrongly, with an example.
/// `None`: the line was typed in a shell, and the whole usage is printed.
fn in_prompt(lang: Lang, error: &clap::Error) -> Option<String> {
    std::env::var_os(settings::LANG_VARIABLE)?;
    let word = word(std::env::args_os())?;
    let (_, example) = EXAMPLES.iter().find(|(w, _)| *w == word)?;
    sentence(lang, error, &word, example)
}

/// Returns the first word behind the program's name; `None` if there is none, or it is not UTF-8.
fn word(mut args: impl Iterator<Item = OsString>) -> Option<String> {
    args.nth(1)?.into_string().ok()
}

/// Says in a sentence what is wrong behind a word. `None`: the error is a page of the help.
fn sentence(lang: Lang, error: &clap::Error, word: &str, example: &str) -> Option<String> {
    let context = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let what = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return None,
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => lang.say(Say::UsageMissing, &[word]),
        kind => {
            let about = match kind {
                ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
                ErrorKind::InvalidValue | ErrorKind::ValueValidation => ContextKind::InvalidValue,
                _ => ContextKind::InvalidArg,
            };
            match context(about) {
                Some(none) if none.is_empty() => lang.say(Say::UsageMissing, &[word]),
                Some(given) => lang.say(Say::UsageUnknown, &[word, &given]),
                None => lang.say(Say::UsageWrong, &[word]),
            }
        }
    };
    Some(problem(lang, &what, None, Some(example)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::Parser;
    use cluster::Refusal;

    #[test]
    fn a_command_that_was_written_wrongly_ends_with_2_also_if_clap_does_not_find_it() {
        let name = Home::at("/h").cluster("../x").unwrap_err();
        assert_eq!(code(&name.into()), 2);
        for refused in [Refusal::TooSlow { millis: 20_000 }, Refusal::OneNode { node: "n".into() }] {
            assert_eq!(code(&cluster::Error::from(refused).into()), 2);
        }
        let running = Refusal::Running { name: "t".into() };
        assert_eq!(code(&cluster::Error::from(running).into()), 1);
        assert_eq!(code(&cluster::Error::NotRunning("t".into()).into()), 1);
        assert_eq!(code(&anyhow::anyhow!("a failure")), 1);
    }

    /// A word that is not UTF-8 is a wrong argument like any other.
    #[test]
    fn an_argument_that_is_no_text_is_no_word_of_the_prompt() {
        use std::os::unix::ffi::OsStringExt;
        let args = |word: &[u8]| ["ropewalk".into(), OsString::from_vec(word.to_vec())];
        assert_eq!(word(args(b"fault").into_iter()).as_deref(), Some("fault"));
        assert_eq!(word(args(b"\xff").into_iter()), None);
        let odd = ["ropewalk".into(), "trace".into(), OsString::from_vec(vec![255])];
        assert_eq!(word(odd.into_iter()).as_deref(), Some("trace"));
    }

    #[test]
    fn a_sentence_about_usage_has_an_example_in_either_language() {
        let sentence_for = |lang: Lang, words: &[&str]| {
            let error = Args::try_parse_from(words).err()?;
            sentence(lang, &error, words[1], "EXAMPLE")
        };
        for (words, english, korean) in [
            (&["ropewalk", "fault", "kill"][..], "missing after `fault`", "`fault` 뒤에"),
            (&["ropewalk", "fault", "kil", "etcd"], "`fault` does not take `kil`", "`kil` 값"),
            (&["ropewalk", "lab"], "missing after `lab`", "`lab` 뒤에"),
            (&["ropewalk", "lab", "begin"], "`lab` does not take `begin`", "`begin` 값"),
            (&["ropewalk", "undo", "two"], "`undo` does not take `two`", "`two` 값"),
            (&["ropewalk", "trace", "-n"], "missing after `trace`", "`trace` 뒤에"),
            (&["ropewalk", "trace", "--nope"], "`trace` does not take `--nope`", "`--nope` 값"),
        ] {
            for (lang, part) in [(Lang::En, english), (Lang::Ko, korean)] {
                let text = sentence_for(lang, words).unwrap_or_default();
                assert!(text.contains(part) && text.contains("EXAMPLE"), "{words:?}: {text}");
            }
        }
        assert_eq!(sentence_for(Lang::En, &["ropewalk", "lab", "--help"]), None);
    }
}
