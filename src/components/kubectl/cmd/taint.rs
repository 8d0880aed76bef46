//! taint: what keeps pods away from nodes.

use super::common::{DryRun, Teller, validation};
use crate::builder;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::Options;
use crate::wire::api::{STRATEGIC_PATCH, encoded};
use api::gostr::quote;
use api::validate::names;
use api::value;
use serde_json::{Value, json};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

#[derive(Clone, Debug, PartialEq)]
struct Taint {
    key: String,
    value: String,
    effect: String,
    /// `timeAdded`, as the server has it: the whole list is written, also the taints that do not
    /// change.
    added: Value,
}

impl Taint {
    fn of(object: &Value) -> Taint {
        let part = |key: &str| value::text(object, key).to_string();
        let added = value::at(object, "timeAdded").clone();
        Taint { key: part("key"), value: part("value"), effect: part("effect"), added }
    }

    fn to_value(&self) -> Value {
        let mut taint = json!({"effect": self.effect, "key": self.key});
        if !self.value.is_empty() {
            value::put(&mut taint, "value", self.value.as_str());
        }
        if !self.added.is_null() {
            value::put(&mut taint, "timeAdded", self.added.clone());
        }
        taint
    }
}

fn is_taint(word: &str) -> bool {
    word.contains('=') || word.contains(':') || word.ends_with('-')
}

/// `key=value:Effect`, `key:Effect`, `key:Effect-`, `key-`
fn parse(ctx: &Ctx, word: &str) -> Result<(Taint, bool), Fail> {
    let (spec, remove) = match word.strip_suffix('-') {
        Some(spec) => (spec, true),
        None => (word, false),
    };
    let (pair, effect) = spec.split_once(':').unwrap_or((spec, ""));
    let (key, given) = pair.split_once('=').unwrap_or((pair, ""));
    if !remove || !effect.is_empty() {
        if effect.is_empty() {
            let problem = names::qualified_name(word).into_iter().next();
            let problem = problem.map_or(String::new(), |p| format!(", {p}"));
            return ctx.usage(format!("invalid taint spec: {word}{problem}"));
        }
        if !EFFECTS.contains(&effect) {
            return ctx.usage(format!("invalid taint effect: {effect}, unsupported taint effect"));
        }
    }
    if let Some(problem) = names::qualified_name(key).into_iter().next() {
        return ctx.usage(format!("invalid taint spec: {word}, {problem}"));
    }
    Ok((Taint { key: key.into(), value: given.into(), effect: effect.into(), added: Value::Null }, remove))
}

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    let teller = Teller::of(ctx, DryRun::No)?; // taint does not say that it only pretends
    let at = ctx.args.iter().position(|a| is_taint(a)).unwrap_or(ctx.args.len());
    let (objects, words) = ctx.args.split_at(at);
    let selected = ctx.flags.is("all") || !ctx.flags.text("selector").is_empty();
    let Some(kind) = objects.first() else {
        return text("one or more resources must be specified as <resource> <name>");
    };
    if words.is_empty() {
        return text("at least one taint update is required");
    }
    if ctx.flags.is("all") && !ctx.flags.text("selector").is_empty() {
        return text("cannot set --all and --selector at the same time");
    }
    let changes = read_changes(ctx, words)?;
    let resource = ctx.resource(kind).await?;
    if resource.plural != "nodes" {
        return text(format!("invalid resource type {kind}, only node types are supported"));
    }
    let options = Options { all_by_type: selected, ..Options::default() };
    let asked = builder::ask(ctx, objects, options).await?;
    let (infos, mut failures) = builder::objects(ctx, asked).await?;
    for mut info in infos {
        let old: Vec<Taint> = value::list(&info.object, "spec.taints").iter().map(Taint::of).collect();
        let (operation, taints) = match changed(&info.name, &old, &changes, ctx.flags.is("overwrite")) {
            Ok(done) => done,
            Err(fail) => {
                failures.push(fail);
                continue;
            }
        };
        if dry_run != DryRun::Client && taints != old {
            let wanted = match taints.is_empty() {
                true => Value::Null,
                false => taints.iter().map(Taint::to_value).collect(),
            };
            let mut query = vec![
                ("fieldManager", ctx.flags.text("field-manager")),
                ("fieldValidation", validation(ctx)?),
            ];
            dry_run.query(&mut query);
            let patch = encoded(&json!({"spec": {"taints": wanted}}));
            match ctx.api().await?.patch(&info.path(), &query, STRATEGIC_PATCH, patch).await {
                Ok(object) => info.object = object,
                Err(fail @ Fail::Api(_)) => {
                    failures.push(fail);
                    continue;
                }
                Err(other) => return Err(other),
            }
        }
        teller.tell(ctx, &info.object, operation, true)?;
    }
    Fail::join(failures)
}

