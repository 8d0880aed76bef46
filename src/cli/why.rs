//! `why`: what is the matter, in a sentence or two.

use super::args::Output;
use crate::cluster::control::{Ask, Control};
use crate::cluster::home::Home;
use crate::lab::why::{Explanation, Question};
use crate::ui::settings;
use crate::ui::texts::{Lang, Say};

/// Exit code 0: nothing is wrong; 1: something is, and was explained.
pub async fn why(
    name: &str,
    about: Vec<String>,
    namespace: String,
    lang: Option<Lang>,
    output: Option<Output>,
) -> anyhow::Result<i32> {
    let home = Home::find()?;
    let lang = settings::language(lang, &home);
    let mut control = Control::connect(&home.cluster(name)?).await?;
    let question = serde_json::to_value(Question { lang, about, namespace })?;
    let told = control.ask(&Ask::Guest { name: "why".into(), question }).await?;
    if output == Some(Output::Json) {
        println!("{}", serde_json::to_string_pretty(&told)?);
        return Ok(0);
    }
    let told: Explanation = serde_json::from_value(told)?;
    print!("{}", text(lang, &told));
    Ok(i32::from(told.trouble))
}

fn text(lang: Lang, told: &Explanation) -> String {
    let mut out = String::new();
    if !told.about.is_empty() {
        out.push_str(&format!("{}\n", told.about));
    }
    for line in &told.lines {
        out.push_str(&format!("  {line}\n"));
    }
    for tip in &told.tips {
        out.push_str(&format!("  {}: {tip}\n", lang.say(Say::Try, &[])));
    }
    out
}
