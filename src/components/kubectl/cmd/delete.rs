//! delete: by name, selector or file, and the wait until everything is gone.

use super::common::{DryRun, ask_raw, refuse_beside_raw, send_raw};
use super::until::{Deadline, FOREVER, until};
use crate::builder::{self, Selection};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::flag::parse_bool;
use crate::info::{Info, Options};
use crate::lists;
use api::gostr::quote;
use api::value;
use serde_json::{Value, json};

const AT_ONCE: &str = "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.";

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    let output = ctx.flags.text("output");
    if !matches!(output, "" | "name") {
        return text(format!("unexpected -o output mode: {output}. We only support '-o name'"));
    }
    let raw = ctx.flags.text("raw");
    if !raw.is_empty() {
        return self::raw(ctx, raw).await;
    }
    let policy = checked_propagation(ctx)?;
    let grace = grace(ctx)?;
    let (infos, unread) = find(ctx).await?;
    let found_any = !infos.is_empty();
    let is_selected =
        ctx.flags.is("all") || ["selector", "field-selector"].iter().any(|s| !ctx.flags.text(s).is_empty());
    let ignore =
        if ctx.flags.changed("ignore-not-found") { ctx.flags.is("ignore-not-found") } else { is_selected };
    if ctx.flags.is("interactive") {
        Fail::join(unread.clone())?; // before the question
    }
    if ctx.flags.is("interactive") && !infos.is_empty() && !confirmed(ctx, &infos).await? {
        return Ok(());
    }
    let body = delete_options(grace, policy, dry_run);
    let (mut warned, mut gone, mut failures) = (false, vec![], vec![]);
    for info in infos {
        let provided = ctx.flags.changed("namespace") && !ctx.flags.is("all-namespaces");
        if provided && !info.resource.namespaced && !warned {
            ctx.note("Warning: deleting cluster-scoped resources, not scoped to the provided namespace");
            warned = true;
        }
        if dry_run == DryRun::Client {
            // As in kubectl, named objects are printed as deleted without a look for them.
            print_deleted(ctx, &info, dry_run, grace == Some(0));
            continue;
        }
        let api = ctx.api().await?; // without it no other object could be deleted either
        let answer = match api.delete(&info.path(), &[], &body).await {
            Ok(answer) => answer,
            Err(fail) if fail.is_not_found() && ignore => continue,
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => {
                failures.push(builder::about(fail, "deleting", &info.source));
                continue;
            }
            Err(other) => return Err(other),
        };
        print_deleted(ctx, &info, dry_run, grace == Some(0));
        let uid = match value::text(&answer, "details.uid") {
            "" => value::text(&answer, "metadata.uid"),
            uid => uid,
        };
        gone.push((info, uid.to_string()));
    }
    failures.extend(unread); // last, as in kubectl
    if !found_any && failures.is_empty() {
        ctx.line("No resources found");
    }
    if dry_run == DryRun::No && ctx.flags.is("wait") && failures.is_empty() {
        failures = wait_for_all(ctx, gone).await;
    }
    Fail::join(failures)
}

/// The `DeleteOptions` of each object. `grace`: seconds, or the object's own.
fn delete_options(grace: Option<i64>, policy: &str, dry_run: DryRun) -> Value {
    let mut body = json!({});
    if let Some(seconds) = grace {
        value::put(&mut body, "gracePeriodSeconds", seconds);
    }
    value::put(&mut body, "propagationPolicy", policy);
    if dry_run == DryRun::Server {
        value::put(&mut body, "dryRun", json!(["All"]));
    }
    body
}

/// Finds the objects that are to be deleted, and the failures about documents or lists. Named
/// objects are not read.
async fn find(ctx: &Ctx) -> Result<(Vec<Info>, Vec<Fail>), Fail> {
    // This combination is refused also where files name the objects.
    if ctx.flags.is("all") && !lists::selectors(ctx).is_empty() {
        return text("setting 'all' parameter but found a non empty selector. ");
    }
    let all_namespaces = ctx.flags.is("all-namespaces");
    let options = Options { all_namespaces, all_selects: true, ..Options::default() };
    match builder::select(ctx, &ctx.args, options).await? {
        Selection::Objects(infos, unread) => Ok((infos, unread)),
        lists => builder::objects(ctx, lists).await,
    }
}

