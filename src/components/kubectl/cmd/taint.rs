//! taint: what keeps pods away from nodes.

use super::common::{DryRun, Printer, validation};
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

/// `key=value:Effect`, `key:Effect`, `key:Effect-`, `key-`. A word without an effect is a key and
/// nothing else: `key=value-` removes nothing, for its value would not count.
fn parse(ctx: &Ctx, word: &str) -> Result<(Taint, bool), Fail> {
    let (spec, remove) = match word.strip_suffix('-') {
        Some(spec) => (spec, true),
        None => (word, false),
    };
    let invalid = |problems: Vec<String>| {
        let problems = problems.join("; ");
        let why = if problems.is_empty() { problems } else { format!(", {problems}") };
        ctx.usage(format!("invalid taint spec: {spec}{why}"))
    };
    let (key, given, effect) = match spec.split(':').collect::<Vec<_>>().as_slice() {
        [key] => (*key, "", ""),
        [_, effect] if !EFFECTS.contains(effect) => {
            return ctx.usage(format!("invalid taint effect: {effect}, unsupported taint effect"));
        }
        [pair, effect] => match pair.split('=').collect::<Vec<_>>().as_slice() {
            [key] => (*key, "", *effect),
            [key, given] => (*key, *given, *effect),
            _ => return invalid(vec![]),
        },
        _ => return invalid(vec![]),
    };
    for problems in [names::label_value(given), names::qualified_name(key)] {
        if !problems.is_empty() {
            return invalid(problems);
        }
    }
    if effect.is_empty() && !remove {
        return invalid(vec![]);
    }
    Ok((Taint { key: key.into(), value: given.into(), effect: effect.into(), added: Value::Null }, remove))
}

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    let printer = Printer::of(ctx, DryRun::No)?; // taint does not say that it only pretends
    let at = ctx.args.iter().position(|a| is_taint(a)).unwrap_or(ctx.args.len());
    let (objects, words) = ctx.args.split_at(at);
    let selected = ctx.flags.is("all") || !ctx.flags.text("selector").is_empty();
    if let Some(word) = words.iter().find(|word| !is_taint(word)) {
        return text(format!("all resources must be specified before taint changes: {word}"));
    }
    let Some(kind) = objects.first() else {
        return text("one or more resources must be specified as <resource> <name>");
    };
    if words.is_empty() {
        return text("at least one taint update is required");
    }
    let changes = read_changes(ctx, words)?;
    let resource = ctx.resource(kind).await?;
    if resource.plural != "nodes" {
        return text(format!("invalid resource type {kind}, only node types are supported"));
    }
    if ctx.flags.is("all") && !ctx.flags.text("selector").is_empty() {
        return text("setting 'all' parameter with a non empty selector is prohibited");
    }
    if !selected && objects.len() == 1 {
        return text("at least one resource name must be specified since 'all' parameter is not set");
    }
    // Beside a selector names do not count, as in kubectl: `--all` means each node. A selector of
    // spaces, such as an unset variable leaves, is refused: it is not every node.
    let objects = if selected { &objects[..1] } else { objects };
    let selection = builder::select(ctx, objects, Options::default()).await?;
    let (infos, mut failures) = builder::objects(ctx, selection).await?;
    for mut info in infos {
        let old: Vec<Taint> = value::list(&info.object, "spec.taints").iter().map(Taint::of).collect();
        let (operation, taints) = match changed(&info.name, &old, &changes, ctx.flags.is("overwrite")) {
            Ok(done) => done,
            Err(fail) => {
                failures.push(fail);
                continue;
            }
        };
        let wanted = match taints.is_empty() {
            true => Value::Null,
            false => taints.iter().map(Taint::to_value).collect(),
        };
        if dry_run == DryRun::Client {
            api::patch::merge(&mut info.object, &json!({"spec": {"taints": wanted}}));
        } else if taints != old {
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
        printer.print(ctx, &info.object, operation, true)?;
    }
    Fail::join(failures)
}

