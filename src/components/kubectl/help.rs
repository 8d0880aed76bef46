//! `kubectl VERB --help`, from the table of verbs.

use super::flag::{Flag, Kind};
use super::table::Verb;

/// The help text of a verb.
pub(crate) fn of(verb: &Verb) -> String {
    let mut out = format!("{}.\n", verb.short);
    let children: Vec<&Verb> = verb.listed().collect();
    if !children.is_empty() {
        out.push_str("\nAvailable Commands:\n");
        let width = children.iter().map(|c| c.name().len()).max().unwrap_or(0) + 3;
        for child in children {
            out.push_str(&format!("  {:<width$}{}\n", child.name(), child.short));
        }
    }
    if !verb.flags.is_empty() {
        out.push_str("\nOptions:\n");
        out.push_str(&flags(verb.flags));
    } else {
        out.push('\n');
    }
    out.push_str(&format!("Usage:\n  kubectl {}\n", verb.usage));
    if verb.children().next().is_some() {
        let path = verb.command_path();
        out.push_str(&format!(
            "\nUse \"{path} <command> --help\" for more information about a given command."
        ));
    }
    out.push_str(
        "\nUse \"kubectl options\" for a list of global command-line options (applies to all commands).\n",
    );
    out
}

/// Flags with their defaults, one paragraph each.
pub(crate) fn flags(flags: &[Flag]) -> String {
    let mut out = String::new();
    for flag in flags {
        let default = match flag.kind {
            Kind::Text => format!("'{}'", flag.default),
            Kind::List | Kind::Array => format!("[{}]", flag.default),
            Kind::Bool | Kind::Int | Kind::Int32 | Kind::Duration => flag.default.to_string(),
        };
        let short = if flag.short.is_empty() { String::new() } else { format!("-{}, ", flag.short) };
        out.push_str(&format!("    {short}--{}={default}:\n\t{}.\n\n", flag.name, flag.help));
    }
    out
}
