//! replace: a whole object in place of another.

use super::common::{DryRun, Printer, remember, send_raw, subresource, validation};
use super::delete::{checked_propagation, print_deleted, wait_gone};
use super::until::{Deadline, GONE_WITHIN};
use crate::builder::about;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::files;
use crate::info::{Info, Options};
use crate::wire::api::Api;
use api::value;
use serde_json::{Value, json};

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let files = ctx.flags.list("filename");
    if !ctx.names_files() {
        return text("must specify one of -f and -k");
    }
    if !ctx.args.is_empty() {
        return ctx.usage(format!("Unexpected args: [{}]", ctx.args.join(" ")));
    }
    let dry_run = DryRun::of(ctx)?;
    let printer = Printer::of(ctx, dry_run)?;
    let force = ctx.flags.is("force");
    if ctx.flags.int("grace-period") >= 0 && !force {
        return text("--grace-period must have --force specified");
    }
    if !ctx.flags.duration("timeout").is_zero() && !force {
        return text("--timeout must have --force specified");
    }
    if force && dry_run != DryRun::No {
        return text("--dry-run can not be used when --force is set");
    }
    let raw = ctx.flags.text("raw");
    if !raw.is_empty() {
        return send_raw(ctx, http::Method::PUT, raw, &files).await;
    }
    let below = subresource(ctx);
    if force && !below.is_empty() {
        return text("--subresource cannot be used with --force: a subresource cannot be deleted");
    }
    let policy = checked_propagation(ctx)?;
    let options = Options { validated: validation(ctx)? != "Ignore", ..Options::default() };
    let (infos, unread) = files::read(ctx, &files, options).await?;
    if infos.is_empty() {
        return Fail::join(unread);
    }
    let mut query =
        vec![("fieldManager", ctx.flags.text("field-manager")), ("fieldValidation", validation(ctx)?)];
    dry_run.query(&mut query);
    if force {
        delete_first(ctx, &infos, policy).await?;
    }
    let mut failures = vec![];
    for mut info in infos {
        remember(ctx, &mut info.object);
        if dry_run == DryRun::Client {
            printer.print(ctx, &info.object, "replaced", true)?;
            continue;
        }
        let api = ctx.api().await?;
        let outcome = if force {
            api.create(&info.collection(), &query, &info.object).await
        } else {
            put(api, &format!("{}{below}", info.path()), &query, &mut info.object).await
        };
        match outcome {
            Ok(object) => printer.print(ctx, &object, "replaced", true)?,
            // Of an object that is made anew the server's words are enough, as in kubectl.
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) if force => failures.push(fail),
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => {
                failures.push(about(fail, "replacing", &info.source))
            }
            Err(other) => return Err(other),
        }
    }
    failures.extend(unread); // last, as in `create`
    Fail::join(failures)
}

/// `--force`: deletes the objects, and waits until all of them are gone.
///
/// # Errors
/// What the server refused to delete. The other objects are deleted then, and none is made anew.
async fn delete_first(ctx: &Ctx, infos: &[Info], policy: &str) -> Result<(), Fail> {
    let mut body = json!({"propagationPolicy": policy});
    let grace = ctx.flags.int("grace-period");
    if grace >= 0 {
        // Never 0: that would not wait for the object's processes to end.
        value::put(&mut body, "gracePeriodSeconds", grace.max(1));
    }
    let mut failures = vec![];
    for info in infos {
        match ctx.api().await?.delete(&info.path(), &[], &body).await {
            Ok(_) => print_deleted(ctx, info, DryRun::No, false),
            Err(fail) if fail.is_not_found() => {}
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => {
                failures.push(about(fail, "deleting", &info.source))
            }
            Err(other) => return Err(other),
        }
    }
    Fail::join(failures)?;
    let deadline = Deadline::of(ctx.flags.duration("timeout"), GONE_WITHIN);
    for info in infos {
        wait_gone(ctx, &mut info.clone(), "", deadline).await?;
    }
    Ok(())
}

/// Sends an object in place of the live one, whose resource version it gets if it has none.
///
/// An error of the GET is not final: the object may not exist, and the server creates some kinds by
/// PUT (roles, leases), or the user may only write. Then the PUT's answer counts. Source:
/// cli-runtime, `resource/helper.go`, `Replace`.
async fn put(api: &Api, path: &str, query: &[(&str, &str)], object: &mut Value) -> Result<Value, Fail> {
    if value::empty(object, "metadata.resourceVersion")
        && let Ok(live) = api.get(path, &[]).await
    {
        let version = value::at(&live, "metadata.resourceVersion").clone();
        value::put(object, "metadata.resourceVersion", version);
    }
    api.put(path, query, object).await
}

#[cfg(test)]
mod tests {
    use crate::Env;
    use crate::testing::{Server, at, config_map, refusal};
    use serde_json::json;