/// Waits until the objects with these uids are gone. Returns the failures.
async fn wait_for_all(ctx: &Ctx, objects: Vec<(Info, String)>) -> Vec<Fail> {
    // `--timeout` is one limit for all objects together.
    let deadline = Deadline::of(ctx.flags.duration("timeout"), FOREVER);
    let mut failures = vec![];
    for (mut info, uid) in objects {
        match wait_gone(ctx, &mut info, &uid, deadline).await {
            Ok(()) => {}
            // A user who may delete need not be allowed to read: the deletion has succeeded.
            Err(fail) if matches!(fail.code(), Some(403 | 405)) => {}
            Err(fail) => failures.push(fail),
        }
    }
    failures
}

/// Sends the request as it is, with the file as its body, if one was named: DeleteOptions.
async fn raw(ctx: &Ctx, path: &str) -> Result<(), Fail> {
    let files = ctx.flags.list("filename");
    if ctx.flags.is("interactive") {
        return text("--interactive can not be used with --raw");
    }
    if files.len() > 1 {
        return text("--raw can only use a single local file or stdin");
    }
    refuse_beside_raw(ctx, &files)?;
    if !files.is_empty() {
        return send_raw(ctx, http::Method::DELETE, path, &files).await;
    }
    ask_raw(ctx, http::Method::DELETE, path, bytes::Bytes::new()).await
}

/// Returns what `--cascade` means, as [`propagation`] does, and warns of a boolean. A command calls
/// this once, before it changes anything.
pub(crate) fn checked_propagation(ctx: &Ctx) -> Result<&'static str, Fail> {
    let (policy, given) = (propagation(ctx)?, ctx.flags.text("cascade"));
    if !matches!(given, "background" | "orphan" | "foreground") {
        let name = policy.to_lowercase();
        ctx.note(format!(
            "warning: --cascade={given} is deprecated (boolean value) and can be replaced with --cascade={name}."
        ));
    }
    Ok(policy)
}

/// What `--cascade` means for the objects that depend on a deleted one.
///
/// # Errors
/// [`Fail::Text`] in kubectl's words: it has another value than those that it knows; also if it is
/// empty, for the dependents of an unset variable are not to be deleted.
pub(crate) fn propagation(ctx: &Ctx) -> Result<&'static str, Fail> {
    let given = ctx.flags.text("cascade");
    match (given, parse_bool(given)) {
        ("background", _) | (_, Some(true)) => Ok("Background"),
        ("orphan", _) | (_, Some(false)) => Ok("Orphan"),
        ("foreground", _) => Ok("Foreground"),
        _ => text(format!(
            "invalid cascade value ({given}). Must be \"background\", \"foreground\", or \"orphan\""
        )),
    }
}

/// `None`: the object's own grace period.
fn grace(ctx: &Ctx) -> Result<Option<i64>, Fail> {
    let mut period = ctx.flags.int("grace-period");
    let force = ctx.flags.is("force");
    if ctx.flags.is("now") {
        if period != -1 {
            return text("--now and --grace-period cannot be specified together");
        }
        period = 1;
    }
    if period == 0 && !force {
        period = 1;
    }
    if force && period < 0 {
        period = 0;
    }
    if period > 0 && force {
        return text("--force and --grace-period greater than 0 cannot be specified together");
    }
    if period == 0 {
        ctx.note(AT_ONCE);
    }
    Ok((period >= 0).then_some(period))
}

/// Prints `KIND "NAME" deleted from NAMESPACE namespace`, or as `-o name` says.
pub(crate) fn print_deleted(ctx: &Ctx, info: &Info, dry_run: DryRun, at_once: bool) {
    if ctx.flags.text("output") == "name" {
        ctx.line(info.named());
        return;
    }
    let deleted = if at_once { "force deleted" } else { "deleted" };
    let operation = match info.resource.namespaced {
        true => dry_run.suffixed(&format!("{deleted} from {} namespace", info.namespace)),
        false => dry_run.suffixed(deleted),
    };
    ctx.line(format!("{} {} {operation}", info.resource.kind_group(), quote(&info.name)));
}

