//! Drawn values: the same lab and the same seed give the same values, on every machine and in every
//! version that keeps the file.

use crate::cel::{Expr, Facts, Use, value};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a key may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// One of these, all as likely.
    Pick(Vec<Value>),
    /// Both ends belong to it.
    Range(i64, i64),
}

impl Choice {
    fn len(&self) -> u64 {
        match self {
            Choice::Pick(all) => all.len() as u64,
            Choice::Range(low, high) => (high - low).unsigned_abs() + 1,
        }
    }

    fn at(&self, n: u64) -> Value {
        match self {
            Choice::Pick(all) => all[(n % all.len().max(1) as u64) as usize].clone(),
            Choice::Range(low, _) => Value::from(low + (n % self.len()) as i64),
        }
    }
}

/// Keys in the order in which they are written.
pub type Choices = Vec<(String, Choice)>;

/// Draws every key for itself, so that a key added later leaves the others as they were.
pub(crate) fn draw(lab: &str, seed: u64, choices: &Choices) -> Map<String, Value> {
    let one = |key: &str, choice: &Choice| {
        let hash = Sha256::digest(format!("{lab}\0{seed}\0{key}"));
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        choice.at(u64::from_be_bytes(first))
    };
    choices.iter().map(|(key, choice)| (key.clone(), one(key, choice))).collect()
}

/// Adds what follows from the drawn values, in order; a later one may use earlier ones.
///
/// # Errors
/// The key whose expression has no value, and why.
pub(crate) fn derive(
    drawn: &Map<String, Value>,
    derived: &[(String, Expr)],
) -> Result<Map<String, Value>, String> {
    let mut all = drawn.clone();
    for (key, expr) in derived {
        let answer = expr.value(&facts(&all), &[]).map_err(|e| format!("{key}: {e}"))?;
        let json = match answer {
            cel::Value::Int(n) => Value::from(n),
            cel::Value::Bool(b) => Value::from(b),
            other => Value::from(value::show(&other)),
        };
        all.insert(key.clone(), json);
    }
    Ok(all)
}

/// Facts in which nothing is known but the variant.
pub(crate) fn facts(variant: &Map<String, Value>) -> Arc<Facts> {
    Arc::new(Facts { variant: Some(value::of_json(&Value::Object(variant.clone()))), ..Facts::default() })
}

/// Returns whether a condition is true of this variant; one that is missing is.
pub fn fits(condition: Option<&str>, variant: &Map<String, Value>) -> bool {
    condition.is_none_or(|c| Expr::compile(c, Use::Check, &[]).is_ok_and(|e| e.holds(&facts(variant))))
}

/// Seeds that are looked through for a cover.
const SEEDS: u64 = 3_000;

/// What has to be seen of a value: each of a list, the lowest and the highest tenth of a range.
fn part(choice: &Choice, value: &Value) -> Option<String> {
    match choice {
        Choice::Pick(_) => Some(value.to_string()),
        Choice::Range(low, high) => {
            let tenth = (high - low) / 10;
            match value.as_i64()? {
                n if n <= low + tenth => Some("low".into()),
                n if n >= high - tenth => Some("high".into()),
                _ => None,
            }
        }
    }
}

/// Seeds with which every value of every key occurs at least once with every `fault`: as few as a
/// greedy choice finds.
pub fn seeds(lab: &str, choices: &Choices) -> Vec<u64> {
    let parts = |seed: u64| -> BTreeSet<(String, String, String)> {
        let drawn = draw(lab, seed, choices);
        let fault = drawn.get("fault").map(ToString::to_string).unwrap_or_default();
        let seen = choices.iter().filter_map(|(key, choice)| Some((key.clone(), part(choice, &drawn[key])?)));
        seen.map(|(key, value)| (fault.clone(), key, value)).collect()
    };
    let mut all: Vec<(u64, BTreeSet<_>)> = (1..=SEEDS).map(|seed| (seed, parts(seed))).collect();
    let mut chosen = Vec::new();
    // The first in the list of those that show most that was not seen yet. What is taken out leaves
    // its place to the last one, so that need not be the lowest seed.
    while let Some(at) = (0..all.len()).max_by_key(|at| (all[*at].1.len(), usize::MAX - at)) {
        let (seed, shown) = all.swap_remove(at);
        if shown.is_empty() && !chosen.is_empty() {
            break;
        }
        all.iter_mut().for_each(|(_, left)| left.retain(|p| !shown.contains(p)));
        chosen.push(seed);
    }
    chosen
}

