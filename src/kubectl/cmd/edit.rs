//! edit: an object in the user's editor.

use super::apply::is_strategic;
use super::common::{LAST_APPLIED, annotate_last_applied, validation};
use crate::api::value;
use crate::kubectl::builder::{self, Info, Options};
use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::{Fail, text};
use crate::kubectl::files;
use crate::kubectl::gostr::quote;
use crate::kubectl::print::{formats, json, yaml};
use crate::kubectl::wire::api::{MERGE_PATCH, STRATEGIC_PATCH, encoded};
use crate::kubectl::{manifest, merge};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const HEADER: &str = "# Please edit the object below. Lines beginning with a '#' will be ignored,\n# and an empty file will abort the edit. If an error occurs while saving this file will be\n# reopened with the relevant failures.\n#\n";

const HEADER_LAST_APPLIED: &str = "# Please edit the 'last-applied-configuration' annotations below.\n# Lines beginning with a '#' will be ignored, and an empty file will abort the edit.\n#\n";

/// What becomes of what was edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The objects are patched.
    Patch,
    /// They are made.
    Create,
    /// It is kept in an annotation as what was applied last.
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

pub async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let as_json = as_json(ctx)?;
    let asked = builder::ask(ctx, &ctx.args, Options { all_by_type: true, ..Options::default() }).await?;
    let (infos, failures) = builder::objects(ctx, asked).await?;
    Fail::join(failures)?;
    edit(ctx, infos, as_json, Mode::Patch).await
}