async fn confirmed(ctx: &Ctx, infos: &[Info]) -> Result<bool, Fail> {
    ctx.line(format!("You are about to delete the following {} resource(s):", infos.len()));
    infos.iter().for_each(|i| ctx.line(i.named()));
    ctx.out("Do you want to continue? (y/N): ");
    let yes = ctx.read_word().await?.eq_ignore_ascii_case("y");
    if !yes {
        ctx.line("deletion is cancelled");
    }
    Ok(yes)
}

/// Waits until the object with this uid is gone.
pub(crate) async fn wait_gone(ctx: &Ctx, info: &mut Info, uid: &str, deadline: Deadline) -> Result<(), Fail> {
    let other =
        |object: &Value| object.is_null() || (!uid.is_empty() && value::text(object, "metadata.uid") != uid);
    match ctx.api().await?.get(&info.path(), &[]).await {
        Ok(object) if other(&object) => return Ok(()),
        Ok(_) => {}
        Err(fail) if fail.is_not_found() => return Ok(()),
        Err(fail) => return Err(fail),
    }
    until(ctx, info, deadline.left(), |object| Ok(other(object))).await
}

#[cfg(test)]
mod tests {
    use crate::Env;
    use crate::testing::{Server, at, config_map, refusal};
    use serde_json::json;

