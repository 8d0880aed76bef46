//! edit: an object in the user's editor.

mod content;
mod draft;

use super::apply::is_strategic;
use super::common::{
    DryRun, LAST_APPLIED, Printer, annotate_last_applied, remember, subresource, subresources, validation,
};
use super::record::record;
use crate::builder;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::files;
use crate::info::{Info, Options};
use crate::print::{formats, json, yaml};
use crate::wire::api::{MERGE_PATCH, STRATEGIC_PATCH, encoded};
use crate::{manifest, merge};
use api::gostr::quote;
use api::value;
use content::{commented, invalid, is_blank, meant, objects, readable, require_namespace, without_head};
use draft::Draft;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const HEADER: &str = "# Please edit the object below. Lines beginning with a '#' will be ignored,\n# and an empty file will abort the edit. If an error occurs while saving this file will be\n# reopened with the relevant failures.\n#\n";

const HEADER_LAST_APPLIED: &str = "# Please edit the 'last-applied-configuration' annotations below.\n# Lines beginning with a '#' will be ignored, and an empty file will abort the edit.\n#\n";

/// How edited objects are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The objects are patched.
    Patch,
    /// The objects are created.
    Create,
    /// The configuration is kept in an annotation as what was applied last.
    LastApplied,
}

impl Mode {
    fn header(self) -> &'static str {
        match self {
            Mode::LastApplied => HEADER_LAST_APPLIED,
            Mode::Patch | Mode::Create => HEADER,
        }
    }
}

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let as_json = as_json(ctx)?;
    let selection =
        builder::select(ctx, &ctx.args, Options { all_by_type: true, ..Options::default() }).await?;
    let (infos, failures) = match subresource(ctx).as_str() {
        "" => builder::objects(ctx, selection).await?,
        below => subresources(ctx, selection, below).await?,
    };
    Fail::join(failures)?;
    edit(ctx, infos, as_json, Mode::Patch).await
}

/// apply edit-last-applied
pub(crate) async fn last_applied(ctx: &Ctx) -> Result<(), Fail> {
    let as_json = as_json(ctx)?;
    let selection =
        builder::select(ctx, &ctx.args, Options { all_by_type: true, ..Options::default() }).await?;
    let (mut infos, failures) = builder::objects(ctx, selection).await?;
    Fail::join(failures)?;
    let before = infos.len();
    infos.retain(|i| last_of(&i.object).is_some());
    if infos.is_empty() && before > 0 {
        return text(
            "no last-applied-configuration annotation found on resources, to create the annotation, use command `kubectl apply set-last-applied --create-annotation`",
        );
    }
    edit(ctx, infos, as_json, Mode::LastApplied).await
}

fn last_of(object: &Value) -> Option<Value> {
    serde_json::from_str(value::at(object, "metadata.annotations")[LAST_APPLIED].as_str()?).ok()
}

fn as_json(ctx: &Ctx) -> Result<bool, Fail> {
    match ctx.flags.text("output") {
        "json" => Ok(true),
        "" | "yaml" => Ok(false),
        other => text(format!("The flag 'output' must be one of yaml|json, got {other}")),
    }
}

/// Opens the editor with these objects and does with them as `mode` says: all in one file, or one
/// after another where each is to be created.
pub(crate) async fn edit(ctx: &Ctx, infos: Vec<Info>, as_json: bool, mode: Mode) -> Result<(), Fail> {
    if infos.is_empty() {
        return text("edit cancelled, no objects found");
    }
    if mode != Mode::Create {
        return session(ctx, &infos, as_json, mode).await;
    }
    let mut failures = vec![];
    for info in &infos {
        match session(ctx, std::slice::from_ref(info), as_json, mode).await {
            Ok(()) => {}
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => failures.push(fail),
            Err(other) => return Err(other),
        }
    }
    Fail::join(failures)
}

