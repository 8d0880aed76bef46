//! drain: cordons nodes and evicts their pods.

use super::common::DryRun;
use super::nodes::{mark, nodes};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::wire::paths;
use api::gostr::{Nanos, quote};
use api::value;
use clock::Instant;
use serde_json::{Value, json};
use std::time::Duration;

/// A pod whose disruption budget is used up is tried again after this time.
const AGAIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_secs(1);

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    let infos = nodes(ctx).await?;
    mark(ctx, &infos, true).await?;
    let mut failed: Vec<(String, Fail)> = vec![];
    for info in &infos {
        match drain(ctx, &info.name, dry_run).await {
            Ok(()) => ctx.line(format!("node/{} {}", info.name, dry_run.told("drained"))),
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
    for (name, fail) in &failed {
        ctx.note(format!(" {name}"));
        match fail {
            Fail::Many(all) => all.iter().for_each(|fail| ctx.note(fail.message())),
            one => ctx.note(one.message()),
        }
    }
    Err(Fail::Exit(1))
}

fn named(pod: &Value) -> String {
    format!("{}/{}", value::text(pod, "metadata.namespace"), value::text(pod, "metadata.name"))
}

/// What is to be done with a pod of the node.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Evict,
    Skip,
    /// Goes although it will not come back, with a warning.
    Force(&'static str),
    /// Stays, with a warning.
    Leave(&'static str),
    Refuse(&'static str),
}

const DAEMON: &str = "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)";
const LOCAL: &str = "cannot delete Pods with local storage (use --delete-emptydir-data to override)";
const ALONE: &str = "cannot delete cannot delete Pods that declare no controller (use --force to override)";
const IGNORED: &str = "ignoring DaemonSet-managed Pods";
const UNMANAGED: &str = "deleting Pods that declare no controller";

fn has_ended(pod: &Value) -> bool {
    matches!(value::text(pod, "status.phase"), "Succeeded" | "Failed")
}

fn owner(pod: &Value) -> Option<&Value> {
    value::list(pod, "metadata.ownerReferences").iter().find(|o| value::flag(o, "controller"))
}

/// The path of the DaemonSet that would bring a running pod back.
fn daemon_set(pod: &Value) -> Option<String> {
    let owner = owner(pod).filter(|o| value::text(o, "kind") == "DaemonSet" && !has_ended(pod))?;
    let all = paths::within("/apis/apps/v1", value::text(pod, "metadata.namespace"), "daemonsets");
    Some(format!("{all}/{}", paths::segment(value::text(owner, "name"))))
}

/// Records whether a pod has been ending for longer than `--skip-wait-for-delete-timeout`.
fn is_skipped(ctx: &Ctx, pod: &Value) -> bool {
    let limit = ctx.flags.int("skip-wait-for-delete-timeout");
    limit > 0 && terminating_for(pod).is_some_and(|secs| secs > limit)
}

/// `orphaned`: the pod's DaemonSet is gone, and `--force` lets the pod go too.
fn judge(ctx: &Ctx, pod: &Value, orphaned: bool) -> Verdict {
    if is_skipped(ctx, pod) {
        return Verdict::Skip;
    }
    let annotations = value::at(pod, "metadata.annotations");
    if daemon_set(pod).is_some() && !orphaned {
        return match ctx.flags.is("ignore-daemonsets") {
            true => Verdict::Leave(IGNORED),
            false => Verdict::Refuse(DAEMON),
        };
    }
    if !annotations["kubernetes.io/config.mirror"].is_null() {
        return Verdict::Skip;
    }
    if has_ended(pod) {
        return Verdict::Evict;
    }
    let local = value::list(pod, "spec.volumes").iter().any(|v| v.get("emptyDir").is_some());
    if local && !ctx.flags.is("delete-emptydir-data") {
        return Verdict::Refuse(LOCAL);
    }
    match (owner(pod), ctx.flags.is("force")) {
        (Some(_), _) => Verdict::Evict,
        (None, true) => Verdict::Force(UNMANAGED),
        (None, false) => Verdict::Refuse(ALONE),
    }
}

/// Seconds since a pod was told to end.
fn terminating_for(pod: &Value) -> Option<i64> {
    let since: clock::Timestamp = value::text(pod, "metadata.deletionTimestamp").parse().ok()?;
    Some(clock::now().duration_since(since).as_secs())
}

/// The pods of a node that have to go, and what is to be said about the others: `why:
/// namespace/pod, …` each.
struct Plan {
    evict: Vec<Value>,
    warnings: Vec<String>,
    refusals: Vec<String>,
}

async fn plan(ctx: &Ctx, node: &str) -> Result<Plan, Fail> {
    let selector = format!("spec.nodeName={node}");
    let mut query = vec![("fieldSelector", selector.as_str())];
    if !ctx.flags.text("pod-selector").is_empty() {
        query.push(("labelSelector", ctx.flags.text("pod-selector")));
    }
    let list = crate::builder::whole(ctx, "/api/v1/pods", &query).await?;
    let mut told: Vec<(Verdict, Vec<String>)> = vec![];
    let mut evict = vec![];
    let (mut warnings, mut refusals) = (vec![], vec![]);
    for pod in value::list(&list, "items") {
        let mut orphaned = false;
        if let Some(set) = daemon_set(pod).filter(|_| !is_skipped(ctx, pod)) {
            match ctx.api().await?.get(&set, &[]).await {
                Ok(_) => {}
                Err(fail) if fail.is_not_found() && ctx.flags.is("force") => orphaned = true,
                Err(fail) => {
                    refusals.push(format!("cannot delete {}: {}", fail.message(), named(pod)));
                    continue;
                }
            }
        }
        let verdict = judge(ctx, pod, orphaned);
        if matches!(verdict, Verdict::Evict | Verdict::Force(_)) {
            evict.push(pod.clone());
        }
        match told.iter_mut().find(|(v, _)| *v == verdict) {
            Some((_, pods)) => pods.push(named(pod)),
            None => told.push((verdict, vec![named(pod)])),
        }
    }
    for (verdict, pods) in told {
        match verdict {
            Verdict::Force(why) | Verdict::Leave(why) => warnings.push(format!("{why}: {}", pods.join(", "))),
            Verdict::Refuse(why) => refusals.push(format!("{why}: {}", pods.join(", "))),
            Verdict::Evict | Verdict::Skip => {}
        }
    }
    Ok(Plan { evict, warnings, refusals })
}

async fn drain(ctx: &Ctx, node: &str, dry_run: DryRun) -> Result<(), Fail> {
    let Plan { evict, warnings, refusals } = plan(ctx, node).await?;
    match refusals.as_slice() {
        [] => {}
        [one] => return text(one.clone()),
        many => return Err(Fail::Many(many.iter().cloned().map(Fail::Text).collect())),
    }
    if !warnings.is_empty() {
        ctx.note(format!("Warning: {}", warnings.join("; ")));
    }
    if dry_run == DryRun::Client {
        evict.iter().for_each(|pod| ctx.line(format!("evicting pod {} (dry run)", named(pod))));
        return Ok(());
    }
    let limit = Limit { all: ctx.flags.duration("timeout"), since: Instant::now() };
    let work = futures::future::join_all(evict.iter().map(|pod| remove(ctx, pod, dry_run, &limit)));
    let failures: Vec<Fail> = work.await.into_iter().filter_map(Result::err).collect();
    if let Err(fail) = Fail::join(failures) {
        let left = plan(ctx, node).await?.evict;
        if !left.is_empty() {
            let why = fail.message();
            ctx.note(format!("There are pending pods in node {} when an error occurred: {why}", quote(node)));
            left.iter().for_each(|pod| ctx.note(format!("pod/{}", value::text(pod, "metadata.name"))));
        }
        return Err(fail);
    }
    Ok(())
}

/// How long the whole drain may take; zero for as long as it likes.
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

/// Evicts or deletes one pod, and waits until it is gone.
async fn remove(ctx: &Ctx, pod: &Value, dry_run: DryRun, limit: &Limit) -> Result<(), Fail> {
    let (namespace, name) = (value::text(pod, "metadata.namespace"), value::text(pod, "metadata.name"));
    let path = format!("{}/{}", paths::within("/api/v1", namespace, "pods"), paths::segment(name));
    let evicts = !ctx.flags.is("disable-eviction");
    let mut options = json!({});
    if ctx.flags.int("grace-period") >= 0 {
        value::put(&mut options, "gracePeriodSeconds", ctx.flags.int("grace-period"));
    }
    if dry_run == DryRun::Server {
        value::put(&mut options, "dryRun", json!(["All"]));
    }
    if evicts {
        if !evict(ctx, pod, &path, options, limit).await? {
            return Ok(());
        }
    } else {
        match ctx.api().await?.delete(&path, &[], &options).await {
            Err(fail) if !fail.is_not_found() => return Err(fail),
            _ => {}
        }
    }
    if dry_run == DryRun::Server {
        return Ok(());
    }
    gone(ctx, pod, &path, limit).await?;
    ctx.line(format!("pod/{name} {}", if evicts { "evicted" } else { "deleted" }));
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

/// Waits until a pod is gone, or another one has its name.
async fn gone(ctx: &Ctx, pod: &Value, path: &str, limit: &Limit) -> Result<(), Fail> {
    let (namespace, name) = (value::text(pod, "metadata.namespace"), value::text(pod, "metadata.name"));
    let about = |why: String| {
        Fail::Text(format!(
            "error when waiting for pod {} in namespace {} to terminate: {why}",
            quote(name),
            quote(namespace)
        ))
    };
    let skip = ctx.flags.int("skip-wait-for-delete-timeout");
    loop {
        match ctx.api().await?.get(path, &[]).await {
            Ok(there) if value::text(&there, "metadata.uid") != value::text(pod, "metadata.uid") => {
                return Ok(());
            }
            Ok(there) => {
                if skip > 0 && terminating_for(&there).is_some_and(|secs| secs > skip) {
                    ctx.line(format!(
                        "pod {} has DeletionTimestamp older than {skip} seconds, skipping",
                        quote(name)
                    ));
                    return Ok(());
                }
            }
            Err(fail) if fail.is_not_found() => return Ok(()),
            Err(fail) => return Err(about(fail.message())),
        }
        if limit.is_over() {
            return Err(about("context deadline exceeded".into()));
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
        let server = Server::start_with(|asked| {
            let nodes = json!({"resource": "nodes", "responseKind": {"kind": "Node"}, "scope": "Cluster", "verbs": ["get"]});
            let core = json!({"metadata": {}, "versions": [{"version": "v1", "resources": [nodes]}]});
            let list = || (200, json!({"kind": "APIGroupDiscoveryList", "items": [core]}));
            (asked.path == "/api").then(list)
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
    async fn a_pod_without_its_daemon_set_goes_by_force_alone() {
        let server = server().await;
        let said = server.kubectl(&["drain", "n", "--ignore-daemonsets"]).await;
        assert!(said.code == 1 && said.err.contains("daemonsets/d not found: x/p"), "{said:?}");
        let bare = json!({"metadata": {"name": "bare", "namespace": "x"}, "status": {"phase": "Running"}});
        server.hold("/api/v1/pods/bare", bare);
        let said = server.kubectl(&["drain", "n", "--ignore-daemonsets"]).await;
        let pending = said.err.rsplit("to be drained:\n").next().unwrap_or_default();
        assert_eq!(pending.lines().count(), 3, "the node and each reason: {said:?}");
        let both = server.kubectl(&["drain", "n", "-l", "a=b"]).await;
        assert!(both.err.ends_with("See 'kubectl drain -h' for help and examples\n"), "{both:?}");
        let said = server.kubectl(&["drain", "n", "--ignore-daemonsets", "--force"]).await;
        assert!(said.code == 0 && said.out.contains("pod/p evicted"), "{said:?}");
    }

    #[tokio::test]
    async fn without_evictions_a_pod_is_deleted_once() {
        let server = Server::start_with(|asked| {
            let nodes = json!({"resource": "nodes", "responseKind": {"kind": "Node"}, "scope": "Cluster", "verbs": ["get"]});
            let core = json!({"metadata": {}, "versions": [{"version": "v1", "resources": [nodes]}]});
            match (asked.method.as_str(), asked.path.as_str()) {
                ("GET", "/api") => Some((200, json!({"kind": "APIGroupDiscoveryList", "items": [core]}))),
                ("DELETE", _) => Some(refusal(429, "TooManyRequests", "later")),
                _ => None,
            }
        })
        .await;
        server
            .hold("/api/v1/nodes/n", json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"}}));
        let pod = json!({"metadata": {"name": "p", "namespace": "x"}, "status": {"phase": "Running"}});
        server.hold("/api/v1/pods/p", pod);
        let said = server.kubectl(&["drain", "n", "--force", "--disable-eviction"]).await;
        assert!(said.code == 1 && said.err.contains("due to error: later, continuing command"), "{said:?}");
        assert!(!said.out.contains("deleting pod"), "{said:?}");
        let deletions = server.asked().iter().filter(|a| a.method == "DELETE").count();
        assert_eq!(deletions, 1, "only an eviction waits for its budget");
    }

    #[tokio::test]
    async fn a_pod_of_a_daemon_set_stays() {
        let server = server().await;
        server.hold("/apis/apps/v1/namespaces/x/daemonsets/d", json!({"metadata": {"name": "d"}}));
        let said = server.kubectl(&["drain", "n", "--ignore-daemonsets", "--force"]).await;
        assert!(said.code == 0 && said.err.contains("ignoring DaemonSet-managed Pods: x/p"), "{said:?}");
        assert!(server.asked().iter().all(|a| !a.path.ends_with("/eviction")));
    }
}