/// Reads what the words change, each with whether it removes the taint. No two may be about the
/// same taint.
fn read_changes(ctx: &Ctx, words: &[String]) -> Result<Vec<(Taint, bool)>, Fail> {
    let mut changes = vec![];
    for word in words {
        changes.push(parse(ctx, word)?);
    }
    for (i, (taint, remove)) in changes.iter().enumerate() {
        let twin = |(t, r): &(Taint, bool)| t.key == taint.key && t.effect == taint.effect && r == remove;
        if changes[..i].iter().any(twin) {
            return ctx.usage(format!(
                "duplicated taints with the same key and effect: {{{} {} {} <nil>}}",
                taint.key, taint.value, taint.effect
            ));
        }
    }
    let shown = |t: &Taint| match (t.value.as_str(), t.effect.as_str()) {
        ("", "") => format!("{}=", t.key),
        ("", effect) => format!("{}={effect}", t.key),
        (value_of, effect) => format!("{}={value_of}:{effect}", t.key),
    };
    let both: Vec<String> = changes
        .iter()
        .filter(|(t, remove)| {
            *remove
                && changes.iter().any(|(new, gone)| {
                    !gone && new.key == t.key && (t.effect.is_empty() || new.effect == t.effect)
                })
        })
        .map(|(t, _)| shown(t))
        .collect();
    if !both.is_empty() {
        return text(format!(
            "can not both modify and remove the following taint(s) in the same command: {}",
            both.join(",")
        ));
    }
    Ok(changes)
}

/// The new taints of a node, and what was done to it.
fn changed(
    node: &str,
    old: &[Taint],
    changes: &[(Taint, bool)],
    overwrite: bool,
) -> Result<(&'static str, Vec<Taint>), Fail> {
    let same = |a: &Taint, b: &Taint| a.key == b.key && (b.effect.is_empty() || a.effect == b.effect);
    let added: Vec<&Taint> = changes.iter().filter(|(_, remove)| !remove).map(|(t, _)| t).collect();
    let taken: Vec<&str> =
        added.iter().filter(|new| old.iter().any(|o| same(o, new))).map(|t| t.key.as_str()).collect();
    if !overwrite && !taken.is_empty() {
        return text(format!(
            "node {node} already has {} taint(s) with same effect(s) and --overwrite is false",
            taken.join(",")
        ));
    }
    let modified = added.iter().any(|new| old.iter().any(|o| same(o, new)));
    let mut taints: Vec<Taint> = added.iter().map(|t| (*t).clone()).collect();
    taints.extend(old.iter().filter(|o| !added.iter().any(|new| same(o, new))).cloned());
    let mut removed = false;
    let mut lost = vec![];
    for (gone, _) in changes.iter().filter(|(_, remove)| *remove) {
        let before = taints.len();
        taints.retain(|t| !same(t, gone));
        if taints.len() == before {
            let shown = if gone.effect.is_empty() {
                gone.key.clone()
            } else {
                format!("{}:{}", gone.key, gone.effect)
            };
            lost.push(Fail::Text(format!("taint {} not found", quote(&shown))));
        }
        removed |= taints.len() < before;
    }
    Fail::join(lost)?;
    let operation = match (added.is_empty(), removed || modified) {
        (true, _) => "untainted",
        (false, true) => "modified",
        (false, false) => "tainted",
    };
    Ok((operation, taints))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_added_changed_and_removed() {
        let taint = |key: &str, value: &str, effect: &str| Taint {
            key: key.into(),
            value: value.into(),
            effect: effect.into(),
            added: Value::Null,
        };
        let old = [taint("a", "b", "NoSchedule")];
        let (done, taints) = changed("n", &old, &[(taint("c", "", "NoExecute"), false)], false).unwrap();
        assert_eq!((done, taints.len()), ("tainted", 2));
        assert!(changed("n", &old, &[(taint("a", "x", "NoSchedule"), false)], false).is_err());
        let (done, taints) = changed("n", &old, &[(taint("a", "x", "NoSchedule"), false)], true).unwrap();
        assert_eq!((done, taints), ("modified", vec![taint("a", "x", "NoSchedule")]));
        let (done, taints) = changed("n", &old, &[(taint("a", "", ""), true)], false).unwrap();
        assert_eq!((done, taints), ("untainted", vec![]));
        assert!(changed("n", &old, &[(taint("z", "", ""), true)], false).is_err());
    }

    #[test]
    fn a_taint_that_stays_keeps_its_time() {
        let there = json!({"key": "a", "effect": "NoExecute", "timeAdded": "2026-01-02T03:04:05Z"});
        let old = [Taint::of(&there)];
        let new = Taint::of(&json!({"key": "b", "effect": "NoSchedule"}));
        let (_, taints) = changed("n", &old, &[(new, false)], false).unwrap();
        let written: Vec<Value> = taints.iter().map(Taint::to_value).collect();
        assert_eq!(written, [json!({"key": "b", "effect": "NoSchedule"}), there]);
    }
}
