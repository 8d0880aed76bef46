//! config view: the merged kubeconfig, without its secrets, with its files in it, or with what the
//! current context uses alone.

use crate::ctx::Ctx;
use crate::error::{Fail, go_io, text};
use crate::print::{formats, yaml};
use api::value;
use client::kubeconfig::{Kubeconfig, as_written};
use serde_json::Value;
use std::path::PathBuf;

const SECRET: &str = "DATA+OMITTED";

pub(crate) async fn view(ctx: &Ctx) -> Result<(), Fail> {
    if !ctx.args.is_empty() {
        return ctx.usage(format!("unexpected arguments: [{}]", ctx.args.join(" ")));
    }
    // `--merge=false` needs `--kubeconfig`: which of several files to show would be open.
    if !ctx.flags.is("merge") && ctx.flags.text("kubeconfig").is_empty() {
        return text("if merge==false a precise file must be specified");
    }
    let files = if ctx.flags.is("merge") { ctx.kubeconfig_or_new()? } else { ctx.kubeconfig()? };
    let mut config = as_written(&files.to_value());
    if ctx.flags.is("minify") {
        minify(&mut config, ctx.flags.text("context"))?;
    }
    let raw = ctx.flags.is("raw") || ctx.flags.is("flatten");
    if ctx.flags.is("flatten") {
        flatten(&mut config, &files)?;
        config = as_written(&config); // the order of its fields
    }
    if !raw {
        redact(&mut config);
    }
    let output = if ctx.flags.text("output").is_empty() { "yaml" } else { ctx.flags.text("output") };
    match formats::from_name(ctx, output, false)? {
        Some(format) => ctx.out(format.print(&config, false)?),
        None => ctx.out(yaml::to_string(&config)),
    }
    Ok(())
}

fn redact(config: &mut Value) {
    for (list, key, fields) in [
        ("clusters", "cluster", &["certificate-authority-data"][..]),
        ("users", "user", &["client-certificate-data", "client-key-data", "token", "password"]),
    ] {
        for entry in value::list_mut(config, list) {
            for field in fields {
                if let Some(slot) = value::at_mut(entry, &format!("{key}.{field}")) {
                    let hidden = if matches!(*field, "token" | "password") { "REDACTED" } else { SECRET };
                    *slot = hidden.into();
                }
            }
        }
    }
}

/// Replaces the names of files by their content, base64 in the field `…-data`.
fn flatten(config: &mut Value, files: &Kubeconfig) -> Result<(), Fail> {
    use base64::Engine as _;
    let home = |list: &str, name: &str| -> PathBuf {
        let entries = if list == "clusters" { &files.clusters } else { &files.users };
        Kubeconfig::find(entries, name).and_then(|e| e.file.parent().map(PathBuf::from)).unwrap_or_default()
    };
    // Users first: of several mistakes kubectl reports theirs (`FlattenConfig` of client-go).
    for (list, key, fields) in [
        ("users", "user", &["client-certificate", "client-key"][..]),
        ("clusters", "cluster", &["certificate-authority"]),
    ] {
        for entry in value::list_mut(config, list) {
            let base = home(list, value::text(entry, "name"));
            for field in fields {
                let path = value::text(entry, &format!("{key}.{field}")).to_string();
                if path.is_empty() {
                    continue;
                }
                // The user may mean either of the two; a connection would use the data.
                let data_path = format!("{key}.{field}-data");
                if !value::text(entry, &data_path).is_empty() {
                    return text("cannot have values for both path and contents");
                }
                let file = base.join(&path);
                let bytes = std::fs::read(&file)
                    .map_err(|e| Fail::Text(format!("open {}: {}", file.display(), go_io(&e))))?;
                value::remove(entry, &format!("{key}.{field}"));
                let data = base64::engine::general_purpose::STANDARD.encode(bytes);
                value::put(entry, &data_path, data);
            }
        }
    }
    Ok(())
}

/// Drops the entries that the current context does not use (`config view --minify`).
fn minify(config: &mut Value, named: &str) -> Result<(), Fail> {
    if !named.is_empty() {
        value::put(config, "current-context", named);
    }
    let current = value::text(config, "current-context").to_string();
    let context = value::list(config, "contexts").iter().find(|c| value::text(c, "name") == current).cloned();
    let Some(context) = context else {
        return text(match current.as_str() {
            "" => "current-context must exist in order to minify".to_string(),
            name => format!("cannot locate context {name}"),
        });
    };
    let keep = |config: &mut Value, list: &str, name: &str| {
        if let Some(Value::Array(entries)) = config.get_mut(list) {
            entries.retain(|e| value::text(e, "name") == name);
        }
    };
    keep(config, "contexts", &current);
    for (list, path, what) in [("clusters", "context.cluster", "cluster"), ("users", "context.user", "user")]
    {
        let name = value::text(&context, path);
        keep(config, list, name);
        if !name.is_empty() && value::list(config, list).is_empty() {
            return text(format!("cannot locate {what} {name}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;
    use serde_json::json;

    #[test]
    fn what_is_not_there_cannot_be_shown_alone() {
        let context = |cluster: &str| {
            json!({"clusters": null, "users": [{"name": "u", "user": {}}], "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": cluster, "user": "u"}}]})
        };
        assert!(minify(&mut context(""), "").is_ok());
        assert_eq!(minify(&mut context("a"), "").unwrap_err().message(), "cannot locate cluster a");
    }

    #[tokio::test]
    async fn a_file_beside_its_content_is_not_flattened() {
        let (server, dir) = (Server::away().await, tempfile::tempdir().unwrap());
        let flag = format!("--kubeconfig={}", dir.path().join("config").display());
        let ca = dir.path().join("ca.crt");
        for (data, file, want) in [
            ("", "x", "certificate-authority-data: eA=="),
            (
                ", certificate-authority-data: eQ==",
                "x",
                "error: cannot have values for both path and contents\n",
            ),
            ("", "", "ca.crt: no such file or directory\n"),
        ] {
            let cluster = format!("{{server: 's', certificate-authority: ca.crt{data}}}");
            std::fs::write(
                dir.path().join("config"),
                format!("apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {cluster}}}]\n"),
            )
            .unwrap();
            match file {
                "" => std::fs::remove_file(&ca).unwrap(),
                content => std::fs::write(&ca, content).unwrap(),
            }
            let result = server.kubectl(&["config", "view", "--flatten", &flag]).await;
            assert_eq!(result.code, i32::from(want.ends_with('\n')), "{result:?}");
            assert!(result.out.contains(want) || result.err.ends_with(want), "{result:?}");
        }
    }

    #[tokio::test]
    async fn of_two_files_that_are_missing_that_of_the_user_is_reported() {
        let (server, dir) = (Server::away().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("config");
        let cluster = "clusters: [{name: c, cluster: {server: 's', certificate-authority: ca.crt}}]";
        let user = "users: [{name: u, user: {client-certificate: u.crt}}]";
        std::fs::write(&file, format!("apiVersion: v1\nkind: Config\n{cluster}\n{user}\n")).unwrap();
        let flag = format!("--kubeconfig={}", file.display());
        let result = server.kubectl(&["config", "view", "--flatten", &flag]).await;
        assert!(result.code == 1 && result.err.ends_with("u.crt: no such file or directory\n"), "{result:?}");
    }
}