fn content_of(infos: &[Info], as_json: bool, mode: Mode) -> String {
    let bare = |info: &Info| {
        let mut object = match mode {
            Mode::LastApplied => last_of(&info.object).unwrap_or_default(),
            Mode::Patch | Mode::Create => info.object.clone(),
        };
        value::remove(&mut object, "metadata.managedFields");
        object
    };
    let whole = match infos {
        [one] => bare(one),
        many => {
            json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": many.iter().map(bare).collect::<Vec<_>>()})
        }
    };
    if as_json { json::pretty(&whole, "    ", true) + "\n" } else { yaml::to_string(&whole) }
}

/// Opens the editor until the objects are saved, the user gives up, or saving fails. The file is
/// opened again only if it is malformed, or the server calls an object invalid: editing repairs
/// no other failure.
async fn session(ctx: &Ctx, infos: &[Info], as_json: bool, mode: Mode) -> Result<(), Fail> {
    let mut draft = Draft::new(ctx, as_json);
    let (original, header) = (content_of(infos, as_json, mode), mode.header());
    let (mut content, mut reasons) = (original.clone(), String::new());
    loop {
        let text_of = format!("{header}{reasons}{content}");
        let given = if as_json && reasons.is_empty() { &content } else { &text_of };
        draft.write(given)?;
        if let Err(fail) = editor(ctx, &draft.path).await {
            return draft.keep(fail); // it may have saved before it failed
        }
        let edited = std::fs::read_to_string(&draft.path)?;
        if meant(&content) == meant(&edited) && !reasons.is_empty() {
            return draft.keep(Fail::Text("Edit cancelled, no valid changes were saved.".into()));
        }
        if let Some(why) = invalid(ctx, &edited)? {
            draft.edited = true;
            content = without_head(&edited).to_string();
            let what = infos.first().map(what).unwrap_or_default();
            ctx.note(format!("error: {what} is invalid"));
            reasons = commented(&format!(
                "{what} was not valid:\n* <nil>: Invalid value: \"The edited file failed validation\": {why}"
            ));
            continue;
        }
        if let Some(why) = cancelled(&original, &edited) {
            ctx.note(why);
            draft.done = true;
            return Ok(());
        }
        draft.edited = true;
        content = without_head(&edited).to_string();
        let documents = match readable(ctx, infos, &edited).await {
            Ok(documents) => documents,
            Err(why) => {
                reasons = commented(&format!("The edited file had a syntax error: {why}"));
                continue;
            }
        };
        let saved = match save(ctx, infos, documents, mode).await {
            Ok(saved) => saved,
            Err(fail) => return draft.keep(fail),
        };
        draft.path_printed = saved.again || saved.lost;
        if saved.again {
            ctx.note(format!(
                "You can run `kubectl replace -f {}` to try this update again.",
                draft.path.display()
            ));
            return Err(Fail::Exit(1));
        }
        if saved.lost {
            ctx.note(format!(
                "The edits you made on deleted resources have been saved to {}",
                draft.quoted_path()
            ));
            return Err(Fail::Exit(1));
        }
        if saved.invalid.is_empty() {
            draft.done = true;
            return Ok(());
        }
        reasons = saved.invalid.iter().map(|why| commented(why)).collect();
    }
}

/// Returns kubectl's words for an edit that leaves nothing to write: no change, or no content.
fn cancelled(original: &str, edited: &str) -> Option<&'static str> {
    if meant(edited) == meant(original) {
        return Some("Edit cancelled, no changes made.");
    }
    is_blank(edited).then_some("Edit cancelled, saved file was empty.")
}

/// `configmaps "a"`, as an edit's failures begin.
fn what(info: &Info) -> String {
    format!("{} {}", info.resource.qualified(), quote(&info.name))
}

/// The refusals of edited objects, by what the user can do about them.
#[derive(Default)]
struct Saved {
    /// Why the server calls some of them invalid.
    invalid: Vec<String>,
    /// Some are no longer on the server.
    lost: bool,
    /// Some could not be saved now, for a reason that is not in the file.
    again: bool,
}

