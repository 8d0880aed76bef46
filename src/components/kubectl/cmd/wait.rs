//! wait: until objects are as `--for` says.

use super::until::{AT_ONCE, FOREVER, until};
use crate::builder::{self, Selection};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::{Info, Options};
use crate::print::formats;
use crate::print::jsonpath::{self, JsonPath};
use api::gostr::quote;
use api::value;
use clock::Instant;
use serde_json::Value;
use std::time::Duration;

/// How often `--for=create` looks for the objects.
const POLL: Duration = Duration::from_millis(500);

/// What `--for` waits for.
enum Goal {
    Delete,
    Create,
    Condition(String, String),
    Path(JsonPath, Option<String>),
}

fn goal(ctx: &Ctx) -> Result<Goal, Fail> {
    let given = ctx.flags.text("for");
    let lower = given.to_lowercase();
    if lower == "delete" {
        return Ok(Goal::Delete);
    }
    if lower == "create" {
        return Ok(Goal::Create);
    }
    if let Some(condition) = given.strip_prefix("condition=") {
        let (name, status) = condition.split_once('=').unwrap_or((condition, "true"));
        return Ok(Goal::Condition(name.into(), status.into()));
    }
    if let Some(rest) = given.strip_prefix("jsonpath=") {
        return path_goal(rest);
    }
    text(format!("unrecognized condition: {}", quote(given)))
}

/// `{PATH}` or `{PATH}=VALUE`
fn path_goal(given: &str) -> Result<Goal, Fail> {
    let parts = split(given);
    let (path, wanted) = match parts.as_slice() {
        [path] => (path, None),
        [path, wanted] => (path, Some(wanted.trim_matches(QUOTES))),
        _ => {
            return text(
                "jsonpath wait format must be --for=jsonpath='{.status.readyReplicas}'=3 or --for=jsonpath='{.status.readyReplicas}'",
            );
        }
    };
    if path.is_empty() {
        return text("jsonpath expression cannot be empty");
    }
    let path = jsonpath::relaxed(path).map_err(Fail::Text)?;
    if wanted == Some("") {
        return text(
            "jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3",
        );
    }
    Ok(Goal::Path(path, wanted.map(String::from)))
}

const QUOTES: [char; 2] = ['\'', '"'];

/// Splits at each single `=`. A `==` compares inside of an expression and is kept.
fn split(given: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = given.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '=' && chars.next_if_eq(&'=').is_none() {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
            last.extend((c == '=').then_some('='));
        }
    }
    parts
}

impl Goal {
    fn met(&self, object: &Value) -> Result<bool, Fail> {
        Ok(match self {
            Goal::Delete => object.is_null(),
            Goal::Create => !object.is_null(),
            Goal::Condition(name, status) => {
                let generation = value::int(object, "metadata.generation");
                value::list(object, "status.conditions").iter().any(|c| {
                    let observed = value::int(c, "observedGeneration")
                        .or(value::int(object, "status.observedGeneration"));
                    value::text(c, "type").eq_ignore_ascii_case(name)
                        && value::text(c, "status").eq_ignore_ascii_case(status)
                        && observed.zip(generation).is_none_or(|(o, g)| o >= g)
                })
            }
            Goal::Path(path, wanted) => {
                let found: Vec<Value> =
                    path.find(object).map_err(Fail::Text)?.into_iter().flatten().collect();
                match (found.as_slice(), wanted) {
                    ([], _) => false,
                    ([_], None) => true,
                    ([Value::Object(_) | Value::Array(_)], Some(_)) => {
                        return text("jsonpath leads to a nested object or list which is not supported");
                    }
                    ([one], Some(wanted)) => jsonpath::text_of(one).trim() == wanted.trim(),
                    _ => return text("given jsonpath expression matches more than one value"),
                }
            }
        })
    }
}

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    if ctx.flags.is("local") {
        return text("--local cannot be used with wait: it waits for objects of the server");
    }
    let goal = goal(ctx)?;
    let format = formats::of(ctx, false)?;
    let limit = match ctx.flags.text("timeout") {
        text if text.starts_with('-') => FOREVER,
        _ => ctx.flags.duration("timeout"),
    };
    let all_namespaces = ctx.flags.is("all-namespaces");
    let options = Options { all_namespaces, latest: true, ..Options::default() };
    let selection = builder::select(ctx, &ctx.args, options).await?;
    let deadline = Instant::now() + limit.max(AT_ONCE);
    let (infos, mut failures) = match selection {
        selection if matches!(goal, Goal::Create) => (wait_created(ctx, &selection, deadline).await?, vec![]),
        // A file has the wanted state; the state that counts is read from the server.
        Selection::Objects(mut infos, unread) => {
            infos.iter_mut().for_each(|info| info.object = Value::Null);
            (infos, unread)
        }
        lists => builder::objects(ctx, lists).await?,
    };
    if infos.is_empty() && failures.is_empty() && !matches!(goal, Goal::Delete) {
        return text("no matching resources found");
    }
    for mut info in infos {
        match wait_for(ctx, &mut info, &goal, (!limit.is_zero()).then_some(deadline)).await {
            Ok(true) => match &format {
                Some(format) if !info.object.is_null() => ctx.out(format.print(&info.object, true)?),
                _ => ctx.line(format!("{} condition met", info.named())),
            },
            Ok(false) => {}
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => failures.push(fail),
            Err(other) => return Err(other),
        }
    }
    Fail::join(failures)
}