/// Reads what the words change, each with whether it removes the taint. No taint may be added
/// twice, or both added and removed.
fn read_changes(ctx: &Ctx, words: &[String]) -> Result<Vec<(Taint, bool)>, Fail> {
    let mut changes: Vec<(Taint, bool)> = vec![];
    for word in words {
        let (taint, remove) = parse(ctx, word)?;
        let twin = |(t, r): &(Taint, bool)| !r && t.key == taint.key && t.effect == taint.effect;
        if !remove && changes.iter().any(twin) {
            return ctx.usage(format!(
                "duplicated taints with the same key and effect: {{{} {} {} <nil>}}",
                taint.key, taint.value, taint.effect
            ));
        }
        changes.push((taint, remove));
    }
    let of = |removed: bool| changes.iter().filter(move |(_, r)| *r == removed).map(|(taint, _)| taint);
    let both: Vec<String> = of(false)
        .flat_map(|new| of(true).filter(move |gone| is_same(new, gone)))
        .map(|gone| format!("{}={}", gone.key, gone.effect))
        .collect();
    if !both.is_empty() {
        return text(format!(
            "can not both modify and remove the following taint(s) in the same command: {}",
            both.join(", ")
        ));
    }
    Ok(changes)
}

/// Returns whether a taint is the one that `named` names. A name without an effect means all taints
/// of its key.
fn is_same(taint: &Taint, named: &Taint) -> bool {
    taint.key == named.key && (named.effect.is_empty() || taint.effect == named.effect)
}

