//! cluster-info dump: everything that a person who cannot reach the cluster needs to find a fault.

use super::common::pod_running_timeout;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::print::formats::{self, Format};
use crate::wire::paths;
use api::value;
use http::Method;
use serde_json::{Value, json};

/// File name, kind of the list, and where it is listed.
const LISTS: [(&str, &str, &str); 7] = [
    ("events", "EventList", "api/v1"),
    ("replication-controllers", "ReplicationControllerList", "api/v1"),
    ("services", "ServiceList", "api/v1"),
    ("daemonsets", "DaemonSetList", "apis/apps/v1"),
    ("deployments", "DeploymentList", "apis/apps/v1"),
    ("replicasets", "ReplicaSetList", "apis/apps/v1"),
    ("pods", "PodList", "api/v1"),
];

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let output = if ctx.flags.text("output").is_empty() { "json" } else { ctx.flags.text("output") };
    let Some(format) = formats::from_name(ctx, output, false)? else {
        return text(format!("unable to match a printer suitable for the output format {output:?}"));
    };
    pod_running_timeout(ctx)?; // kubectl checks it, and waits for no pod
    let extension = match output {
        "json" => ".json",
        "yaml" => ".yaml",
        _ => ".txt",
    };
    let api = ctx.api().await?;
    let nodes = api.get("/api/v1/nodes", &[]).await?;
    if format.is_name() {
        return text("list types are not supported by name printing: *v1.NodeList");
    }
    put(ctx, "nodes", extension, formatted(&format, nodes)?.as_bytes())?;
    let namespaces = match (ctx.flags.is("all-namespaces"), ctx.flags.list("namespaces")) {
        (true, _) => {
            let list = api.get("/api/v1/namespaces", &[]).await?;
            let names =
                value::list(&list, "items").iter().map(|n| value::text(n, "metadata.name").to_string());
            names.collect()
        }
        (false, named) if !named.is_empty() => named,
        (false, _) => vec!["kube-system".to_string(), ctx.namespace()?.0],
    };
    for namespace in namespaces {
        let mut pods = vec![];
        for (name, kind, root) in LISTS {
            let path = paths::within(&format!("/{root}"), &namespace, &name.replace('-', ""));
            let list = match api.get(&path, &[]).await {
                Ok(list) => list,
                // A server that does not have a kind has no objects of it.
                Err(fail) if fail.is_not_found() => {
                    json!({"kind": kind, "apiVersion": root.split_once('/').map_or("", |(_, v)| v), "metadata": {}, "items": []})
                }
                Err(fail) => return Err(fail),
            };
            if name == "pods" {
                pods = value::list(&list, "items").to_vec();
            }
            put(ctx, &format!("{namespace}/{name}"), extension, formatted(&format, list)?.as_bytes())?;
        }
        for pod in &pods {
            logs(ctx, &namespace, pod).await?;
        }
    }
    let folder = ctx.flags.text("output-directory");
    if !folder.is_empty() && folder != "-" {
        ctx.line(format!("Cluster info dumped to {folder}"));
    }
    Ok(())
}

/// Prints a list in the format. Its items have no `kind` and `apiVersion`, as in Go's typed lists.
fn formatted(format: &Format, mut list: Value) -> Result<String, Fail> {
    for item in value::list_mut(&mut list, "items") {
        value::remove(item, "kind");
        value::remove(item, "apiVersion");
    }
    format.print(&list, false)
}

/// Writes a file of the folder, in place of that of an earlier dump, or prints.
fn put(ctx: &Ctx, name: &str, extension: &str, content: &[u8]) -> Result<(), Fail> {
    let folder = ctx.flags.text("output-directory");
    if folder.is_empty() || folder == "-" {
        ctx.output.bytes(content);
        return Ok(());
    }
    let path = ctx.path(folder).join(format!("{name}{extension}"));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    Ok(std::fs::write(path, content)?)
}

async fn logs(ctx: &Ctx, namespace: &str, pod: &Value) -> Result<(), Fail> {
    let name = value::text(pod, "metadata.name");
    let path = format!("{}/{}/log", paths::within("/api/v1", namespace, "pods"), paths::segment(name));
    let mut content = vec![];
    for field in ["spec.initContainers", "spec.containers"] {
        for container in value::list(pod, field) {
            let container = value::text(container, "name");
            let query = [("container", container)];
            let answer = ctx.api().await?.bytes(Method::GET, &path, &query, "application/json, */*", None);
            let log = match answer.await {
                Ok(log) => log.to_vec(),
                Err(fail @ Fail::Api(_)) => format!("Request log error: {}\n", fail.message()).into_bytes(),
                Err(other) => return Err(other),
            };
            content.extend(between_marks(&format!("container {container} of pod {namespace}/{name}"), &log));
        }
    }
    put(ctx, &format!("{namespace}/{name}/logs"), ".txt", &content)
}

/// Puts a log between two lines with its container. The bytes of the log stay: a container need not
/// write UTF-8.
fn between_marks(whose: &str, log: &[u8]) -> Vec<u8> {
    let mark = |which: &str| format!("==== {which} logs for {whose} ====\n");
    [mark("START").as_bytes(), log, mark("END").as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;

    #[tokio::test]
    async fn managed_fields_are_shown_if_they_are_asked_for() {
        let server = Server::start().await;
        let fields = json!([{"manager": "m"}]);
        let node = json!({"metadata": {"name": "n", "managedFields": fields}});
        server.hold("/api/v1/nodes/n", node);
        for (flag, want) in [("--show-managed-fields=false", false), ("--show-managed-fields", true)] {
            let result = server.kubectl(&["cluster-info", "dump", flag]).await;
            assert_eq!((result.code, result.out.contains("managedFields")), (0, want), "{result:?}");
        }
    }

    #[test]
    fn a_log_is_copied_byte_by_byte() {
        let want = b"==== START logs for container c of pod n/p ====\n\xff\n==== END logs for container c of pod n/p ====\n";
        assert_eq!(between_marks("container c of pod n/p", b"\xff\n"), want);
    }

    #[tokio::test]
    async fn lists_have_no_names() {
        let result = Server::start().await.kubectl(&["cluster-info", "dump", "-o", "name"]).await;
        let want = "error: list types are not supported by name printing: *v1.NodeList\n";
        assert_eq!((result.code, result.out.as_str(), result.err.as_str()), (1, "", want));
    }

    #[tokio::test]
    async fn a_second_dump_replaces_the_first() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let folder = format!("--output-directory={}", dir.path().display());
        for _ in 0..2 {
            let result = server.kubectl(&["cluster-info", "dump", &folder]).await;
            assert_eq!(result.code, 0, "{result:?}");
        }
        let nodes = std::fs::read(dir.path().join("nodes.json")).unwrap();
        assert!(serde_json::from_slice::<Value>(&nodes).is_ok(), "one document");
        for (format, name) in [("-oyaml", "nodes.yaml"), ("-ojsonpath={.kind}", "nodes.txt")] {
            let result = server.kubectl(&["cluster-info", "dump", &folder, format]).await;
            assert!(result.code == 0 && dir.path().join(name).exists(), "{result:?}");
        }
    }
}