impl Saved {
    /// Notes a refusal and prints it.
    fn add(&mut self, ctx: &Ctx, info: &Info, fail: &Fail) {
        let what = what(info);
        match fail {
            Fail::Api(refusal) if refusal.reason == "Invalid" => {
                let causes = value::list(&refusal.details, "causes").iter();
                let causes = causes
                    .map(|c| format!("* {}: {}\n", value::text(c, "field"), value::text(c, "message")))
                    .collect::<String>();
                let end = if causes.is_empty() { "" } else { ":" };
                self.invalid.push(format!("{what} was not valid{end}\n{causes}"));
                ctx.note(format!("error: {what} is invalid"));
            }
            fail if fail.is_not_found() => {
                self.lost = true;
                ctx.note(format!("error: {what} could not be found on the server"));
            }
            fail => {
                self.again = true;
                ctx.note(format!("error: {what} could not be patched: {}", fail.message()));
            }
        }
    }
}

/// Writes what was edited. An error ends the edit; refusals of single objects are in the result.
async fn save(ctx: &Ctx, infos: &[Info], documents: Vec<Value>, mode: Mode) -> Result<Saved, Fail> {
    let mut edited: Vec<Value> = documents.into_iter().flat_map(objects).collect();
    for object in edited.iter_mut().filter(|_| mode == Mode::Patch) {
        if let Some(info) = infos.iter().find(|info| is_edit_of(info, object, mode)) {
            require_namespace(info, object)?; // before any object is written
        }
    }
    let mut saved = Saved::default();
    for edited in edited {
        if mode == Mode::Create {
            create(ctx, edited).await?;
            continue;
        }
        let Some(info) = infos.iter().find(|info| is_edit_of(info, &edited, mode)) else {
            return text(format!(
                "no original object found for {}; leave its metadata.uid, kind and name as they were",
                formats::name_of(&edited)
            ));
        };
        let done = match mode {
            Mode::LastApplied => keep(ctx, info, edited).await,
            _ => patch(ctx, info, edited).await?,
        };
        if let Err(fail) = done {
            saved.add(ctx, info, &fail);
        }
    }
    Ok(saved)
}

/// Finds an edited object's original, wherever in the file it stands now: by its UID; a
/// configuration, which has none, by kind and name.
fn is_edit_of(info: &Info, edited: &Value, mode: Mode) -> bool {
    let own = match mode {
        Mode::LastApplied => last_of(&info.object).unwrap_or_default(),
        _ => info.object.clone(),
    };
    let paths: &[&str] = match mode {
        Mode::LastApplied => &["apiVersion", "kind", "metadata.namespace", "metadata.name"],
        _ => &["metadata.uid"],
    };
    paths.iter().all(|path| value::at(&own, path) == value::at(edited, path))
}

/// Prints the outcome for an object, or the object in the format of `-o`.
fn print_outcome(ctx: &Ctx, object: &Value, operation: &str) -> Result<(), Fail> {
    Printer::of(ctx, DryRun::No)?.print(ctx, object, operation, true)
}

async fn create(ctx: &Ctx, mut edited: Value) -> Result<(), Fail> {
    remember(ctx, &mut edited);
    record(ctx, &mut edited);
    // The kind, too, may have been edited.
    for info in files::of_document(ctx, edited, "").await? {
        let query =
            [("fieldManager", ctx.flags.text("field-manager")), ("fieldValidation", validation(ctx)?)];
        let object = ctx.api().await?.create(&info.collection(), &query, &info.object).await?;
        print_outcome(ctx, &object, "created")?;
    }
    Ok(())
}

/// Writes an edited configuration into the annotation that keeps it, if it was changed.
async fn keep(ctx: &Ctx, info: &Info, mut edited: Value) -> Result<(), Fail> {
    record(ctx, &mut edited);
    if last_of(&info.object).as_ref() == Some(&edited) {
        return print_outcome(ctx, &edited, "skipped");
    }
    let text = json::compact(&manifest::sorted(edited)) + "\n";
    let patch = json!({"metadata": {"annotations": {LAST_APPLIED: text}}});
    let query = [("fieldManager", ctx.flags.text("field-manager"))];
    let object = ctx.api().await?.patch(&info.path(), &query, MERGE_PATCH, encoded(&patch)).await?;
    print_outcome(ctx, &object, "edited")
}

