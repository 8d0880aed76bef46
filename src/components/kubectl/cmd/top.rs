//! top: what nodes and pods use, by the metrics API.

use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::print::tab;
use crate::wire::paths;
use api::quantity::Quantity;
use api::value;
use jiff::Timestamp;
use serde_json::Value;
use std::cmp::Reverse;

const GROUP: &str = "metrics.k8s.io/v1beta1";
/// A pod younger than this may well have no metrics yet.
const PATIENCE_SECS: i64 = 120;
const UNKNOWN: &str = "<unknown>";

async fn available(ctx: &Ctx) -> Result<(), Fail> {
    if ctx.discovery().await?.group_versions.iter().any(|v| v == GROUP) {
        return Ok(());
    }
    text("Metrics API not available")
}

/// CPU and memory in use: cores and bytes, which are rounded only where they are shown.
///
/// Example: two containers with 400u of a core and 1.5 MiB each use 1m and 3Mi together.
#[derive(Clone, Copy)]
struct Use {
    cpu: Quantity,
    memory: Quantity,
}

impl Use {
    fn none() -> Use {
        Use { cpu: Quantity::of_units(0), memory: Quantity::of_units(0) }
    }
    fn of(usage: &Value) -> Use {
        let none = Use::none();
        let read = |what: &str| Quantity::parse(value::text(usage, what));
        Use { cpu: read("cpu").unwrap_or(none.cpu), memory: read("memory").unwrap_or(none.memory) }
    }
    fn plus(self, other: Use) -> Use {
        Use { cpu: self.cpu + other.cpu, memory: self.memory + other.memory }
    }
    /// Thousandths of a core, rounded up.
    fn milli(self) -> i64 {
        self.cpu.milli()
    }
    /// MiB, rounded down.
    fn mebibytes(self) -> i64 {
        self.memory.units() >> 20
    }
    fn cells(self) -> String {
        format!("{}m\t{}Mi\t", self.milli(), self.mebibytes())
    }
}

/// Returns a share in percent, computed with floating-point numbers and cut, as in kubectl: 29 of
/// 100 are 28.999999999999996, and so 28.
fn percent(used: Quantity, whole: Quantity) -> i64 {
    match whole.is_zero() {
        true => 0,
        false => (used.milli() as f64 / whole.milli() as f64 * 100.0) as i64,
    }
}

/// The largest first, if one of the two was named; else as they are, which is by name.
fn sort<T>(ctx: &Ctx, all: &mut [T], of: impl Fn(&T) -> Use) {
    match ctx.flags.text("sort-by") {
        "cpu" => all.sort_by_key(|t| Reverse(of(t).milli())),
        "memory" => all.sort_by_key(|t| Reverse(of(t).memory.units())),
        _ => {}
    }
}

fn known_order(ctx: &Ctx) -> Result<(), Fail> {
    match ctx.flags.text("sort-by") {
        "" | "cpu" | "memory" => Ok(()),
        _ => text("--sort-by accepts only cpu or memory"),
    }
}

/// Prints rows whose cells all end with a tab.
fn show(ctx: &Ctx, header: &str, rows: &[String]) {
    let mut out = if ctx.flags.is("no-headers") { String::new() } else { format!("{header}\t\n") };
    rows.iter().for_each(|row| out.push_str(&format!("{row}\n")));
    ctx.out(tab::align(&out, 6, 3));
}

pub(crate) async fn node(ctx: &Ctx) -> Result<(), Fail> {
    known_order(ctx)?;
    available(ctx).await?;
    let selector = ctx.flags.text("selector");
    let api = ctx.api().await?;
    let base = format!("/apis/{GROUP}/nodes");
    let (items, nodes) = match ctx.args.as_slice() {
        [] => {
            let query = [("labelSelector", selector)];
            let (items, nodes) = (api.get(&base, &query).await?, api.get("/api/v1/nodes", &query).await?);
            (value::list(&items, "items").to_vec(), value::list(&nodes, "items").to_vec())
        }
        [_] if !selector.is_empty() => return text("only one of NAME or --selector can be provided"),
        [name] => (
            vec![api.get(&format!("{base}/{}", paths::segment(name)), &[]).await?],
            vec![api.get(&format!("/api/v1/nodes/{}", paths::segment(name)), &[]).await?],
        ),
        _ => return ctx.usage("node [NAME | -l label]"),
    };
    if items.is_empty() {
        return text("metrics not available yet");
    }
    let name = |o: &Value| value::text(o, "metadata.name").to_string();
    let whole = if ctx.flags.is("show-capacity") { "status.capacity" } else { "status.allocatable" };
    let mut all: Vec<(Use, String)> =
        items.iter().map(|item| (Use::of(value::at(item, "usage")), name(item))).collect();
    all.sort_by(|(_, a), (_, b)| a.cmp(b));
    sort(ctx, &mut all, |(used, _)| *used);
    let mut rows = vec![];
    for (used, node) in &all {
        let found = nodes.iter().find(|n| name(n) == *node);
        let of = Use::of(value::at(found.unwrap_or(&Value::Null), whole));
        let (cpu, memory) = (percent(used.cpu, of.cpu), percent(used.memory, of.memory));
        rows.push(format!("{node}\t{}m\t{cpu}%\t{}Mi\t{memory}%\t", used.milli(), used.mebibytes()));
    }
    let silent = nodes.iter().map(name).filter(|n| !all.iter().any(|(_, known)| known == n));
    rows.extend(silent.map(|n| format!("{n}\t{UNKNOWN}\t{UNKNOWN}\t{UNKNOWN}\t{UNKNOWN}\t")));
    show(ctx, "NAME\tCPU(cores)\tCPU(%)\tMEMORY(bytes)\tMEMORY(%)", &rows);
    Ok(())
}

