//! scale: a new number of replicas.

use super::common::{DryRun, Printer, objects_as_given};
use super::record::record_behind;
use crate::builder;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::{Info, Options};
use crate::wire::api::MERGE_PATCH;
use api::gostr::quote;
use api::value;
use clock::Instant;
use std::time::Duration;

/// How long it is tried again after writes of others, and the pause before each attempt.
const CONFLICTS_WITHIN: Duration = Duration::from_secs(5 * 60);
const AGAIN: Duration = Duration::from_secs(1);

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let replicas = ctx.flags.int("replicas");
    if replicas < 0 {
        return text("The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0");
    }
    let current = if ctx.flags.changed("current-replicas") { ctx.flags.int("current-replicas") } else { -1 };
    if current < -1 {
        return text("The --current-replicas must specify an integer of -1 or greater");
    }
    let dry_run = DryRun::of(ctx)?;
    let printer = Printer::of(ctx, dry_run)?;
    let selection = builder::select(ctx, &ctx.args, Options::default()).await?;
    let (infos, failures) = objects_as_given(ctx, selection).await?;
    let version = ctx.flags.text("resource-version");
    if !version.is_empty() && infos.len() > 1 {
        return text("cannot use --resource-version with multiple resources");
    }
    if infos.is_empty() {
        Fail::join(failures)?;
        return text("no objects passed to scale");
    }
    // As in kubectl, the first object that cannot be scaled ends the command, and `-o` prints each
    // object as it was read, with the old number.
    for info in infos {
        if dry_run == DryRun::Client {
            printer.print(ctx, &info.object, "scaled", true)?;
            continue;
        }
        let path = format!("{}/scale", info.path());
        let deadline = Instant::now() + CONFLICTS_WITHIN;
        while let Err(fail) = once(ctx, &path, (current, version), replicas, dry_run).await {
            if !is_conflict(&fail) {
                return Err(fail);
            }
            if Instant::now() + AGAIN >= deadline {
                return text("context deadline exceeded");
            }
            clock::pause(AGAIN).await;
        }
        let limit = ctx.flags.duration("timeout");
        if !limit.is_zero() && dry_run == DryRun::No {
            reached(ctx, &info, replicas, limit).await?;
        }
        let mut query = vec![];
        dry_run.query(&mut query);
        record_behind(ctx, &info.path(), &query).await; // shown is the object as it was read
        printer.print(ctx, &info.object, "scaled", true)?;
    }
    Fail::join(failures)
}

/// True if another client wrote the object after this command had read it.
fn is_conflict(fail: &Fail) -> bool {
    matches!(fail, Fail::Api(refusal) if refusal.reason == "Conflict")
}

/// Sets the number of replicas, with conditions (how many there have to be, which version) only
/// after a look at what is there.
async fn once(
    ctx: &Ctx,
    path: &str,
    (current, version): (i64, &str),
    replicas: i64,
    dry_run: DryRun,
) -> Result<(), Fail> {
    let mut query = vec![];
    dry_run.query(&mut query);
    let api = ctx.api().await?;
    if current < 0 && version.is_empty() {
        let patch = format!("{{\"spec\":{{\"replicas\":{replicas}}}}}");
        return api.patch(path, &query, MERGE_PATCH, patch.into()).await.map(drop);
    }
    let mut scale = api.get(path, &[]).await?;
    let now = value::int(&scale, "spec.replicas").unwrap_or(0);
    if current >= 0 && now != current {
        return text(format!("Expected replicas to be {current}, was {now}"));
    }
    let there = value::text(&scale, "metadata.resourceVersion");
    if !version.is_empty() && there != version {
        return text(format!("Expected resource version to be {version}, was {there}"));
    }
    value::put(&mut scale, "spec.replicas", replicas);
    api.put(path, &query, &scale).await.map(drop)
}

