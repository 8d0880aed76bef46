//! `answer:` of a step: a question about what the screen or the cluster shows. It is right by an
//! expression over the live cluster, which sees what was answered as `answer`.
//!
//! Example: `is: 'object("Pod","default","nginx-pod").status.podIP'` names no `answer`, so it says
//! what is right; for the form `text` it is compiled as `alike(answer, object(…).status.podIP)`.

use super::compiler::Compiler;
use super::question::{Answer, Form, Part};
use super::raw::{self, Right};
use super::text::{EN, Text};
use crate::cel::facts::ANSWER;
use crate::cel::{Expr, Meaning, Use};
use std::collections::BTreeMap;

/// The letters of choices and cards.
const LETTERS: &[&str] = &["a", "b", "c", "d", "e", "f", "g", "h"];

/// Reads the key `answer:`; what is wrong with it is noted.
pub(super) fn compile(on: &mut Compiler<'_>, raw: raw::Answer) -> Option<Answer> {
    let cards = cards(on, &raw);
    let tolerance = raw.tolerance.unwrap_or(0.0);
    if raw.tolerance.is_some() && (raw.form != Form::Number || !tolerance.is_finite() || tolerance < 0.0) {
        on.fault("tolerance:", "a tolerance is a number from 0 on, and only the form number has one".into());
    }
    let is = right(on, raw.form, &raw.is, tolerance, &cards)?;
    let part = part(on, &raw, cards.len());
    let cards = cards.into_iter().map(|(letter, text)| (letter, Text::new(&text))).collect();
    Some(Answer { question: Text::new(&raw.question), form: raw.form, cards, is, part })
}

/// Compiles how a part of the right choices is recognized, if `count:` says how many are right.
///
/// Example: `is: [b, d]` with `count: 2` becomes
/// `size(["b","d"]) == 2 && answer.all(chosen, chosen in (["b","d"]))`.
fn part(on: &mut Compiler<'_>, raw: &raw::Answer, choices: usize) -> Option<Part> {
    let count = raw.count?;
    if raw.form != Form::Choices || !(2..=choices).contains(&count) {
        let what = "`count` says how many choices are right: 2 at least, and only the form choices has it";
        on.fault("count:", what.into());
        return None;
    }
    let source = match &raw.is {
        Right::Expr(source) => source.clone(),
        Right::List(all) if all.len() == count => serde_json::Value::from(all.clone()).to_string(),
        Right::List(all) => {
            on.fault("count:", format!("`is` names {} right choices, not {count}", all.len()));
            return None;
        }
        Right::Number(_) => return None,
    };
    let bound = [(ANSWER, Meaning::default())];
    if on.expr_near("count:", &source, Use::Check, &bound)?.names(ANSWER) {
        let what = "this `is` names `answer`, so it does not say which choices are right; leave out `count`";
        on.fault("count:", what.into());
        return None;
    }
    let source = format!("size({source}) == {count} && {ANSWER}.all(chosen, chosen in ({source}))");
    let is = on.expr_near("count:", &source, Use::Check, &bound)?;
    Some(Part { count, is })
}

/// The choices or the cards of a question, as its form wants them.
fn cards(on: &mut Compiler<'_>, raw: &raw::Answer) -> BTreeMap<String, String> {
    let (wanted, name, other) = match raw.form {
        Form::Choices => (raw.choices.as_ref(), "choices", raw.cards.as_ref()),
        Form::Order => (raw.cards.as_ref(), "cards", raw.choices.as_ref()),
        Form::Text | Form::Number => {
            if raw.choices.is_some() || raw.cards.is_some() {
                on.fault("form:", "only the forms choices and order have letters to choose from".into());
            }
            return BTreeMap::new();
        }
    };
    if other.is_some() {
        on.fault("form:", "the form choices has `choices`, the form order has `cards`".into());
    }
    let cards = wanted.cloned().unwrap_or_default();
    if cards.len() < 2 {
        on.fault("form:", format!("this form needs `{name}`, two at least"));
    }
    if let Some(odd) = cards.keys().zip(LETTERS).find(|(key, letter)| key != *letter) {
        on.fault(&format!("{name}:"), format!("{name} are called a, b, c, … up to h, not {:?}", odd.0));
    } else if cards.len() > LETTERS.len() {
        on.fault(&format!("{name}:"), format!("{name} are called a to h, so there are at most 8"));
    }
    cards
}