/// Returns whether a value can have this name, and stand as `{{key}}` in a text.
pub(crate) fn is_name(word: &str) -> bool {
    !word.is_empty() && word.chars().all(is_of_name)
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Keywords of a Go template that stand alone: `-o go-template='{{range .items}}x{{end}}'`.
const ACTIONS: [&str; 4] = ["break", "continue", "else", "end"];

/// A text with every `{{key}}` replaced. Other braces stay, and so does a keyword of a Go template,
/// as `{{end}}`, unless a value has its name.
///
/// # Errors
/// The first key that has no value.
pub fn fill(text: &str, variant: &Map<String, Value>) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(start) = rest.find("{{") {
        let inside = &rest[start + 2..];
        // Not up to the next two braces, which may be far away, each time.
        let is_other = |c: char| !c.is_whitespace() && !is_of_name(c);
        let (word, behind) = inside.split_at(inside.find(is_other).unwrap_or(inside.len()));
        let key = word.trim();
        let is_action = ACTIONS.contains(&key) && !variant.contains_key(key);
        match behind.strip_prefix("}}").filter(|_| is_name(key) && !is_action) {
            Some(behind) => {
                let known = variant.get(key).ok_or_else(|| key.to_string())?;
                out.push_str(&rest[..start]);
                out.push_str(&known.as_str().map_or_else(|| known.to_string(), String::from));
                rest = behind;
            }
            // Two braces of something else, e.g. of JSON.
            None => {
                out.push_str(&rest[..start + 1]);
                rest = &rest[start + 1..];
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn choices() -> Choices {
        vec![
            ("app".into(), Choice::Pick(vec![json!("menu"), json!("cart"), json!("ticket")])),
            ("port".into(), Choice::Range(8001, 8999)),
            ("fault".into(), Choice::Pick(vec![json!("value"), json!("key")])),
        ]
    }

    #[test]
    fn the_same_seed_is_the_same_lab() {
        let drawn = draw("a", 417, &choices());
        assert_eq!(drawn, draw("a", 417, &choices()));
        // A key is drawn for itself.
        let fewer: Choices = choices().into_iter().skip(1).collect();
        assert_eq!(drawn["port"], draw("a", 417, &fewer)["port"]);
        let ports =
            |lab: &str| (0..200).map(|s| draw(lab, s, &choices())["port"].clone()).collect::<Vec<_>>();
        assert_ne!(ports("a"), ports("b"));
        assert!(ports("a").iter().all(|p| (8001..=8999).contains(&p.as_i64().unwrap())));
        // What classes have been given on paper stays what it is.
        assert_eq!(Value::Object(drawn), json!({"app": "menu", "port": 8196, "fault": "value"}));
    }

    #[test]
    fn every_value_is_drawn() {
        for (key, choice) in choices() {
            let Choice::Pick(all) = choice else { continue };
            for value in all {
                assert!((0..100).any(|seed| draw("a", seed, &choices())[&key] == value), "{key} {value}");
            }
        }
    }

    #[test]
    fn a_cover_has_every_value_with_every_fault() {
        let all: Vec<_> = seeds("a", &choices()).into_iter().map(|s| draw("a", s, &choices())).collect();
        for fault in ["value", "key"] {
            for app in ["menu", "cart", "ticket"] {
                assert!(all.iter().any(|v| v["fault"] == fault && v["app"] == app), "{fault} {app}");
            }
            let ports = || all.iter().filter(|v| v["fault"] == fault).filter_map(|v| v["port"].as_i64());
            assert!(ports().any(|p| p < 8110) && ports().any(|p| p > 8890), "{fault}");
        }
        assert_eq!(all.len(), 6);
        assert_eq!(seeds("a", &vec![]).len(), 1);
    }

    #[test]
    fn values_are_put_into_texts_and_derived_from_each_other() {
        let drawn = json!({"app": "menu", "count": 3}).as_object().cloned().unwrap();
        let more = [("bad".to_string(), Expr::compile("'x=' + v.app", Use::Check, &[]).unwrap())];
        let all = derive(&drawn, &more).unwrap();
        assert_eq!(fill("{{app}}:{{count}} {{ bad }}", &all).unwrap(), "menu:3 x=menu");
        assert_eq!(fill("{\"a\":{\"{{app}}\":{}}}", &all).unwrap(), "{\"a\":{\"menu\":{}}}");
        for other in ["{{", "{{app", "{{ a b }}", "{{a}b}}", "{{}}", "{{-app}}"] {
            assert_eq!(fill(other, &all).as_deref(), Ok(other));
        }
        assert_eq!(fill("{{{{app}}}}", &all).as_deref(), Ok("{{menu}}"));
        let template = "-l app={{app}} -o go-template='{{range .items}}{{.kind}}{{else}}none{{ end }}'";
        assert_eq!(fill(template, &all), Ok(template.replace("{{app}}", "menu")));
        let own = json!({"end": "quay"}).as_object().cloned().unwrap();
        assert_eq!(fill("{{end}}", &own).as_deref(), Ok("quay"), "a value of this name");
        assert_eq!(fill("{{ap}}", &all), Err("ap".into()));
        assert!(fits(Some("v.count > 2"), &all) && !fits(Some("v.count > 3"), &all) && fits(None, &all));
    }
}