/// The new taints of a node, and what was done to it.
fn changed(
    node: &str,
    old: &[Taint],
    changes: &[(Taint, bool)],
    overwrite: bool,
) -> Result<(&'static str, Vec<Taint>), Fail> {
    let added: Vec<&Taint> = changes.iter().filter(|(_, remove)| !remove).map(|(t, _)| t).collect();
    let conflicts: Vec<&str> =
        added.iter().filter(|new| old.iter().any(|o| is_same(o, new))).map(|t| t.key.as_str()).collect();
    if !overwrite && !conflicts.is_empty() {
        return text(format!(
            "node {node} already has {} taint(s) with same effect(s) and --overwrite is false",
            conflicts.join(",")
        ));
    }
    let mut taints: Vec<Taint> = added.iter().map(|t| (*t).clone()).collect();
    taints.extend(old.iter().filter(|o| !added.iter().any(|new| is_same(o, new))).cloned());
    let more = taints.len() != old.len();
    let mut removed = false;
    let mut lost = vec![];
    for (gone, _) in changes.iter().filter(|(_, remove)| *remove) {
        let before = taints.len();
        taints.retain(|t| !is_same(t, gone));
        if taints.len() == before {
            let label = if gone.effect.is_empty() {
                gone.key.clone()
            } else {
                format!("{}:{}", gone.key, gone.effect)
            };
            lost.push(Fail::Text(format!("taint {} not found", quote(&label))));
        }
        removed |= taints.len() < before;
    }
    Fail::join(lost)?;
    // With `--overwrite` the outcome is called a change, whatever it is (`reorganizeTaints`).
    let operation = match (overwrite, more, removed) {
        (true, ..) | (_, true, true) => "modified",
        (_, true, false) => "tainted",
        (_, false, _) => "untainted",
    };
    Ok((operation, taints))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;

    #[tokio::test]
    async fn a_word_that_is_no_taint_changes_nothing() {
        let server = Server::away().await;
        for (word, why) in [
            ("a=b-", "invalid taint spec: a=b, name part must consist of"),
            ("a=b", "invalid taint spec: a=b, name part must consist of"),
            ("a=b=c:NoSchedule", "invalid taint spec: a=b=c:NoSchedule\n"),
            ("a=b c:NoSchedule", "invalid taint spec: a=b c:NoSchedule, a valid label must be"),
            ("a:NoSchedule:x", "invalid taint spec: a:NoSchedule:x\n"),
            ("a=b:Never-", "invalid taint effect: Never, unsupported taint effect\n"),
        ] {
            let result = server.kubectl(&["taint", "node", "n", word]).await;
            assert!(result.code == 1 && result.err.starts_with(&format!("error: {why}")), "{result:?}");
        }
        let both = ["taint", "node", "n", "a=b:NoSchedule", "a:NoExecute", "a-"];
        let result = server.kubectl(&both).await;
        assert!(result.err.ends_with("in the same command: a=, a=\n"), "{result:?}");
    }

    /// A server that knows nodes.
    async fn with_nodes() -> Server {
        Server::start_with(|request| {
            let nodes = json!({"resource": "nodes", "singularResource": "node", "responseKind": {"kind": "Node"},
                "scope": "Cluster", "verbs": ["get"]});
            let core = json!({"metadata": {}, "versions": [{"version": "v1", "resources": [nodes]}]});
            let list = || (200, json!({"kind": "APIGroupDiscoveryList", "items": [core]}));
            (request.path == "/api").then(list)
        })
        .await
    }

    #[tokio::test]
    async fn nodes_stand_before_their_taints() {
        let server = with_nodes().await;
        for (line, why) in [
            (
                &["taint", "node", "n", "a=b:NoSchedule", "m"][..],
                "all resources must be specified before taint changes: m",
            ),
            (
                &["taint", "a:NoSchedule", "node", "n"],
                "all resources must be specified before taint changes: node",
            ),
            (
                &["taint", "node", "a:NoSchedule"],
                "at least one resource name must be specified since 'all' parameter is not set",
            ),
            (
                &["taint", "node", "--all", "--selector=a=b", "a-"],
                "setting 'all' parameter with a non empty selector is prohibited",
            ),
        ] {
            let result = server.kubectl(line).await;
            assert_eq!((result.code, result.err), (1, format!("error: {why}\n")), "{line:?}");
        }
        assert!(server.requests().is_empty(), "no node was read");
    }

    #[tokio::test]
    async fn a_selector_of_spaces_is_not_every_node() {
        let server = with_nodes().await;
        let result = server.kubectl(&["taint", "node", "a=b:NoSchedule", "-l", " "]).await;
        let why = "error: resource(s) were provided, but no name was specified\n";
        assert_eq!((result.code, result.err.as_str()), (1, why));
        assert!(server.requests().is_empty(), "no node was read");
    }

    #[tokio::test]
    async fn all_means_each_node_also_beside_a_name() {
        for selector in ["--all", "--selector=a"] {
            let server = with_nodes().await;
            for name in ["m", "n"] {
                let node = json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": name}});
                server.hold(&format!("/api/v1/nodes/{name}"), node);
            }
            let result = server.kubectl(&["taint", "node", "n", "a=b:NoSchedule", selector]).await;
            assert_eq!(
                (result.code, result.out.as_str()),
                (0, "node/m tainted\nnode/n tainted\n"),
                "{result:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_dry_run_shows_the_node_with_its_taint() {
        let server = with_nodes().await;
        let node =
            json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"}, "spec": {"podCIDR": "x"}});
        server.hold("/api/v1/nodes/n", node);
        let taint = ["taint", "node", "n", "a=b:NoSchedule"];
        let result = server.kubectl(&[&taint[..], &["--dry-run=client", "-o", "json"]].concat()).await;
        let object: Value = serde_json::from_str(&result.out).unwrap();
        let want = json!({"podCIDR": "x", "taints": [{"effect": "NoSchedule", "key": "a", "value": "b"}]});
        assert_eq!(object["spec"], want, "{result:?}");
        let result = server.kubectl(&[&taint[..], &["--overwrite"]].concat()).await;
        assert_eq!((result.code, result.out.as_str()), (0, "node/n modified\n"), "{result:?}");
    }

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
