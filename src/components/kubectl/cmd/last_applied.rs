//! apply view-last-applied and set-last-applied

use super::common::{DryRun, LAST_APPLIED, Printer};
use crate::builder;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::files;
use crate::info::Options;
use crate::print::{json, yaml};
use crate::wire::api::{MERGE_PATCH, encoded};
use api::gostr::quote;
use api::value;
use serde_json::{Value, json as object};

pub(crate) async fn view(ctx: &Ctx) -> Result<(), Fail> {
    let output = ctx.flags.text("output");
    if !matches!(output, "yaml" | "json") {
        return ctx.usage(format!(
            "Unexpected -o output mode: {output}, the flag 'output' must be one of yaml|json"
        ));
    }
    // As in kubectl a type alone is enough in a namespace that the user names.
    let all_by_type = ctx.flags.is("all") || ctx.namespace()?.1;
    let options = Options { all_by_type, all_selects: true, latest: true, ..Options::default() };
    let selection = builder::select(ctx, &ctx.args, options).await?;
    let (infos, failures) = builder::objects(ctx, selection).await?;
    Fail::first(failures)?;
    for info in infos {
        let Some(last) = info.object["metadata"]["annotations"][LAST_APPLIED].as_str() else {
            // As in kubectl only an object from a file is reported.
            match info.source.as_str() {
                "" => continue,
                source => {
                    let (name, source) = (&info.name, quote(source));
                    return text(format!(
                        "error when no last-applied-configuration annotation found on resource: {name}\n {source}: <nil>"
                    ));
                }
            }
        };
        let last: Value = serde_json::from_str(last)
            .map_err(|e| Fail::Text(format!("{} cannot be read: {e}", quote(LAST_APPLIED))))?;
        match output {
            "json" => ctx.line(json::pretty(&last, "  ", true)),
            _ => ctx.out(yaml::to_string(&last)),
        }
    }
    Ok(())
}

/// Writes the configuration of the files into the annotation; other fields of the objects stay.
pub(crate) async fn set(ctx: &Ctx) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    let printer = Printer::of(ctx, dry_run)?;
    let files = ctx.flags.list("filename");
    if files.is_empty() {
        return text("must specify one of -f and -k");
    }
    let (infos, failures) = files::read(ctx, &files, Options::default()).await?;
    Fail::first(failures)?;
    let mut changes = vec![];
    for mut info in infos {
        // The kept configuration lacks the annotation itself. `apply` would leave an empty map,
        // this verb does not.
        let mut bare = info.object.clone();
        value::remove(&mut bare, "metadata.annotations");
        for (key, text) in
            value::pairs(&info.object, "metadata.annotations").filter(|(key, _)| *key != LAST_APPLIED)
        {
            value::slot_map(&mut bare, "metadata.annotations").insert(key.into(), text.into());
        }
        let new = Value::from(json::compact(&bare) + "\n");
        info.fetch(ctx).await?;
        let old = &info.object["metadata"]["annotations"][LAST_APPLIED];
        if old.is_null() && !ctx.flags.is("create-annotation") {
            return text(format!(
                "no last-applied-configuration annotation found on resource: {}, to create the annotation, run the command with --create-annotation",
                info.name
            ));
        }
        match *old == new {
            true => ctx.line(format!("set-last-applied {}: no changes required.", info.name)),
            false => changes.push((info, new)),
        }
    }
    for (mut info, new) in changes {
        if dry_run != DryRun::Client {
            let mut query = vec![];
            dry_run.query(&mut query);
            let patch = object!({"metadata": {"annotations": {LAST_APPLIED: new}}});
            info.object = ctx.api().await?.patch(&info.path(), &query, MERGE_PATCH, encoded(&patch)).await?;
        }
        printer.print(ctx, &info.object, "configured", true)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::cmd::common::LAST_APPLIED;
    use crate::testing::{Server, at, config_map};
    use serde_json::json;

    #[tokio::test]
    async fn a_type_alone_is_enough_in_a_namespace_that_is_named() {
        let server = Server::start().await;
        let mut object = config_map("a", json!({}));
        object["metadata"]["annotations"] = json!({LAST_APPLIED: "{\"k\":1}"});
        server.hold(&at("a"), object);
        for (flags, code, out) in [(&["-n", "default"] as &[&str], 0, "k: 1\n"), (&[], 1, "")] {
            let result = server.kubectl(&[&["apply", "view-last-applied", "cm"], flags].concat()).await;
            assert_eq!((result.code, result.out.as_str()), (code, out), "{result:?}");
        }
    }

    /// Two failures would be printed without `error: ` before them.
    #[tokio::test]
    async fn the_first_object_that_cannot_be_read_ends_the_verb() {
        let (server, file) = (Server::start().await, "{kind: A}\n---\n{kind: B}\n");
        let unknown = "no matches for kind \"A\" in version \"\"\nensure CRDs are installed first\n";
        for (line, code, err) in [
            (&["apply", "view-last-applied", "cm", "a", "b"][..], 1, "configmaps/a not found\n"),
            (&["debug", "a", "b", "--image=i"], 1, "pods/a not found\n"),
            (&["apply", "set-last-applied", "-f", "-"], 1, unknown),
            (&["diff", "-f", "-"], 2, unknown),
        ] {
            let result = server.kubectl_in(line, file, crate::Env::default()).await;
            assert!(result.code == code && result.err.ends_with(err), "{line:?}: {result:?}");
        }
    }

    #[tokio::test]
    async fn a_file_whose_object_was_never_applied_is_named() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        server.hold(&at("a"), config_map("a", json!({})));
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, config_map("a", json!({})).to_string()).unwrap();
        let file = file.display().to_string();
        let result = server.kubectl(&["apply", "view-last-applied", "-f", &file]).await;
        assert!(result.code == 1 && result.err.contains("annotation found on resource: a\n"), "{result:?}");
    }
}
