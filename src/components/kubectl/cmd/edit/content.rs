//! The content of an edited file: its objects, and reasons to refuse it.

use crate::cmd::common::validation;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::files;
use crate::info::Info;
use crate::manifest;
use api::gostr::quote;
use api::value;
use serde_json::Value;

/// The documents of a text, to compare. Only a parser knows which lines are comments (one that
/// starts with `#` may be a line of a script in a ConfigMap); what cannot be parsed is compared
/// without the lines that look like some.
pub(super) fn meant(text: &str) -> Result<Vec<Value>, String> {
    manifest::documents(text.as_bytes()).map_err(|_| text.lines().filter(|line| !is_comment(line)).collect())
}

/// True if a text has only comments and blank lines.
pub(super) fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// The text without the comments that `edit` wrote at its top.
pub(super) fn without_head(text: &str) -> &str {
    let head: usize = text.split_inclusive('\n').take_while(|line| line.starts_with('#')).map(str::len).sum();
    &text[head..]
}

/// Returns why kubectl's own validation refuses an edited file, unless `--validate=false` turns it
/// off: the file is no YAML, is empty, or its first object has no apiVersion or no kind. Source:
/// kubectl's `pkg/validation/schema.go`, `paramVerifyingSchema.ValidateBytes`.
///
/// # Errors
/// [`Fail::Text`]: `--validate` has another value than those that it knows.
pub(super) fn invalid(ctx: &Ctx, edited: &str) -> Result<Option<String>, Fail> {
    if validation(ctx)? == "Ignore" {
        return Ok(None);
    }
    let Ok(documents) = manifest::documents(edited.as_bytes()) else {
        // Lines are counted without the comments.
        let bare: String = edited.split_inclusive('\n').filter(|line| !is_comment(line)).collect();
        return Ok(manifest::yaml_to_json(bare.as_bytes()).err());
    };
    let Some(Value::Object(first)) = documents.first() else {
        return Ok(Some("invalid object to validate".into()));
    };
    let missing: Vec<String> = ["apiVersion", "kind"]
        .into_iter()
        .filter(|field| first.get(*field).is_none_or(Value::is_null))
        .map(|field| format!("{field} not set"))
        .collect();
    Ok(match missing.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("[{}]", many.join(", "))),
    })
}

/// A comment of the whole line; `#!` begins a script.
fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('#') && !line.starts_with("#!")
}

/// Returns an edited file's objects, and Lists of objects.
///
/// # Errors
/// It is no YAML, or has an object of a kind that the server does not have.
pub(super) async fn readable(ctx: &Ctx, infos: &[Info], edited: &str) -> Result<Vec<Value>, String> {
    let documents = manifest::documents(edited.as_bytes())?;
    match unknown_kind(ctx, infos, &documents).await {
        Some(why) => Err(why),
        None => Ok(documents),
    }
}

/// Returns why an edited object cannot be written: its kind was changed to one that the server does
/// not have.
async fn unknown_kind(ctx: &Ctx, infos: &[Info], documents: &[Value]) -> Option<String> {
    for edited in documents.iter().cloned().flat_map(objects) {
        let same = |info: &Info| ["apiVersion", "kind"].iter().all(|f| info.object.get(*f) == edited.get(*f));
        if infos.iter().any(same) {
            continue;
        }
        if let Err(Fail::Text(why)) = files::of_document(ctx, edited, "edited-file").await {
            return Some(why);
        }
    }
    None
}

/// Puts the namespace back into an edited object that lacks it, and takes it from one that is in
/// none.
///
/// # Errors
/// [`Fail::Text`]: the object has another namespace than before. Source: cli-runtime,
/// `RequireNamespace`.
pub(super) fn require_namespace(info: &Info, edited: &mut Value) -> Result<(), Fail> {
    if !info.resource.namespaced {
        value::remove(edited, "metadata.namespace");
        return Ok(());
    }
    let own = value::text(&info.object, "metadata.namespace");
    let given = value::text(edited, "metadata.namespace");
    if given == own {
        return Ok(());
    }
    if given.is_empty() {
        value::put(edited, "metadata.namespace", own);
        return Ok(());
    }
    text(format!(
        "the namespace from the provided object {} does not match the namespace {}. You must pass '--namespace={given}' to perform this operation.",
        quote(given),
        quote(own)
    ))
}

/// The objects of a document: the items of a List, or the one that it is.
pub(super) fn objects(document: Value) -> Vec<Value> {
    match document.get("items") {
        Some(Value::Array(items)) => items.clone(),
        _ => vec![document],
    }
}

/// Lines as comments of the file, with an empty one behind them.
pub(super) fn commented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("# {line}\n")).collect::<String>() + "#\n"
}