/// Asks until as many replicas run as are wanted.
async fn reached(ctx: &Ctx, info: &Info, replicas: i64, limit: Duration) -> Result<(), Fail> {
    let path = format!("{}/scale", info.path());
    let deadline = Instant::now() + limit;
    loop {
        let scale = ctx.api().await?.get(&path, &[]).await?;
        let (wanted, there) = (value::int(&scale, "spec.replicas"), value::int(&scale, "status.replicas"));
        if wanted.unwrap_or(0) != replicas || wanted.unwrap_or(0) == there.unwrap_or(0) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return text(format!("timed out waiting for {} to be synced", quote(&info.name)));
        }
        clock::pause(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{ReceivedRequest, Server, refusal};
    use serde_json::{Value, json};
    use std::sync::atomic::{AtomicU32, Ordering};

    const AT: &str = "/apis/apps/v1/namespaces/default/deployments";

    async fn with(rule: impl Fn(&ReceivedRequest) -> Option<(u16, Value)> + Send + Sync + 'static) -> Server {
        let server = Server::start_with(rule).await;
        for name in ["a", "b"] {
            let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": name, "namespace": "default"}, "spec": {"replicas": 1}});
            server.hold(&format!("{AT}/{name}"), object);
            server.hold(
                &format!("{AT}/{name}/scale"),
                json!({"kind": "Scale", "metadata": {}, "spec": {"replicas": 1}}),
            );
        }
        server
    }

    fn writes(server: &Server) -> usize {
        server.requests().iter().filter(|a| a.method != "GET").count()
    }

    #[tokio::test]
    async fn a_conflict_is_tried_again() {
        let times = AtomicU32::new(0);
        let server = with(move |request| {
            let first = request.method == "PUT" && times.fetch_add(1, Ordering::SeqCst) == 0;
            first.then(|| refusal(409, "Conflict", "the object has been modified"))
        })
        .await;
        let result = server.kubectl(&["scale", "deploy", "a", "--replicas=3", "--current-replicas=1"]).await;
        assert_eq!((result.code, writes(&server)), (0, 2), "{result:?}");
        assert_eq!(server.object(&format!("{AT}/a/scale")).unwrap()["spec"]["replicas"], 3);
    }

    #[tokio::test]
    async fn an_object_is_shown_as_it_was_found() {
        let server = with(|_| None).await;
        let line = ["scale", "deploy", "a", "--replicas=3", "-o", "jsonpath={.spec.replicas}"];
        let result = server.kubectl(&line).await;
        assert_eq!((result.code, result.out.as_str(), writes(&server)), (0, "1", 1), "{result:?}");
        let reads = server.requests().iter().filter(|a| a.path == format!("{AT}/a")).count();
        assert_eq!(reads, 1);
    }

    #[tokio::test]
    async fn an_object_of_a_file_is_not_read() {
        let server = with(|request| {
            let read = request.method == "GET" && request.path == format!("{AT}/a");
            read.then(|| refusal(403, "Forbidden", "no"))
        })
        .await;
        let file = r#"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}}"#;
        let result =
            server.kubectl_in(&["scale", "-f", "-", "--replicas=3"], file, crate::Env::default()).await;
        assert_eq!((result.code, result.out.as_str()), (0, "deployment.apps/a scaled\n"), "{result:?}");
    }

    #[tokio::test]
    async fn the_first_failure_ends_the_command() {
        let server = with(|_| None).await;
        let args = ["scale", "deploy", "a", "b", "--replicas=3", "--resource-version=1"];
        let result = server.kubectl(&args).await;
        let want = "error: cannot use --resource-version with multiple resources\n";
        assert_eq!((result.code, result.err.as_str(), writes(&server)), (1, want, 0));
        let result =
            server.kubectl(&["scale", "deploy", "a", "b", "--replicas=3", "--current-replicas=2"]).await;
        let want = "error: Expected replicas to be 2, was 1\n";
        assert_eq!((result.code, result.err.as_str(), writes(&server)), (1, want, 0));
        let result = server.kubectl(&["scale", "deploy", "missing", "--replicas=3"]).await;
        assert!(result.code == 1 && result.err.starts_with("Error from server (NotFound): "), "{result:?}");
        let result = server.kubectl(&["scale", "rs", "--all", "--replicas=3"]).await;
        assert_eq!(result.err, "error: no objects passed to scale\n");
    }
}
