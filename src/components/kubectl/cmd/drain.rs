//! drain: cordons nodes and evicts their pods.

use super::common::DryRun;
use super::drain_plan::{Plan, plan, pod_name, terminating_for};
use super::nodes::{mark, nodes};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::wire::paths;
use api::gostr::{Nanos, quote};
use api::labels::Selector;
use api::value;
use clock::Instant;
use serde_json::{Value, json};
use std::time::Duration;

/// A pod whose disruption budget is used up is tried again after this time.
const AGAIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_secs(1);

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    // Checked before a node is cordoned: a selector that cannot be parsed must change nothing.
    let selector = ctx.flags.text("pod-selector");
    if !selector.is_empty() && Selector::parse(selector).is_err() {
        return text("--pod-selector=<pod_selector> must be a valid label selector");
    }
    let infos = nodes(ctx).await?;
    mark(ctx, &infos, true).await?;
    let mut failed: Vec<(String, Fail)> = vec![];
    for info in &infos {
        match drain(ctx, &info.name, dry_run).await {
            Ok(()) => ctx.line(format!("node/{} {}", info.name, dry_run.suffixed("drained"))),
            Err(fail) => {
                ctx.note(format!(
                    "error: unable to drain node {} due to error: {}, continuing command...",
                    quote(&info.name),
                    fail.message()
                ));
                failed.push((info.name.clone(), fail));
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    ctx.note("There are pending nodes to be drained:");
    failed.iter().for_each(|(name, _)| ctx.note(format!(" {name}")));
    // The failures of one node are printed one a line; of several nodes each has one line.
    let on_one_line = |fail: Fail| match fail {
        Fail::Many(_) => Fail::Text(fail.message()),
        one => one,
    };
    let mut fails: Vec<Fail> = failed.into_iter().map(|(_, fail)| fail).collect();
    Err(match fails.len() {
        1 => fails.remove(0),
        _ => Fail::Many(fails.into_iter().map(on_one_line).collect()),
    })
}

/// Drains one node.
///
/// # Errors
/// [`Fail::Many`] with what keeps pods there, also if that is one thing. With `--disable-eviction`
/// the first refusal of the server: no other pod is deleted then.
async fn drain(ctx: &Ctx, node: &str, dry_run: DryRun) -> Result<(), Fail> {
    let Plan { evict, warnings, refusals } = plan(ctx, node).await.map_err(|fail| Fail::Many(vec![fail]))?;
    if !refusals.is_empty() {
        return Err(Fail::Many(refusals.into_iter().map(Fail::Text).collect()));
    }
    if !warnings.is_empty() {
        ctx.note(format!("Warning: {}", warnings.join("; ")));
    }
    if dry_run == DryRun::Client {
        evict.iter().for_each(|pod| ctx.line(format!("evicting pod {} (dry run)", pod_name(pod))));
        return Ok(());
    }
    let limit = Limit { all: ctx.flags.duration("timeout"), since: Instant::now() };
    let outcome = match ctx.flags.is("disable-eviction") {
        true => delete_all(ctx, &evict, dry_run, &limit).await,
        false => {
            let work =
                futures::future::join_all(evict.iter().map(|pod| evict_and_wait(ctx, pod, dry_run, &limit)));
            let failures: Vec<Fail> = work.await.into_iter().filter_map(Result::err).collect();
            if failures.is_empty() { Ok(()) } else { Err(Fail::Many(failures)) }
        }
    };
    if let Err(fail) = &outcome {
        print_pending(ctx, node, fail).await;
    }
    outcome
}

/// Names the pods that are left on a node after a failure.
async fn print_pending(ctx: &Ctx, node: &str, fail: &Fail) {
    let (left, unknown) = match plan(ctx, node).await {
        Ok(plan) => (plan.evict, plan.refusals),
        Err(fail) => (vec![], vec![fail.message()]),
    };
    if !left.is_empty() {
        let (node, why) = (quote(node), fail.message());
        ctx.note(format!("There are pending pods in node {node} when an error occurred: {why}"));
        left.iter().for_each(|pod| ctx.note(format!("pod/{}", value::text(pod, "metadata.name"))));
    }
    if !unknown.is_empty() {
        let why = Fail::Many(unknown.into_iter().map(Fail::Text).collect()).message();
        ctx.note(format!("Following errors occurred while getting the list of pods to delete:\n{why}"));
    }
}

/// The time limit of the whole drain (`--timeout`); zero: no limit.
struct Limit {
    all: Duration,
    since: Instant,
}

impl Limit {
    fn is_over(&self) -> bool {
        !self.all.is_zero() && self.since.elapsed() >= self.all
    }
    fn reached(&self) -> String {
        format!("global timeout reached: {}", Nanos(self.all.as_nanos() as i128))
    }
}

fn path_of(pod: &Value) -> String {
    let (namespace, name) = (value::text(pod, "metadata.namespace"), value::text(pod, "metadata.name"));
    format!("{}/{}", paths::within("/api/v1", namespace, "pods"), paths::segment(name))
}

/// The `DeleteOptions` of each pod.
fn options(ctx: &Ctx, dry_run: DryRun) -> Value {
    let mut options = json!({});
    if ctx.flags.int("grace-period") >= 0 {
        value::put(&mut options, "gracePeriodSeconds", ctx.flags.int("grace-period"));
    }
    if dry_run == DryRun::Server {
        value::put(&mut options, "dryRun", json!(["All"]));
    }
    options
}

/// Deletes pods in their order, whatever their disruption budgets say, and waits until all of them
/// are gone.
async fn delete_all(ctx: &Ctx, pods: &[Value], dry_run: DryRun, limit: &Limit) -> Result<(), Fail> {
    for pod in pods {
        match ctx.api().await?.delete(&path_of(pod), &[], &options(ctx, dry_run)).await {
            Err(fail) if !fail.is_not_found() => return Err(fail),
            _ => {}
        }
    }
    if dry_run == DryRun::Server {
        return Ok(());
    }
    let left = pods.iter().map(|pod| async move {
        if wait_until_gone(ctx, pod, "deletion", limit).await? {
            ctx.line(format!("pod/{} deleted", value::text(pod, "metadata.name")));
        }
        Ok::<(), Fail>(())
    });
    futures::future::try_join_all(left).await.map(drop)
}

/// Evicts one pod, and waits until it is gone.
async fn evict_and_wait(ctx: &Ctx, pod: &Value, dry_run: DryRun, limit: &Limit) -> Result<(), Fail> {
    let (namespace, name) = (value::text(pod, "metadata.namespace"), value::text(pod, "metadata.name"));
    let path = path_of(pod);
    if !evict(ctx, pod, &path, options(ctx, dry_run), limit).await? || dry_run == DryRun::Server {
        return Ok(());
    }
    let gone = wait_until_gone(ctx, pod, "eviction", limit).await.map_err(|fail| {
        let (name, namespace, why) = (quote(name), quote(namespace), fail.message());
        Fail::Text(format!("error when waiting for pod {name} in namespace {namespace} to terminate: {why}"))
    })?;
    if gone {
        ctx.line(format!("pod/{name} evicted"));
    }
    Ok(())
}

/// Evicts one pod, again and again while its budget does not allow it. False: it was gone already.
async fn evict(ctx: &Ctx, pod: &Value, path: &str, options: Value, limit: &Limit) -> Result<bool, Fail> {
    let (namespace, name) = (value::text(pod, "metadata.namespace"), value::text(pod, "metadata.name"));
    let tried = if value::empty(&options, "dryRun") { "" } else { " (server dry run)" };
    let api = ctx.api().await?;
    let body = json!({"kind": "Eviction", "apiVersion": "policy/v1",
        "metadata": {"name": name, "namespace": namespace}, "deleteOptions": options});
    let mut going = !value::empty(pod, "metadata.deletionTimestamp");
    loop {
        ctx.line(format!("evicting pod {namespace}/{name}{tried}"));
        let about =
            |why: &str| format!("error when evicting pods/{} -n {}: {why}", quote(name), quote(namespace));
        if limit.is_over() {
            return text(about(&limit.reached()));
        }
        let fail = match api.post(&format!("{path}/eviction"), &[], &body).await {
            Ok(_) => return Ok(true),
            Err(fail) if fail.is_not_found() => return Ok(false),
            Err(fail) => fail,
        };
        // Nothing is made in a namespace that goes, not even an Eviction; but the pods go with it.
        let ending = fail.code() == Some(403) && fail.has_cause("NamespaceTerminating");
        if ending && going {
            return Ok(true);
        }
        if fail.code() == Some(429) {
            let (name, namespace, why) = (quote(name), quote(namespace), fail.message());
            ctx.note(format!("error when evicting pods/{name} -n {namespace} (will retry after 5s): {why}"));
        } else if ending {
            let (name, namespace, why) = (quote(name), quote(namespace), fail.message());
            ctx.note(format!(
                "error when evicting pod {name} from terminating namespace {namespace} (will retry after 5s): {why}"
            ));
        } else {
            return text(about(&fail.message()));
        }
        ctx.output.flush().await;
        clock::pause(AGAIN).await;
        if let Ok(fresh) = api.get(path, &[]).await {
            going = !value::empty(&fresh, "metadata.deletionTimestamp");
        }
    }
}

/// Waits until a pod is gone, or another one has its name. Returns false if the pod has been ending
/// for so long that `--skip-wait-for-delete-timeout` skips it. `way`: `eviction` or `deletion`,
/// which the error names.
async fn wait_until_gone(ctx: &Ctx, pod: &Value, way: &str, limit: &Limit) -> Result<bool, Fail> {
    let (name, path) = (value::text(pod, "metadata.name"), path_of(pod));
    let skip = ctx.flags.int("skip-wait-for-delete-timeout");
    loop {
        match ctx.api().await?.get(&path, &[]).await {
            Ok(there) if value::text(&there, "metadata.uid") != value::text(pod, "metadata.uid") => {
                return Ok(true);
            }
            Ok(there) => {
                if skip > 0 && terminating_for(&there).is_some_and(|secs| secs > skip) {
                    ctx.line(format!(
                        "pod {} has DeletionTimestamp older than {skip} seconds, skipping",
                        quote(name)
                    ));
                    return Ok(false);
                }
            }
            Err(fail) if fail.is_not_found() => return Ok(true),
            Err(fail) => {
                ctx.line(format!("pod/{name} {way} failed"));
                return Err(fail);
            }
        }
        if limit.is_over() {
            return text("context deadline exceeded");
        }
        ctx.output.flush().await;
        clock::pause(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, refusal};

    /// A node with one pod of a DaemonSet.
    async fn server() -> Server {
        let server = Server::start_with(|request| {
            let nodes = json!({"resource": "nodes", "responseKind": {"kind": "Node"}, "scope": "Cluster", "verbs": ["get"]});
            let core = json!({"metadata": {}, "versions": [{"version": "v1", "resources": [nodes]}]});
            let list = || (200, json!({"kind": "APIGroupDiscoveryList", "items": [core]}));
            (request.path == "/api").then(list)
        })
        .await;
        server
            .hold("/api/v1/nodes/n", json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"}}));
        let owner = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "controller": true});
        let meta = json!({"name": "p", "namespace": "x", "ownerReferences": [owner]});
        server.hold("/api/v1/pods/p", json!({"metadata": meta, "status": {"phase": "Running"}}));
        server
    }

    #[tokio::test]
    async fn a_selector_that_cannot_be_parsed_cordons_no_node() {
        let server = server().await;
        let result = server.kubectl(&["drain", "n", "--pod-selector=x in ("]).await;
        let why = "error: --pod-selector=<pod_selector> must be a valid label selector\n";
        assert_eq!((result.code, result.out.as_str(), result.err.as_str()), (1, "", why));
        assert!(server.requests().iter().all(|request| request.method == "GET"));
    }

    #[tokio::test]
    async fn a_pod_without_its_daemon_set_goes_by_force_alone() {
        let server = server().await;
        let result = server.kubectl(&["drain", "n", "--ignore-daemonsets"]).await;
        assert!(result.code == 1 && result.err.contains("daemonsets/d not found: x/p"), "{result:?}");
        let bare = json!({"metadata": {"name": "bare", "namespace": "x"}, "status": {"phase": "Running"}});
        server.hold("/api/v1/pods/bare", bare);
        let result = server.kubectl(&["drain", "n", "--ignore-daemonsets"]).await;
        let pending = result.err.rsplit("to be drained:\n").next().unwrap_or_default();
        assert_eq!(pending.lines().count(), 3, "the node and each reason: {result:?}");
        let both = server.kubectl(&["drain", "n", "-l", "a=b"]).await;
        assert!(both.err.ends_with("See 'kubectl drain -h' for help and examples\n"), "{both:?}");
        let result = server.kubectl(&["drain", "n", "--ignore-daemonsets", "--force"]).await;
        assert!(result.code == 0 && result.out.contains("pod/p evicted"), "{result:?}");
    }

    #[tokio::test]
    async fn without_evictions_a_pod_is_deleted_once() {
        let server = Server::start_with(|request| {
            let nodes = json!({"resource": "nodes", "responseKind": {"kind": "Node"}, "scope": "Cluster", "verbs": ["get"]});
            let core = json!({"metadata": {}, "versions": [{"version": "v1", "resources": [nodes]}]});
            match (request.method.as_str(), request.path.as_str()) {
                ("GET", "/api") => Some((200, json!({"kind": "APIGroupDiscoveryList", "items": [core]}))),
                ("DELETE", _) => Some(refusal(429, "TooManyRequests", "later")),
                _ => None,
            }
        })
        .await;
        server
            .hold("/api/v1/nodes/n", json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"}}));
        for name in ["p", "q"] {
            let pod = json!({"metadata": {"name": name, "namespace": "x"}, "status": {"phase": "Running"}});
            server.hold(&format!("/api/v1/pods/{name}"), pod);
        }
        let result = server.kubectl(&["drain", "n", "--force", "--disable-eviction"]).await;
        assert!(
            result.code == 1 && result.err.contains("due to error: later, continuing command"),
            "{result:?}"
        );
        assert!(result.err.ends_with(" n\nError from server (TooManyRequests): later\n"), "{result:?}");
        assert!(!result.out.contains("deleting pod"), "{result:?}");
        let deletions = server.requests().iter().filter(|a| a.method == "DELETE").count();
        assert_eq!(deletions, 1, "only an eviction waits for its budget, and a refusal ends it");
    }

    #[tokio::test]
    async fn nodes_that_are_left_are_named_before_what_they_failed_with() {
        let server = server().await;
        server
            .hold("/api/v1/nodes/m", json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "m"}}));
        let result = server.kubectl(&["drain", "n", "m", "--ignore-daemonsets"]).await;
        let left = result.err.rsplit("to be drained:\n").next().unwrap_or_default();
        let lines: Vec<&str> = left.lines().collect();
        assert_eq!((result.code, &lines[..2]), (1, &[" n", " m"][..]), "{result:?}");
        assert_eq!((lines.len(), lines[2]), (4, lines[3]), "the same reason each: {result:?}");
        assert!(lines[2].starts_with("cannot delete ") && lines[2].ends_with(": x/p"), "{result:?}");
    }

    /// The pod of this test has been ending for an hour.
    #[tokio::test]
    async fn a_pod_that_is_not_waited_for_is_not_called_gone() {
        let server = server().await;
        let hour = clock::now() - jiff::SignedDuration::from_secs(3600);
        let meta = json!({"name": "p", "namespace": "x"});
        server.hold("/api/v1/pods/p", json!({"metadata": meta, "status": {"phase": "Failed"}}));
        let mut ending = json!({"metadata": meta});
        ending["metadata"]["deletionTimestamp"] = json!(hour.to_string());
        ending["metadata"]["uid"] = server.object("/api/v1/pods/p").unwrap()["metadata"]["uid"].take();
        server.hold("/api/v1/namespaces/x/pods/p", ending);
        let result = server.kubectl(&["drain", "n", "--skip-wait-for-delete-timeout=60"]).await;
        assert!(result.code == 0 && result.out.contains("older than 60 seconds, skipping\n"), "{result:?}");
        assert!(!result.out.contains("pod/p evicted"), "{result:?}");
    }

    #[tokio::test]
    async fn a_pod_of_a_daemon_set_stays() {
        let server = server().await;
        server.hold("/apis/apps/v1/namespaces/x/daemonsets/d", json!({"metadata": {"name": "d"}}));
        let result = server.kubectl(&["drain", "n", "--ignore-daemonsets", "--force"]).await;
        assert!(
            result.code == 0 && result.err.contains("ignoring DaemonSet-managed Pods: x/p"),
            "{result:?}"
        );
        assert!(server.requests().iter().all(|a| !a.path.ends_with("/eviction")));
        let mut of_others = server.object("/api/v1/pods/p").unwrap();
        of_others["metadata"]["ownerReferences"][0]["apiVersion"] = "apps.kruise.io/v1alpha1".into();
        server.hold("/api/v1/pods/p", of_others);
        let result = server.kubectl(&["drain", "n"]).await;
        assert!(result.code == 0 && result.out.contains("pod/p evicted"), "{result:?}");
    }
}