/// apply edit-last-applied
pub async fn last_applied(ctx: &Ctx) -> Result<(), Fail> {
    let as_json = as_json(ctx)?;
    let asked = builder::ask(ctx, &ctx.args, Options { all_by_type: true, ..Options::default() }).await?;
    let (mut infos, failures) = builder::objects(ctx, asked).await?;
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

/// Opens the editor with these objects and does with them as `mode` says.
pub async fn edit(ctx: &Ctx, infos: Vec<Info>, as_json: bool, mode: Mode) -> Result<(), Fail> {
    if infos.is_empty() {
        return text("edit cancelled, no objects found");
    }
    let extension = if as_json { "json" } else { "yaml" };
    let path = std::env::temp_dir()
        .join(format!("kubectl-edit-{}.{extension}", uuid::Uuid::new_v4().as_u128() as u32));
    session(ctx, &infos, &path, as_json, mode).await?;
    let _ = std::fs::remove_file(&path); // it may never have been written
    Ok(())
}

fn shown(infos: &[Info], as_json: bool, mode: Mode) -> String {
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

/// What a text says: its documents, to compare. Only a parser knows which lines are comments (one that starts with `#` may be a
/// line of a script in a ConfigMap); what cannot be parsed is compared without the lines that look like some.
fn meant(text: &str) -> Result<Vec<Value>, String> {
    manifest::documents(text.as_bytes()).map_err(|_| {
        let plain = |line: &&str| {
            let line = line.trim_start();
            !line.starts_with('#') || line.starts_with("#!")
        };
        text.lines().filter(plain).collect()
    })
}

/// Are there only comments?
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// Without the comments that we wrote before it.
fn without_head(text: &str) -> &str {
    let head: usize = text.split_inclusive('\n').take_while(|line| line.starts_with('#')).map(str::len).sum();
    &text[head..]
}

/// Edits until it is saved, given up, or cannot be.
async fn session(ctx: &Ctx, infos: &[Info], path: &Path, as_json: bool, mode: Mode) -> Result<(), Fail> {
    let (original, header) = (shown(infos, as_json, mode), mode.header());
    let (mut content, mut reason) = (original.clone(), String::new());
    loop {
        let text_of = match reason.as_str() {
            "" => format!("{header}{content}"),
            why => format!(
                "{header}{}{content}",
                why.lines().map(|l| format!("# {l}\n")).collect::<String>() + "#\n"
            ),
        };
        write(path, if as_json && reason.is_empty() { &content } else { &text_of })?;
        editor(ctx, path).await?;
        let edited = std::fs::read_to_string(path)?;
        if meant(&content) == meant(&edited) && !reason.is_empty() {
            ctx.note(format!(
                "A copy of your changes has been stored to {}",
                quote(&path.display().to_string())
            ));
            ctx.output.err("error: Edit cancelled, no valid changes were saved.\n");
            return Err(Fail::Exit(1));
        }
        if meant(&edited) == meant(&original) {
            ctx.note("Edit cancelled, no changes made.");
            return Ok(());
        }
        if is_blank(&edited) {
            ctx.note("Edit cancelled, saved file was empty.");
            return Ok(());
        }
        content = without_head(&edited).to_string();
        let failed = match manifest::documents(edited.as_bytes()) {
            Err(why) => vec![Fail::Text(why)],
            Ok(documents) => save(ctx, infos, documents, mode).await?,
        };
        if failed.is_empty() {
            return Ok(());
        }
        reason = failed.iter().map(|f| f.told().0).collect::<Vec<_>>().join("\n");
        ctx.output.err(&reason);
    }
}

fn write(path: &Path, text: &str) -> Result<(), Fail> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Writes what was edited; returns what the server refused.
async fn save(ctx: &Ctx, infos: &[Info], documents: Vec<Value>, mode: Mode) -> Result<Vec<Fail>, Fail> {
    let edited: Vec<Value> = documents
        .into_iter()
        .flat_map(|d| match d.get("items") {
            Some(Value::Array(items)) => items.clone(),
            _ => vec![d],
        })
        .collect();
    let mut failed = vec![];
    for (info, edited) in infos.iter().zip(edited) {
        let done = match mode {
            Mode::Patch => patch(ctx, info, edited).await,
            Mode::Create => create(ctx, info, edited).await,
            Mode::LastApplied => keep(ctx, info, edited).await,
        };
        match done {
            Ok(()) => {}
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => failed.push(fail),
            Err(other) => return Err(other),
        }
    }
    Ok(failed)
}

async fn create(ctx: &Ctx, info: &Info, mut edited: Value) -> Result<(), Fail> {
    if ctx.flags.is("save-config") {
        annotate_last_applied(&mut edited, true);
    }
    let query = [("fieldManager", ctx.flags.text("field-manager")), ("fieldValidation", validation(ctx)?)];
    let object = ctx.api().await?.post(&info.collection(), &query, &edited).await?;
    ctx.line(format!("{} created", formats::name_of(&object)));
    Ok(())
}

async fn keep(ctx: &Ctx, info: &Info, edited: Value) -> Result<(), Fail> {
    let text = json::compact(&files::sorted(edited)) + "\n";
    let patch = json!({"metadata": {"annotations": {LAST_APPLIED: text}}});
    let query = [("fieldManager", ctx.flags.text("field-manager"))];
    let object = ctx.api().await?.patch(&info.path(), &query, MERGE_PATCH, encoded(&patch)).await?;
    ctx.line(format!("{} edited", formats::name_of(&object)));
    Ok(())
}

async fn patch(ctx: &Ctx, info: &Info, edited: Value) -> Result<(), Fail> {
    let mut before = info.object.clone();
    value::remove(&mut before, "metadata.managedFields");
    if ["apiVersion", "kind", "metadata.name"].iter().any(|p| value::at(&before, p) != value::at(&edited, p))
    {
        return text(format!("{} {} is invalid", info.resource.qualified(), quote(&info.name)));
    }
    let (patch, kind) = if is_strategic(&info.resource) {
        (merge::strategic_two_way(&info.resource.kind, &before, &edited), STRATEGIC_PATCH)
    } else {
        (merge::merge_two_way(&before, &edited), MERGE_PATCH)
    };
    if merge::is_empty(&patch) {
        ctx.line(format!("{} skipped", formats::name_of(&before)));
        return Ok(());
    }
    if ctx.flags.is("output-patch") {
        ctx.line(format!("Patch: {}", json::compact(&patch)));
    }
    let query = [("fieldManager", "kubectl-edit"), ("fieldValidation", validation(ctx)?)];
    let object = ctx.api().await?.patch(&info.path(), &query, kind, encoded(&patch)).await?;
    ctx.line(format!("{} edited", formats::name_of(&object)));
    Ok(())
}

/// `$KUBE_EDITOR`, else `$EDITOR`, else vi, on this terminal.
async fn editor(ctx: &Ctx, path: &Path) -> Result<(), Fail> {
    ctx.output.flush().await;
    let chosen =
        ["KUBE_EDITOR", "EDITOR"].iter().find_map(|k| ctx.env.vars.get(*k).filter(|v| !v.is_empty()));
    let program = chosen.map_or("vi", String::as_str);
    let needs_shell = program.contains(['"', '\'', '\\', ' ']);
    let mut command = if needs_shell {
        let mut command = tokio::process::Command::new("/bin/sh");
        command.arg("-c").arg(format!("{program} {}", quote(&path.display().to_string())));
        command
    } else {
        let mut command = tokio::process::Command::new(resolved(ctx, program));
        command.arg(path);
        command
    };
    let status = command.current_dir(&ctx.env.cwd).kill_on_drop(true).status().await;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => text(format!("there was a problem with the editor {}", quote(program))),
        Err(_) => text(format!("there was a problem with the editor {}", quote(program))),
    }
}

fn resolved(ctx: &Ctx, program: &str) -> PathBuf {
    if program.contains('/') { ctx.path(program) } else { program.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_script_is_no_comment() {
        let script = "data:\n  run: |\n    # a remark\n    echo hi\n";
        let bare = "data:\n  run: |\n    echo hi\n";
        assert_ne!(meant(script), meant(bare));
        assert_eq!(meant(&format!("{HEADER}{script}# the end\n")), meant(script));
        assert_eq!(without_head(&format!("{HEADER}{script}")), script);
        assert_eq!(meant("# a\nx: [\n"), meant("x: [\n"));
        assert_ne!(meant("#!/bin/sh\nx: [\n"), meant("x: [\n"));
        assert!(is_blank(HEADER) && !is_blank(script));
    }
}