pub(crate) async fn pod(ctx: &Ctx) -> Result<(), Fail> {
    known_order(ctx)?;
    available(ctx).await?;
    let (namespace, _) = ctx.namespace()?;
    let all = ctx.flags.is("all-namespaces");
    let within =
        |root: &str| if all { format!("{root}/pods") } else { paths::within(root, &namespace, "pods") };
    let (base, stored) = (within(&format!("/apis/{GROUP}")), within("/api/v1"));
    let query =
        [("labelSelector", ctx.flags.text("selector")), ("fieldSelector", ctx.flags.text("field-selector"))];
    let api = ctx.api().await?;
    let items = match ctx.args.as_slice() {
        [] => value::list(&api.get(&base, &query).await?, "items").to_vec(),
        [_] if !query[0].1.is_empty() || !query[1].1.is_empty() => {
            return text("only one of NAME or selector can be provided");
        }
        [name] => vec![api.get(&format!("{base}/{}", paths::segment(name)), &[]).await?],
        _ => return ctx.usage("pod [NAME | -l label]"),
    };
    if items.is_empty() {
        let pods = api.get(&stored, &query).await?;
        return nothing(ctx, value::list(&pods, "items"), (!all).then_some(namespace.as_str()));
    }
    let by_container = ctx.flags.is("containers");
    let used = |c: &Value| Use::of(value::at(c, "usage"));
    let total = |item: &Value| value::list(item, "containers").iter().map(used).fold(Use::none(), Use::plus);
    let mut pods: Vec<(Use, &Value)> = items.iter().map(|item| (total(item), item)).collect();
    let place = |pod: &Value| {
        let part = |path: &str| value::text(pod, path).to_string();
        (part("metadata.namespace"), part("metadata.name"))
    };
    pods.sort_by_cached_key(|(_, pod)| place(pod));
    sort(ctx, &mut pods, |(used, _)| *used);
    let mut rows = vec![];
    for (sum, item) in &pods {
        let head = if all { format!("{}\t", value::text(item, "metadata.namespace")) } else { String::new() };
        let name = value::text(item, "metadata.name");
        if !by_container {
            rows.push(format!("{head}{name}\t{}", sum.cells()));
            continue;
        }
        let mut containers: Vec<(Use, &str)> =
            value::list(item, "containers").iter().map(|c| (used(c), value::text(c, "name"))).collect();
        containers.sort_by_key(|(_, name)| *name);
        sort(ctx, &mut containers, |(used, _)| *used);
        rows.extend(containers.iter().map(|(used, c)| format!("{head}{name}\t{c}\t{}", used.cells())));
    }
    if ctx.flags.is("sum") {
        let sum = pods.iter().map(|(used, _)| *used).fold(Use::none(), Use::plus);
        let before = "\t".repeat(1 + usize::from(all) + usize::from(by_container));
        rows.push(format!("{before}________\t________\t"));
        rows.push(format!("{before}{}", sum.cells()));
    }
    let namespace = if all { "NAMESPACE\t" } else { "" };
    let pod = if by_container { "POD\tNAME" } else { "NAME" };
    show(ctx, &format!("{namespace}{pod}\tCPU(cores)\tMEMORY(bytes)"), &rows);
    Ok(())
}