/// Reads until all objects that were named are there, or one that a selector matches.
async fn wait_created(ctx: &Ctx, selection: &Selection, deadline: Instant) -> Result<Vec<Info>, Fail> {
    loop {
        let (infos, mut failures) = builder::objects(ctx, selection.clone()).await?;
        if !infos.is_empty() && failures.is_empty() {
            return Ok(infos);
        }
        failures.retain(|fail| !fail.is_not_found());
        Fail::join(failures)?;
        if Instant::now() >= deadline {
            return text("timed out waiting for the condition");
        }
        clock::pause_until(deadline.min(Instant::now() + POLL)).await;
    }
}

/// Waits for one object until the deadline; without a deadline only its state now counts.
/// `Ok(false)`: the object was gone before the wait began, about which kubectl prints nothing.
async fn wait_for(ctx: &Ctx, info: &mut Info, goal: &Goal, deadline: Option<Instant>) -> Result<bool, Fail> {
    if info.object.is_null() {
        match info.fetch(ctx).await {
            Ok(()) => {}
            Err(fail) if fail.is_not_found() && matches!(goal, Goal::Delete) => return Ok(false),
            Err(fail) => return Err(fail),
        }
    }
    let uid = value::text(&info.object, "metadata.uid").to_string();
    let done = |object: &Value| match goal {
        Goal::Delete => Ok(object.is_null() || value::text(object, "metadata.uid") != uid),
        // It may come again.
        _ if object.is_null() => Ok(false),
        goal => goal.met(object),
    };
    // The object that was just read counts, however short the time limit.
    if done(&info.object)? {
        return Ok(true);
    }
    let Some(deadline) = deadline else {
        return text(format!("condition not met for {}", info.plural_named()));
    };
    let left = deadline.saturating_duration_since(Instant::now()).max(AT_ONCE);
    until(ctx, info, left, done).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use crate::testing::{ReceivedRequest, Server, at, config_map, refusal};
    use serde_json::{Value, json};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn objects_are_followed_over_a_restart_of_the_server() {
        const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
        // Twice no list can be read; then the deployment is available, or gone.
        let restarts = |items: Value| {
            let away = AtomicU32::new(2);
            move |request: &ReceivedRequest| -> Option<(u16, Value)> {
                if !request.query.contains("fieldSelector") || request.query.contains("watch=true") {
                    return None;
                }
                match away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
                    Ok(_) => Some(refusal(503, "ServiceUnavailable", "starting")),
                    Err(_) => Some((200, json!({"kind": "List", "metadata": {}, "items": items.clone()}))),
                }
            }
        };
        let deployment = |available: &str| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
                "spec": {"replicas": 1}, "status": {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1,
                "conditions": [{"type": "Available", "status": available}]}})
        };
        let met = "deployment.apps/web condition met\n";
        for (words, items, want) in [
            (
                &["rollout", "status", "deploy/web"][..],
                json!([deployment("True")]),
                "successfully rolled out",
            ),
            (&["wait", "--for=condition=Available", "deploy/web"], json!([deployment("True")]), met),
            (&["wait", "--for=delete", "deploy/web"], json!([]), met),
        ] {
            let server = Server::start_with(restarts(items)).await;
            server.hold(&format!("{DEPLOYMENTS}/web"), deployment("False"));
            let result = server.kubectl(&[words, &["--timeout=30s"]].concat()).await;
            assert!(result.code == 0 && result.out.contains(want), "{words:?}: {result:?}");
        }
    }

    #[tokio::test]
    async fn a_wait_that_fails_names_the_resource_without_its_group() {
        let server = Server::start().await;
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}});
        server.hold("/apis/apps/v1/namespaces/default/deployments/web", deployment);
        for (limit, want) in
            [("0", "condition not met for"), ("300ms", "timed out waiting for the condition on")]
        {
            let limit = format!("--timeout={limit}");
            let result = server.kubectl(&["wait", "--for=condition=Available", "deploy/web", &limit]).await;
            assert_eq!((result.code, result.err), (1, format!("error: {want} deployments/web\n")));
        }
    }

    #[tokio::test]
    async fn what_a_selector_means_may_be_created_later() {
        let looks = AtomicU32::new(0);
        let server = Server::start_with(move |request| {
            let first = request.path.ends_with("/configmaps") && looks.fetch_add(1, Ordering::SeqCst) == 0;
            first.then(|| (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []})))
        })
        .await;
        server.hold(&at("a"), config_map("a", json!({"app": "x"})));
        let result = server.kubectl(&["wait", "--for=create", "cm", "-l", "app=x"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "configmap/a condition met\n"), "{result:?}");
        let result = server.kubectl(&["wait", "--for=create", "cm/a", "cm/b", "--timeout=0"]).await;
        let want = "error: timed out waiting for the condition\n";
        assert_eq!((result.code, result.out.as_str(), result.err.as_str()), (1, "", want));
        let result = server.kubectl(&["wait", "--for=create", "pods", "-l", "app=x", "--timeout=0"]).await;
        assert_eq!((result.code, result.err.as_str()), (1, want));
    }

    #[tokio::test]
    async fn a_time_limit_of_zero_is_one_look() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        for goal in ["--for=delete", "--for=condition=Ready", "--for=jsonpath={.data.k}=v"] {
            let result = server.kubectl(&["wait", goal, "cm/a", "--timeout=0"]).await;
            let want = "error: condition not met for configmaps/a\n";
            assert_eq!((result.code, result.err.as_str()), (1, want), "{goal}");
        }
        let result =
            server.kubectl(&["wait", "--for=jsonpath={.kind}=ConfigMap", "cm/a", "--timeout=0"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "configmap/a condition met\n"), "{result:?}");
        assert_eq!(server.requests().len(), 4, "one request each");
    }

    #[tokio::test]
    async fn what_a_file_says_is_not_what_there_is() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        server.hold(&at("a"), config_map("a", json!({"from": "server"})));
        let late = "error: timed out waiting for the condition on configmaps/a\n";
        for (goal, name, (code, out, err)) in [
            ("delete", "a", (1, "", late)),
            ("jsonpath={.metadata.labels.from}=file", "a", (1, "", late)),
            ("jsonpath={.metadata.labels.from}=server", "a", (0, "configmap/a condition met\n", "")),
            ("delete", "gone", (0, "", "")),
        ] {
            let file = dir.path().join(name).display().to_string();
            std::fs::write(&file, config_map(name, json!({"from": "file"})).to_string()).unwrap();
            let result = server.kubectl(&["wait", "--for", goal, "-f", &file, "--timeout=300ms"]).await;
            assert_eq!(
                (result.code, result.out.as_str(), result.err.as_str()),
                (code, out, err),
                "{goal} {name}"
            );
        }
    }

    #[test]
    fn a_path_is_split_at_a_single_equals_sign() {
        for (given, parts) in [
            ("{.a}", &["{.a}"][..]),
            ("{.a}=b", &["{.a}", "b"]),
            ("a.b====c===d=", &["a.b====c==", "d", ""]),
            ("{.c[?(@.type==\"Ready\")].status}=True", &["{.c[?(@.type==\"Ready\")].status}", "True"]),
            (".c[?(@.type==\"Ready\")].status", &[".c[?(@.type==\"Ready\")].status"]),
        ] {
            assert_eq!(super::split(given), parts, "{given}");
        }
        let refused = |given: &str| super::path_goal(given).err().map(|fail| fail.message());
        assert_eq!(refused("{.a}=b"), None);
        assert_eq!(refused(".c[?(@.type==\"Ready\")].status=True"), None);
        assert!(refused("{.a}=").unwrap().starts_with("jsonpath wait has to have a value"));
        assert!(refused("{.a}=b=c").unwrap().starts_with("jsonpath wait format must be"));
        assert_eq!(refused("").unwrap(), "jsonpath expression cannot be empty");
        assert_eq!(refused("{.a}='b'"), None);
        assert!(refused("'{.a}'=b").unwrap().starts_with("unexpected path string"));
    }

    /// A server on which nothing is ever gone.
    async fn with_finalizers(names: &[&str]) -> Server {
        let server = Server::start_with(|request| {
            (request.method == "DELETE").then(|| (200, json!({"kind": "Status", "status": "Success"})))
        })
        .await;
        for name in names {
            server.hold(&at(name), config_map(name, json!({})));
        }
        server
    }

    #[tokio::test]
    async fn the_time_limit_of_a_deletion_is_one_for_all_objects() {
        let names = ["a", "b", "c", "d", "e", "f"];
        let server = with_finalizers(&names).await;
        let begun = Instant::now();
        let result = server.kubectl(&[&["delete", "cm", "--timeout=5s"], &names[..]].concat()).await;
        assert_eq!(
            (result.code, result.err.matches("timed out waiting").count()),
            (1, names.len()),
            "{result:?}"
        );
        // One limit after the other would take half a minute.
        assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_forced_replacement_carries_its_flags_into_the_deletion() {
        let server = with_finalizers(&["a"]).await;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, config_map("a", json!({})).to_string()).unwrap();
        let file = file.display().to_string();
        let args =
            ["replace", "--force", "--cascade=orphan", "--grace-period=0", "--timeout=200ms", "-f", &file];
        let result = server.kubectl(&args).await;
        assert!(result.code == 1 && result.err.contains("timed out waiting"), "{result:?}");
        let deletion = server.requests().into_iter().find(|a| a.method == "DELETE").expect("a deletion").body;
        assert_eq!(deletion, json!({"propagationPolicy": "Orphan", "gracePeriodSeconds": 1}));
    }
}
