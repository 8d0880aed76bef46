//! `why`: what is the matter, in a sentence or two.

use super::args::Output;
use super::layout::{columns, wrapped};
use cluster::control::{Ask, Control};
use cluster::home::Home;
use lab::why::{Explanation, Question, Typed};
use lang::charset::print;
use lang::typed;
use ui::prose::harmless;
use ui::settings;
use ui::texts::{Lang, Say};

/// Exit code 0: nothing is wrong; 1: something is, and was explained.
pub(crate) async fn why(
    name: &str,
    about: Vec<String>,
    namespace: String,
    lang: Option<Lang>,
    output: Option<Output>,
) -> anyhow::Result<i32> {
    let home = Home::find()?;
    let lang = settings::language(lang, &home);
    let mut control = Control::connect(&home.cluster(name)?).await?;
    let question = serde_json::to_value(Question { lang, about, namespace, after: after() })?;
    let told = control.ask(&Ask::Guest { name: "why".into(), question }).await?;
    if output == Some(Output::Json) {
        std::println!("{}", serde_json::to_string_pretty(&told)?);
    }
    let told: Explanation = serde_json::from_value(told)?;
    if output.is_none() {
        print!("{}", explanation_text(lang, &told, columns()));
    }
    Ok(i32::from(told.problem))
}

/// The line that was typed before this one. A session's shell passes it in the environment.
fn after() -> Option<Typed> {
    serde_json::from_str(&std::env::var(settings::LAST_VARIABLE).ok()?).ok()
}

/// Lines are broken between words, and go on as far in as they began.
fn explanation_text(lang: Lang, told: &Explanation, width: usize) -> String {
    let mut out = String::new();
    if !told.about.is_empty() {
        out.push_str(&format!("{}\n", harmless(&told.about)));
    }
    let tips = told.tips.iter().map(|tip| format!("{}: {tip}", lang.say(Say::Try, &[])));
    for line in told.lines.iter().cloned().chain(tips) {
        let indent = " ".repeat(2 + line.len() - line.trim_start().len());
        out.push_str(&wrapped(&typed::here(line.trim_start()), &indent, width));
    }
    out
}