/// The expression by which an answer is right.
fn right(
    on: &mut Compiler<'_>,
    form: Form,
    right: &Right,
    tolerance: f64,
    cards: &BTreeMap<String, String>,
) -> Option<Expr> {
    let bound = [(ANSWER, Meaning::default())];
    let (near, source) = match (right, form) {
        (Right::Expr(source), _) => {
            let expr = on.expr_of(source, Use::Check, &bound)?;
            if expr.names(ANSWER) {
                if tolerance > 0.0 {
                    on.fault(
                        "tolerance:",
                        "this `is` names `answer` and compares by itself: write near(answer, …, …)".into(),
                    );
                }
                return Some(expr);
            }
            (source.as_str(), source.clone())
        }
        (Right::Number(number), Form::Number) => ("is:", number.to_string()),
        (Right::List(all), Form::Text | Form::Choices | Form::Order) => {
            if let Some(odd) = all.iter().find(|one| form != Form::Text && !cards.contains_key(*one)) {
                on.fault("is:", format!("{odd:?} is none of its letters"));
            }
            if form == Form::Order && (all.len() != cards.len() || all.iter().eq(cards.keys())) {
                on.fault("is:", "name every card once, in another order than the alphabet's".into());
            }
            if all.is_empty() {
                on.fault("is:", "no answer would be right".into());
            }
            ("is:", serde_json::Value::from(all.clone()).to_string())
        }
        (Right::Number(_) | Right::List(_), _) => {
            let what =
                "`is` is an expression; or a number, for the form number; or a list of texts, for the others";
            on.fault("is:", what.into());
            return None;
        }
    };
    // What is right, and not yet whether `answer` is: compared as the form wants it.
    let compared = match form {
        Form::Text => format!("alike({ANSWER}, {source})"),
        Form::Number => format!("near({ANSWER}, {source}, {tolerance:?})"),
        Form::Choices => format!("same_items({ANSWER}, {source})"),
        Form::Order => format!("{ANSWER} == ({source})"),
    };
    let near = near.to_string();
    on.expr_near(&near, &compared, Use::Check, &bound)
}

/// Adds another language's words; what differs from the English ones is noted.
pub(super) fn translate(
    on: &mut Compiler<'_>,
    step: &str,
    answer: &mut Option<Answer>,
    words: Option<raw::AnswerWords>,
    lang: &str,
) {
    let here = format!("id: {step}");
    let (answer, words) = match (answer, words) {
        (Some(answer), Some(words)) => (answer, words),
        (None, None) => return,
        (there, _) => {
            let what = if there.is_some() { "is missing" } else { "is not in English" };
            return on.fault(&here, format!("the question under `answer` of step {step:?} {what}"));
        }
    };
    answer.question.put(lang, &words.question);
    let (own, other, name) = match answer.form {
        Form::Order => (words.cards, words.choices, "cards"),
        _ => (words.choices, words.cards, "choices"),
    };
    let own = own.unwrap_or_default();
    if other.is_some() || !answer.cards.iter().map(|(letter, _)| letter).eq(own.keys()) {
        on.fault(&here, format!("the {name} of step {step:?} are not called as in English"));
    }
    for (letter, text) in &mut answer.cards {
        let english = text.get(EN).to_string();
        text.put(lang, own.get(letter).unwrap_or(&english));
    }
}

#[cfg(test)]
mod tests;
