//! label and annotate: small notes on objects.

use super::common::{DryRun, Teller};
use crate::builder::{self, Info, Options};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::gostr::quote;
use crate::wire::api::MERGE_PATCH;
use api::validate::names;
use api::value;
use serde_json::{Map, Value, json};

/// What distinguishes the two verbs.
struct Notes {
    /// `labels`
    field: &'static str,
    one: &'static str,
    done: &'static str,
    manager: &'static str,
}

pub async fn label(ctx: &Ctx) -> Result<(), Fail> {
    change(ctx, Notes { field: "labels", one: "label", done: "labeled", manager: "kubectl-label" }).await
}

pub async fn annotate(ctx: &Ctx) -> Result<(), Fail> {
    change(
        ctx,
        Notes { field: "annotations", one: "annotation", done: "annotated", manager: "kubectl-annotate" },
    )
    .await
}

/// Pairs to set and keys to remove.
struct Wanted {
    set: Vec<(String, String)>,
    remove: Vec<String>,
}

fn is_change(word: &str) -> bool {
    (word.contains('=') && !word.starts_with('=')) || (word.ends_with('-') && word.len() > 1)
}

fn wanted(words: &[String], notes: &Notes) -> Result<Wanted, Fail> {
    let mut wanted = Wanted { set: vec![], remove: vec![] };
    for word in words {
        match word.split_once('=') {
            Some(("", _)) => return text(format!("invalid {} spec: {word}", notes.one)),
            Some((key, given)) => {
                if notes.field == "labels"
                    && let Some(problem) = names::label_value(given).into_iter().next()
                {
                    return match word.matches('=').count() {
                        1 => text(format!("invalid label value: {}: {problem}", quote(word))),
                        _ => text(format!("invalid label spec: {word}")),
                    };
                }
                wanted.set.push((key.into(), given.into()));
            }
            None if word.ends_with('-') => wanted.remove.push(word[..word.len() - 1].to_string()),
            None => return text(format!("unknown {} spec: {word}", notes.one)),
        }
    }
    if let Some((key, _)) = wanted.set.iter().find(|(k, _)| wanted.remove.contains(k)) {
        return text(match notes.field {
            "labels" => "can not both modify and remove a label in the same command".to_string(),
            _ => format!(
                "can not both modify and remove the following annotation(s) in the same command: {key}"
            ),
        });
    }
    Ok(wanted)
}

async fn change(ctx: &Ctx, notes: Notes) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    let teller = Teller::of(ctx, dry_run)?;
    // The first word that is a change ends what names objects.
    let at = ctx.args.iter().position(|a| is_change(a)).unwrap_or(ctx.args.len());
    let (objects, words) = ctx.args.split_at(at);
    if words.iter().any(|w| !is_change(w)) {
        return text(
            "all resources must be specified before ".to_string()
                + notes.one
                + " changes: "
                + words.iter().find(|w| !is_change(w)).map_or("", String::as_str),
        );
    }
    let by_file = ctx.names_files();
    if objects.is_empty() && !by_file {
        return text("one or more resources must be specified as <resource> <name> or <resource>/<name>");
    }
    let list = ctx.flags.is("list");
    if words.is_empty() && !list {
        return text(format!("at least one {} update is required", notes.one));
    }
    let wanted = wanted(words, &notes)?;
    if ctx.flags.is("all") && !ctx.flags.text("selector").is_empty() {
        return text("cannot set --all and --selector at the same time");
    }
    let options = Options { all_namespaces: ctx.flags.is("all-namespaces"), ..Options::default() };
    let (infos, mut failures) = builder::local_or_there(ctx, objects, options).await?;
    let many = infos.len() > 1;
    for mut info in infos {
        match one(ctx, &mut info, &wanted, &notes, dry_run).await {
            Ok(_) if list => {
                if many {
                    ctx.line(format!(
                        "Listing {} for {}.{}/{}:",
                        notes.field, info.resource.kind, info.resource.group, info.name
                    ));
                }
                let mut pairs: Vec<String> = value::pairs(&info.object, &format!("metadata.{}", notes.field))
                    .map(|(k, v)| format!("{}{k}={v}", if many { " " } else { "" }))
                    .collect();
                pairs.sort();
                pairs.iter().for_each(|p| ctx.line(p));
            }
            Ok(operation) => teller.tell(ctx, &info.object, operation, true)?,
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => failures.push(fail),
            Err(other) => return Err(other),
        }
    }
    Fail::join(failures)
}

async fn one(
    ctx: &Ctx,
    info: &mut Info,
    wanted: &Wanted,
    notes: &Notes,
    dry_run: DryRun,
) -> Result<&'static str, Fail> {
    let path = format!("metadata.{}", notes.field);
    let there: Map<String, Value> = value::map(&info.object, &path).cloned().unwrap_or_default();
    if !ctx.flags.is("overwrite") {
        let mut taken: Vec<String> = vec![];
        for (key, given) in &wanted.set {
            if let Some(old) = there.get(key).and_then(Value::as_str).filter(|old| old != given) {
                taken.push(format!("'{key}' already has a value ({old})"));
            }
        }
        if let Some(first) = taken.first() {
            return text(match notes.field {
                "labels" => format!("{first}, and --overwrite is false"),
                _ => format!(
                    "--overwrite is false but found the following declared annotation(s): {}",
                    taken.join("; ")
                ),
            });
        }
    }
    let mut patch = Map::new();
    let mut removed = 0;
    for key in &wanted.remove {
        if there.contains_key(key) {
            removed += 1;
            patch.insert(key.clone(), Value::Null);
        } else if notes.field == "labels" {
            ctx.line(format!("label {} not found.", quote(key)));
        }
    }
    let added = wanted.set.iter().filter(|(k, _)| !there.contains_key(k)).count();
    let changes =
        wanted.set.iter().any(|(k, v)| there.get(k).and_then(Value::as_str) != Some(v)) || removed > 0;
    // A map that was not there becomes an empty one, which counts as a change.
    let made = value::at(&info.object, &path).is_null();
    for (key, given) in &wanted.set {
        if there.get(key).and_then(Value::as_str) != Some(given) {
            patch.insert(key.clone(), given.clone().into());
        }
    }
    let mut body = json!({"metadata": {}});
    if !patch.is_empty() {
        value::put(&mut body, &path, patch);
    }
    let version = ctx.flags.text("resource-version");
    if !version.is_empty() {
        value::put(&mut body, "metadata.resourceVersion", version);
    }
    if dry_run == DryRun::Client
        || ctx.flags.is("local")
        || ctx.flags.is("list") && wanted.set.is_empty() && wanted.remove.is_empty()
    {
        api::patch::merge(&mut info.object, &body);
    } else if changes || !version.is_empty() {
        let manager = match ctx.flags.text("field-manager") {
            "" => notes.manager,
            named => named,
        };
        let mut query = vec![("fieldManager", manager)];
        dry_run.query(&mut query);
        info.object =
            ctx.api().await?.patch(&info.path(), &query, MERGE_PATCH, body.to_string().into()).await?;
    }
    Ok(match notes.field {
        "labels" if removed > added => "unlabeled",
        "labels" if !changes && !made => "not labeled",
        _ => notes.done,
    })
}
