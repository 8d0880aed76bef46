//! `doctor`: what this machine allows. It forks, so it runs before anything has threads.

use super::args::Output;
use cluster::home::Home;
use lang::charset::println;
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
    let say = |say: Say| lang.say(say, &[]);
    for c in &found {
        let gap = " ".repeat(NAME.saturating_sub(c.name.width()));
        println!("{}  {}{gap} {}", say(if c.ok { Say::DoctorOk } else { Say::DoctorLacks }), c.name, c.found);
        if !c.ok {
            println!("      {}", lang.say(Say::DoctorLost, &[&c.what_is_lost]));
            println!("      {}", lang.say(Say::DoctorMend, &[&c.how_to_mend]));
        }
    }
    println!("\n{}", say(if fatal { Say::DoctorCannot } else { Say::DoctorCan }));
    Ok(i32::from(fatal))
}
