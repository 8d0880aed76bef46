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
    let question = serde_json::to_value(Question { lang, about, namespace, after: last_line() })?;
    let answer = control.ask(&Ask::Guest { name: "why".into(), question }).await?;
    if output == Some(Output::Json) {
        std::println!("{}", serde_json::to_string_pretty(&answer)?);
    }
    let explanation: Explanation = serde_json::from_value(answer)?;
    if output.is_none() {
        print!("{}", explanation_text(lang, &explanation, columns()));
    }
    Ok(i32::from(explanation.problem))
}

/// Returns the line that was typed before this one. A session's shell passes it in the environment.
fn last_line() -> Option<Typed> {
    serde_json::from_str(&std::env::var(settings::LAST_VARIABLE).ok()?).ok()
}

/// Formats an explanation: its object, its lines and its tips. A line is broken between words, and
/// its rest has the indentation of its beginning.
fn explanation_text(lang: Lang, explanation: &Explanation, width: usize) -> String {
    let mut out = String::new();
    if !explanation.about.is_empty() {
        out.push_str(&format!("{}\n", harmless(&explanation.about)));
    }
    let tips = explanation.tips.iter().map(|tip| format!("{}: {tip}", lang.say(Say::Try, &[])));
    for line in explanation.lines.iter().cloned().chain(tips) {
        let indent = " ".repeat(2 + line.len() - line.trim_start().len());
        out.push_str(&wrapped(&typed::here(line.trim_start()), &indent, width));
    }
    out
}
