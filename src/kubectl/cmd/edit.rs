//! edit: an object in the user's editor.

use super::apply::is_strategic;
use super::common::validation;
use crate::api::value;
use crate::kubectl::builder::{self, Info, Options};
use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::{Fail, text};
use crate::kubectl::gostr::quote;
use crate::kubectl::print::{formats, json, yaml};
use crate::kubectl::wire::api::{MERGE_PATCH, STRATEGIC_PATCH, encoded};
use crate::kubectl::{manifest, merge};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const HEADER: &str = "# Please edit the object below. Lines beginning with a '#' will be ignored,\n# and an empty file will abort the edit. If an error occurs while saving this file will be\n# reopened with the relevant failures.\n#\n";

pub async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let as_json = match ctx.flags.text("output") {
        "json" => true,
        "" | "yaml" => false,
        other => return text(format!("The flag 'output' must be one of yaml|json, got {other}")),
    };
    let asked = builder::ask(ctx, &ctx.args, Options { all_by_type: true, ..Options::default() }).await?;
    let (infos, failures) = builder::objects(ctx, asked).await?;
    Fail::join(failures)?;
    if infos.is_empty() {
        return text("edit cancelled, no objects found");
    }
    let extension = if as_json { "json" } else { "yaml" };
    let path = std::env::temp_dir()
        .join(format!("kubectl-edit-{}.{extension}", uuid::Uuid::new_v4().as_u128() as u32));
    let outcome = session(ctx, &infos, &path, as_json).await;
    match outcome {
        Ok(()) => {
            let _ = std::fs::remove_file(&path); // it may never have been written
            Ok(())
        }
        Err(fail) => Err(fail),
    }
}

fn shown(infos: &[Info], as_json: bool) -> String {
    let bare = |info: &Info| {
        let mut object = info.object.clone();
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

/// Lines that are no comments.
fn meant(text: &str) -> String {
    text.lines().filter(|l| !l.trim_start().starts_with('#')).map(|l| format!("{l}\n")).collect()
}

/// Edits until it is saved, given up, or cannot be.
async fn session(ctx: &Ctx, infos: &[Info], path: &Path, as_json: bool) -> Result<(), Fail> {
    let original = shown(infos, as_json);
    let (mut content, mut reason) = (original.clone(), String::new());
    loop {
        let text_of = match reason.as_str() {
            "" => format!("{HEADER}{content}"),
            why => format!(
                "{HEADER}{}{content}",
                why.lines().map(|l| format!("# {l}\n")).collect::<String>() + "#\n"
            ),
        };
        write(path, if as_json && reason.is_empty() { &content } else { &text_of })?;
        editor(ctx, path).await?;
        let edited = std::fs::read_to_string(path)?;
        let body = meant(&edited);
        if meant(&content) == body && !reason.is_empty() {
            ctx.note(format!(
                "A copy of your changes has been stored to {}",
                quote(&path.display().to_string())
            ));
            ctx.output.err("error: Edit cancelled, no valid changes were saved.\n");
            return Err(Fail::Exit(1));
        }
        if body == meant(&original) {
            ctx.note("Edit cancelled, no changes made.");
            return Ok(());
        }
        if body.trim().is_empty() {
            ctx.note("Edit cancelled, saved file was empty.");
            return Ok(());
        }
        content = body.clone();
        let failed = match manifest::documents(body.as_bytes()) {
            Err(why) => vec![Fail::Text(why)],
            Ok(documents) => save(ctx, infos, documents).await?,
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

/// Patches what was changed; returns what the server refused.
async fn save(ctx: &Ctx, infos: &[Info], documents: Vec<Value>) -> Result<Vec<Fail>, Fail> {
    let edited: Vec<Value> = documents
        .into_iter()
        .flat_map(|d| match d.get("items") {
            Some(Value::Array(items)) => items.clone(),
            _ => vec![d],
        })
        .collect();
    let mut failed = vec![];
    for (info, edited) in infos.iter().zip(edited) {
        let mut before = info.object.clone();
        value::remove(&mut before, "metadata.managedFields");
        if ["apiVersion", "kind", "metadata.name"]
            .iter()
            .any(|p| value::at(&before, p) != value::at(&edited, p))
        {
            failed.push(Fail::Text(format!(
                "{} {} is invalid",
                info.resource.qualified(),
                quote(&info.name)
            )));
            continue;
        }
        let (patch, kind) = if is_strategic(&info.resource) {
            (merge::strategic_two_way(&info.resource.kind, &before, &edited), STRATEGIC_PATCH)
        } else {
            (merge::merge_two_way(&before, &edited), MERGE_PATCH)
        };
        if merge::is_empty(&patch) {
            ctx.line(format!("{} skipped", formats::name_of(&before)));
            continue;
        }
        if ctx.flags.is("output-patch") {
            ctx.line(format!("Patch: {}", json::compact(&patch)));
        }
        let query = [("fieldManager", "kubectl-edit"), ("fieldValidation", validation(ctx)?)];
        match ctx.api().await?.patch(&info.path(), &query, kind, encoded(&patch)).await {
            Ok(object) => ctx.line(format!("{} edited", formats::name_of(&object))),
            Err(fail @ Fail::Api(_)) => failed.push(fail),
            Err(other) => return Err(other),
        }
    }
    Ok(failed)
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
