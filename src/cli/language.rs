//! `lang`: which language the texts have. It needs no cluster that runs.

use anyhow::Context;
use cluster::Home;
use lang::charset::{self, println};
use ui::settings;
use ui::texts::{Lang, Say};

/// Prints the language, or saves this one for every later command and session. Exit code 1: it
/// cannot be shown or saved.
pub(crate) fn run(to: Option<Lang>) -> anyhow::Result<i32> {
    let home = Home::find()?;
    match to {
        None => println!("{}", settings::described(settings::language(None, &home), "ropewalk ")),
        Some(lang) if charset::presentable(lang, false) != lang => return Ok(1), // it has said why
        Some(lang) => {
            settings::save(&home, lang).with_context(|| home.settings().display().to_string())?;
            println!("{}", lang.say(Say::LangSet, &[]));
        }
    }
    Ok(0)
}