/// Patches an object with its edits. The outer error ends the edit, the inner one is the server's
/// refusal.
async fn patch(ctx: &Ctx, info: &Info, mut edited: Value) -> Result<Result<(), Fail>, Fail> {
    let mut before = info.object.clone();
    value::remove(&mut before, "metadata.managedFields");
    let fixed = ["apiVersion", "kind", "metadata.name"];
    if fixed.iter().any(|p| value::at(&before, p) != value::at(&edited, p)) {
        return text("At least one of apiVersion, kind and name was changed");
    }
    if ctx.flags.is("save-config") {
        annotate_last_applied(&mut edited, true);
    }
    record(ctx, &mut edited);
    // A subresource may be of another kind (Scale).
    let own_kind = value::text(&before, "kind") == info.resource.kind;
    let (patch, kind) = if own_kind && is_strategic(&info.resource) {
        (merge::strategic_two_way(&info.resource.kind, &before, &edited), STRATEGIC_PATCH)
    } else {
        (merge::merge_two_way(&before, &edited), MERGE_PATCH)
    };
    // A patch of an unchanged object need not be empty: some fields are always sent.
    if before == edited || merge::is_empty(&patch) {
        print_outcome(ctx, &before, "skipped")?;
        return Ok(Ok(()));
    }
    if ctx.flags.is("output-patch") {
        ctx.line(format!("Patch: {}", json::compact(&patch)));
    }
    let query = [("fieldManager", ctx.flags.text("field-manager")), ("fieldValidation", validation(ctx)?)];
    let path = format!("{}{}", info.path(), subresource(ctx));
    let object = match ctx.api().await?.patch(&path, &query, kind, encoded(&patch)).await {
        Ok(object) => object,
        Err(refused) => return Ok(Err(refused)),
    };
    print_outcome(ctx, &object, "edited")?;
    Ok(Ok(()))
}

/// `$KUBE_EDITOR`, else `$EDITOR`, else vi, on this terminal. Its words are split at spaces; one
/// with quotes is a line for `$SHELL`. Source: kubectl's `pkg/cmd/util/editor/editor.go`.
async fn editor(ctx: &Ctx, path: &Path) -> Result<(), Fail> {
    ctx.output.flush().await;
    let set = |name: &str| ctx.env.vars.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let chosen = set("KUBE_EDITOR").or_else(|| set("EDITOR")).unwrap_or("vi");
    let in_shell = chosen.contains(' ') && chosen.contains(['"', '\'', '\\']);
    let (words, command_line) = if in_shell {
        let shell = set("SHELL").unwrap_or("/bin/bash");
        let line = format!("{chosen} {}", quote(&path.display().to_string()));
        (vec![shell.to_string(), "-c".into(), line], format!("{shell} -c {chosen}"))
    } else {
        let mut words: Vec<String> = chosen.split(' ').map(String::from).collect();
        words.push(path.display().to_string());
        (words, chosen.to_string())
    };
    let mut command = tokio::process::Command::new(resolved(ctx, &words[0]));
    command.args(&words[1..]);
    let status = command.current_dir(&ctx.env.cwd).kill_on_drop(true).status().await;
    match status {
        Ok(status) if status.success() => Ok(()),
        // Upstream has these words only for a program that it looks for in PATH.
        Err(error) if error.kind() == ErrorKind::NotFound && !words[0].contains('/') => {
            text(format!("unable to launch the editor {}", quote(&command_line)))
        }
        Ok(_) | Err(_) => text(format!("there was a problem with the editor {}", quote(&command_line))),
    }
}

fn resolved(ctx: &Ctx, program: &str) -> PathBuf {
    if program.contains('/') { ctx.path(program) } else { program.into() }
}

#[cfg(test)]
mod tests;