    #[tokio::test]
    async fn a_kustomization_is_replaced_from_as_a_file_is() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        server.hold(&at("a"), config_map("a", json!({})));
        let mut new = config_map("a", json!({}));
        new["data"] = json!({"k": "new"});
        std::fs::write(dir.path().join("a.yaml"), new.to_string()).unwrap();
        std::fs::write(dir.path().join("kustomization.yaml"), "resources: [a.yaml]\n").unwrap();
        let result = server.kubectl(&["replace", "-k", &dir.path().display().to_string()]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "configmap/a replaced\n"), "{result:?}");
        assert_eq!(server.object(&at("a")).unwrap()["data"]["k"], "new");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_written_all_the_same() {
        let server = Server::start_with(|request| match request.method.as_str() {
            "GET" if request.path == at("a") => Some(refusal(403, "Forbidden", "you may not read")),
            "PUT" if request.path == at("new") => Some((201, request.body.clone())),
            _ => None,
        })
        .await;
        server.hold(&at("a"), config_map("a", json!({})));
        for name in ["a", "new"] {
            let body = config_map(name, json!({"k": "v"})).to_string();
            let result = server.kubectl_in(&["replace", "-f", "-"], &body, Env::default()).await;
            let want = format!("configmap/{name} replaced\n");
            assert_eq!((result.code, result.out.as_str()), (0, want.as_str()), "{result:?}");
        }
        assert_eq!(server.object(&at("a")).unwrap()["metadata"]["labels"]["k"], "v");
        let body = config_map("none", json!({})).to_string();
        let result = server.kubectl_in(&["replace", "-f", "-"], &body, Env::default()).await;
        assert!(result.code == 1 && result.err.contains("(NotFound): error when replacing"), "{result:?}");
    }

    #[tokio::test]
    async fn an_object_with_a_version_is_sent_without_a_look_at_the_live_one() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        let mut new = config_map("a", json!({}));
        new["metadata"]["resourceVersion"] = "7".into();
        let result = server.kubectl_in(&["replace", "-f", "-"], &new.to_string(), Env::default()).await;
        assert_eq!(result.code, 0, "{result:?}");
        let methods: Vec<String> =
            server.requests().into_iter().filter(|a| a.path == at("a")).map(|a| a.method).collect();
        assert_eq!(methods, ["PUT"]);
    }

    #[tokio::test]
    async fn with_force_the_deletion_is_printed_as_by_delete() {
        let (server, body) = (Server::start().await, config_map("a", json!({})));
        for (output, deleted, replaced) in [
            (None, "configmap \"a\" deleted from default namespace\n", "configmap/a replaced\n"),
            (Some("-oname"), "configmap/a\n", "configmap/a\n"),
        ] {
            server.hold(&at("a"), body.clone());
            let words: Vec<&str> = ["replace", "--force", "-f", "-"].into_iter().chain(output).collect();
            let result = server.kubectl_in(&words, &body.to_string(), Env::default()).await;
            assert_eq!(
                (result.code, result.out.as_str()),
                (0, &*format!("{deleted}{replaced}")),
                "{result:?}"
            );
        }
    }

    #[tokio::test]
    async fn what_may_not_be_deleted_is_reported_and_nothing_is_made() {
        let server = Server::start_with(|request| match (request.method.as_str(), request.path.as_str()) {
            ("DELETE", path) if path == at("a") => Some(refusal(403, "Forbidden", "you may not delete")),
            ("POST", _) => Some(refusal(403, "Forbidden", "you may not create")),
            _ => None,
        })
        .await;
        let file = |names: &[&str]| -> String {
            names.iter().map(|name| format!("{}\n", config_map(name, json!({})))).collect()
        };
        for name in ["a", "b"] {
            server.hold(&at(name), config_map(name, json!({})));
        }
        let line = ["replace", "--force", "-f", "-"];
        let result = server.kubectl_in(&line, &file(&["a", "b"]), Env::default()).await;
        let want = "Error from server (Forbidden): error when deleting \"STDIN\": you may not delete\n";
        assert!(result.code == 1 && result.err.ends_with(want), "{result:?}");
        assert!(server.object(&at("b")).is_none(), "the other one is deleted");
        let result = server.kubectl_in(&line, &file(&["b"]), Env::default()).await;
        let want = "Error from server (Forbidden): you may not create\n";
        assert!(result.code == 1 && result.err.ends_with(want), "{result:?}");
    }

    #[tokio::test]
    async fn what_was_read_from_the_cluster_can_be_created_from() {
        let mut body = config_map("a", json!({}));
        body["metadata"]["resourceVersion"] = "7".into();
        for words in
            [["replace", "--force", "-f", "-"].as_slice(), &["create", "-f", "-"], &["apply", "-f", "-"]]
        {
            let server = Server::start().await;
            if words[0] == "replace" {
                server.hold(&at("a"), body.clone());
            }
            let result = server.kubectl_in(words, &body.to_string(), Env::default()).await;
            assert_eq!(result.code, 0, "{words:?}: {result:?}");
            let sent = server.requests().into_iter().rfind(|a| a.method == "POST").unwrap();
            assert!(sent.body["metadata"]["resourceVersion"].is_null(), "{words:?}: {}", sent.body);
        }
    }

    #[tokio::test]
    async fn flags_that_cannot_be_obeyed_are_refused() {
        let server = Server::start().await;
        for (flags, why) in [
            (["--force", "--dry-run=server"], "--dry-run can not be used when --force is set"),
            (["--force", "--dry-run=client"], "--dry-run can not be used when --force is set"),
            (["--raw=/x", "--timeout=1s"], "--timeout must have --force specified"),
            (["--raw=/x", "-oname"], "--raw and --output are mutually exclusive"),
            (["--raw=/x", "-R"], "--raw and --recursive are mutually exclusive"),
        ] {
            let words: Vec<&str> = ["replace", "-f", "-"].into_iter().chain(flags).collect();
            let body = config_map("a", json!({})).to_string();
            let result = server.kubectl_in(&words, &body, Env::default()).await;
            assert_eq!((result.code, result.err), (1, format!("error: {why}\n")), "{words:?}");
        }
        assert!(server.requests().is_empty(), "nothing was sent");
    }
}
