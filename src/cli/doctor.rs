//! `doctor`: what this machine allows. It forks, so it runs before anything has threads.

use super::args::Output;
use super::layout::{columns, wrapped};
use cluster::home::Home;
use lang::charset::{print, println};
use linux::probe::{self, Question};
use serde_json::json;
use ui::settings;
use ui::texts::{Lang, Say};
use unicode_width::UnicodeWidthStr;

/// Columns of a name in the list.
const NAME: usize = 28;

/// Prints what this machine can do, as a list in the language that is set or as JSON, which is
/// always in English. Returns 1 if something is missing that a cluster needs.
pub(crate) fn doctor(output: Option<Output>) -> anyhow::Result<i32> {
    let home = Home::find().unwrap_or_else(|_| Home::at("/")); // without a home the machine is still what it is
    let lang = if output == Some(Output::Json) { Lang::En } else { settings::language(None, &home) };
    let found = probe::probe(Question { lang, home: home.path() }, net::probe::trials)?;
    let fatal = found.iter().any(|capability| capability.fatal);
    if output == Some(Output::Json) {
        std::println!("{}", serde_json::to_string_pretty(&json!(found))?);
        return Ok(i32::from(fatal));
    }
    let (say, width) = (|say: Say| lang.say(say, &[]), columns());
    for c in &found {
        let gap = " ".repeat(NAME.saturating_sub(c.name.width()));
        let head = format!("{}  {}{gap} ", say(if c.ok { Say::DoctorOk } else { Say::DoctorLacks }), c.name);
        print!("{}", beside(&head, &c.found, width));
        if !c.ok {
            print!("{}", wrapped(&lang.say(Say::DoctorLost, &[&c.what_is_lost]), "      ", width));
            // One line, however long: it may have a command that is to be copied.
            println!("      {}", lang.say(Say::DoctorMend, &[&c.how_to_mend]));
        }
    }
    println!("\n{}", say(if fatal { Say::DoctorCannot } else { Say::DoctorCan }));
    Ok(i32::from(fatal))
}

/// Lays a text out beside a head: its further lines stand below its first.
fn beside(head: &str, text: &str, width: usize) -> String {
    let indent = " ".repeat(head.width());
    let lines = wrapped(text, &indent, width);
    let lines = if lines.is_empty() { "\n" } else { lines.strip_prefix(&indent).unwrap_or(&lines) };
    format!("{head}{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_broken_between_words_on_a_terminal_alone() {
        let found = "openat2 keeps paths of pods inside their root";
        let broken = "ok    path       openat2 keeps paths of\n                 pods inside their root\n";
        assert_eq!(beside("ok    path       ", found, 40), broken);
        assert_eq!(beside("있음  경로  ", found, usize::MAX), format!("있음  경로  {found}\n"));
        assert_eq!(beside("ok    path ", "", 80), "ok    path \n");
    }
}