/// Reports that no pod has metrics. That is no failure where there are no pods. A pod that is older
/// than [`PATIENCE_SECS`] is named: it should have some.
fn nothing(ctx: &Ctx, pods: &[Value], namespace: Option<&str>) -> Result<(), Fail> {
    if pods.is_empty() {
        ctx.note(match namespace {
            Some(namespace) => format!("No resources found in {namespace} namespace."),
            None => "No resources found".to_string(),
        });
        return Ok(());
    }
    let age = |pod: &Value| {
        let created = value::text(pod, "metadata.creationTimestamp").parse::<Timestamp>();
        created.map_or(0, |at| clock::now().duration_since(at).as_secs())
    };
    if let Some(pod) = pods.iter().find(|pod| age(pod) > PATIENCE_SECS) {
        let (namespace, name) = (value::text(pod, "metadata.namespace"), value::text(pod, "metadata.name"));
        let age = api::duration::human(age(pod));
        return text(format!("Metrics not available for pod {namespace}/{name}, age: {age}"));
    }
    text("metrics not available yet")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;
    use serde_json::json;

    /// A server that has the metrics API.
    async fn with_metrics() -> Server {
        Server::start_with(|request| {
            let pods = json!({"resource": "pods", "responseKind": {"kind": "PodMetrics"}, "scope": "Namespaced",
                "verbs": ["get", "list"], "singularResource": "pod", "shortNames": []});
            let versions = json!([{"version": "v1beta1", "resources": [pods]}]);
            let groups = json!([{"metadata": {"name": "metrics.k8s.io"}, "versions": versions}]);
            (request.path == "/apis")
                .then(|| (200, json!({"kind": "APIGroupDiscoveryList", "items": groups})))
        })
        .await
    }

    #[tokio::test]
    async fn what_containers_use_is_added_up_before_it_is_rounded() {
        let server = with_metrics().await;
        let container = |name: &str| json!({"name": name, "usage": {"cpu": "400u", "memory": "1536Ki"}});
        let pod = json!({"metadata": {"name": "p"}, "containers": [container("a"), container("b")]});
        server.hold("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/p", pod);
        let result = server.kubectl(&["top", "pods", "--no-headers"]).await;
        let words: Vec<&str> = result.out.split_whitespace().collect();
        assert_eq!((result.code, words.as_slice()), (0, &["p", "1m", "3Mi"][..]), "{result:?}");
    }

    #[tokio::test]
    async fn pods_are_sorted_by_name_unless_a_flag_says_otherwise() {
        let server = Server::start_with(|request| match request.path.as_str() {
            "/apis" => {
                let pods = json!({"resource": "pods", "responseKind": {"kind": "PodMetrics"},
                    "scope": "Namespaced", "verbs": ["get", "list"]});
                let versions = json!([{"version": "v1beta1", "resources": [pods]}]);
                let groups = json!([{"metadata": {"name": "metrics.k8s.io"}, "versions": versions}]);
                Some((200, json!({"kind": "APIGroupDiscoveryList", "items": groups})))
            }
            "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods" => {
                let pod = |name: &str, cpu: &str| {
                    json!({"metadata": {"name": name}, "containers": [{"name": "c", "usage": {"cpu": cpu}}]})
                };
                Some((200, json!({"items": [pod("b", "1m"), pod("a", "2m"), pod("c", "3m")]})))
            }
            _ => None,
        })
        .await;
        for (flag, want) in [("--sort-by=", "abc"), ("--sort-by=cpu", "cab")] {
            let result = server.kubectl(&["top", "pods", "--no-headers", flag]).await;
            let names: String = result.out.lines().filter_map(|line| line.split(' ').next()).collect();
            assert_eq!((result.code, names.as_str()), (0, want), "{result:?}");
        }
        let result = server.kubectl(&["top", "nodes", "n", "-l", "a=b"]).await;
        assert_eq!(result.err, "error: only one of NAME or --selector can be provided\n");
    }

    #[tokio::test]
    async fn one_pod_that_should_have_metrics_is_named() {
        let server = with_metrics().await;
        let now = clock::now().to_string();
        for (name, created) in [("a-young", now.as_str()), ("b-old", "2020-01-01T00:00:00Z")] {
            let metadata = json!({"name": name, "namespace": "default", "creationTimestamp": created});
            server.hold(&format!("/api/v1/namespaces/default/pods/{name}"), json!({"metadata": metadata}));
        }
        let result = server.kubectl(&["top", "pods"]).await;
        assert!(result.err.contains("Metrics not available for pod default/b-old, age:"), "{result:?}");
    }

    #[test]
    fn a_share_is_computed_as_kubectl_does() {
        let percent = |used, whole| super::percent(Quantity::of_milli(used), Quantity::of_milli(whole));
        assert_eq!((percent(29, 100), percent(50, 100), percent(1, 0)), (28, 50, 0));
    }
}