    #[tokio::test]
    async fn a_raw_request_has_the_file_as_its_body() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]});
        let file = dir.path().join("o.json");
        std::fs::write(&file, options.to_string()).unwrap();
        let file = file.display().to_string();
        for source in [file.as_str(), "-"] {
            server.hold(&at("a"), config_map("a", json!({})));
            let words = ["delete", "--raw", &at("a"), "-f", source];
            let result = server.kubectl_in(&words, &options.to_string(), Env::default()).await;
            assert_eq!(result.code, 0, "{result:?}");
            assert_eq!(server.requests().last().map(|request| request.body.clone()), Some(options.clone()));
        }
    }

    #[tokio::test]
    async fn a_raw_request_that_is_refused_names_no_resource() {
        let server = Server::start_with(|_| Some((404, json!("404 page not found")))).await;
        let want = "Error from server (NotFound): the server could not find the requested resource\n";
        for line in [
            &["get", "--raw", "/api/v1/nope"][..],
            &["delete", "--raw", "/api/v1/nope"],
            &["replace", "--raw", "/api/v1/nope", "-f", "-"],
        ] {
            let result = server.kubectl_in(line, "{}", Env::default()).await;
            assert_eq!((result.code, result.err.as_str()), (1, want), "{line:?}");
        }
    }

    #[tokio::test]
    async fn a_boolean_cascade_is_obeyed_with_a_warning() {
        let server = Server::start().await;
        for (given, policy, name) in [("false", "Orphan", "orphan"), ("T", "Background", "background")] {
            server.hold(&at("a"), config_map("a", json!({})));
            let flag = format!("--cascade={given}");
            let result = server.kubectl(&["delete", "cm", "a", "--wait=false", &flag]).await;
            let want = format!(
                "warning: {flag} is deprecated (boolean value) and can be replaced with --cascade={name}.\n"
            );
            assert_eq!((result.code, result.err), (0, want));
            let last = server.requests().into_iter().rfind(|request| request.method == "DELETE");
            assert_eq!(last.map(|request| request.body["propagationPolicy"].clone()), Some(json!(policy)));
        }
        server.hold(&at("a"), config_map("a", json!({})));
        for given in ["orphen", ""] {
            let result = server.kubectl(&["delete", "cm", "a", &format!("--cascade={given}")]).await;
            let why = format!("invalid cascade value ({given})");
            assert!(result.code == 1 && result.err.contains(&why), "{result:?}");
        }
        assert!(server.object(&at("a")).is_some(), "nothing was deleted");
    }

    /// Scripts write `--dry-run` as their language writes booleans, and an unset variable leaves it
    /// empty.
    #[tokio::test]
    async fn a_dry_run_is_a_word_or_a_boolean_and_not_empty() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        for given in ["True", "1", "t", "client"] {
            let result = server.kubectl(&["delete", "cm", "a", &format!("--dry-run={given}")]).await;
            assert!(result.code == 0 && result.out.ends_with("(dry run)\n"), "{given}: {result:?}");
            let warning = format!("--dry-run={given} is deprecated (boolean value)");
            assert_eq!(result.err.contains(&warning), given != "client", "{result:?}");
        }
        let result = server.kubectl(&["delete", "cm", "a", "--dry-run="]).await;
        let why = "error: Invalid dry-run value (). Must be \"none\", \"server\", or \"client\".\n";
        assert_eq!((result.code, result.err.as_str()), (1, why));
        assert!(server.object(&at("a")).is_some(), "nothing was deleted");
        let result = server.kubectl(&["delete", "cm", "a", "--dry-run=False"]).await;
        assert_eq!((result.code, server.object(&at("a"))), (0, None), "{result:?}");
    }

    #[tokio::test]
    async fn a_raw_request_is_refused_with_flags_that_it_cannot_obey() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        for (flags, why) in [
            (vec!["-i"], "--interactive can not be used with --raw"),
            (vec!["-o", "name"], "--raw and --output are mutually exclusive"),
            (vec!["-R"], "--raw and --recursive are mutually exclusive"),
            (vec!["-f", "a", "-f", "b"], "--raw can only use a single local file or stdin"),
            (vec!["-f", "https://x/y"], "--raw cannot read from a url"),
        ] {
            let path = at("a");
            let words: Vec<&str> = ["delete", "--raw", &path].into_iter().chain(flags).collect();
            let result = server.kubectl(&words).await;
            assert_eq!((result.code, result.err), (1, format!("error: {why}\n")));
        }
        assert!(server.object(&at("a")).is_some(), "nothing was deleted");
    }

    #[tokio::test]
    async fn all_and_a_selector_exclude_each_other_beside_files_too() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({"x": "y"})));
        let file = config_map("a", json!({"x": "y"})).to_string();
        for flag in ["-l=x=y", "--field-selector=metadata.name=a"] {
            let words = ["delete", "-f", "-", "--all", flag];
            let result = server.kubectl_in(&words, &file, Env::default()).await;
            let why = "error: setting 'all' parameter but found a non empty selector. \n";
            assert_eq!((result.code, result.err.as_str()), (1, why), "{flag}");
        }
        assert!(server.object(&at("a")).is_some(), "nothing was deleted");
    }

    #[tokio::test]
    async fn what_is_gone_is_no_failure_for_a_selector() {
        let server = Server::start().await;
        let file = config_map("a", json!({"x": "y"})).to_string();
        for (flags, code) in [(["-l", "x=y"], 0), (["-l", "x=z"], 0), (["--wait", "--now"], 1)] {
            let words: Vec<&str> = ["delete", "-f", "-"].into_iter().chain(flags).collect();
            let result = server.kubectl_in(&words, &file, Env::default()).await;
            let want = if flags[1] == "x=z" { "No resources found\n" } else { "" };
            assert_eq!((result.code, result.out.as_str()), (code, want), "{words:?} {result:?}");
        }
        let result = server.kubectl(&["delete", "cm", "a", "--ignore-not-found"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, ""), "{result:?}");
    }

    #[tokio::test]
    async fn a_dry_run_of_the_client_does_not_look_for_what_is_named() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        let result = server.kubectl(&["delete", "cm", "a", "missing", "--dry-run=client"]).await;
        let lines = ["a", "missing"]
            .map(|name| format!("configmap \"{name}\" deleted from default namespace (dry run)\n"));
        assert_eq!((result.code, result.out), (0, lines.concat()));
        assert!(server.requests().is_empty() && server.object(&at("a")).is_some());
    }

    #[tokio::test]
    async fn who_may_only_delete_does_not_wait() {
        for (code, ends) in [(403, 0), (500, 1)] {
            let server = Server::start_with(move |request| {
                (request.method == "GET" && request.path.contains("configmaps"))
                    .then(|| refusal(code, "No", "no"))
            })
            .await;
            server.hold(&at("a"), config_map("a", json!({})));
            let result = server.kubectl(&["delete", "cm", "a"]).await;
            assert_eq!(
                (result.code, result.out.as_str()),
                (ends, "configmap \"a\" deleted from default namespace\n"),
                "{result:?}"
            );
        }
    }
}
