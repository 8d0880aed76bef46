//! expose: a service in front of a pod, service or workload.

use super::common::{DryRun, Printer, annotate_last_applied, enforced, label_pairs, objects_as_given};
use super::record::record;
use super::run::apply_overrides;
use crate::builder;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::{Info, Options};
use crate::scheme;
use crate::wire::paths;
use api::gostr::quote;
use api::value;
use serde_json::{Map, Value, json};

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    let printer = Printer::of(ctx, dry_run)?;
    let selection =
        builder::select(ctx, &ctx.args, Options { other_selector: true, ..Options::default() }).await?;
    let (infos, mut failures) = objects_as_given(ctx, selection).await?;
    for info in scheme::known(infos, &mut failures) {
        match create_service(ctx, &info, dry_run).await {
            Ok(service) => printer.print(ctx, &service, "exposed", dry_run != DryRun::Client)?,
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => failures.push(fail),
            Err(other) => return Err(other),
        }
    }
    Fail::join(failures)
}

/// Creates the Service of one object, or with `--dry-run=client` computes it alone.
async fn create_service(ctx: &Ctx, info: &Info, dry_run: DryRun) -> Result<Value, Fail> {
    let mut service = service_of(ctx, info)?;
    apply_overrides(ctx, &mut service, "Service")?;
    record(ctx, &mut service);
    if dry_run == DryRun::Client {
        return Ok(service);
    }
    if ctx.flags.is("save-config") {
        annotate_last_applied(&mut service, false);
    }
    let mut query = vec![("fieldManager", ctx.flags.text("field-manager"))];
    dry_run.query(&mut query);
    // As in kubectl the Service is in the command's namespace, also if a file's object is in
    // another one.
    let path = paths::within("/api/v1", &ctx.namespace()?.0, "services");
    ctx.api().await?.post(&path, &query, &service).await
}

fn service_of(ctx: &Ctx, info: &Info) -> Result<Value, Fail> {
    let kind = info.resource.kind_group();
    if !matches!(
        kind.as_str(),
        "pod" | "service" | "replicationcontroller" | "deployment.apps" | "replicaset.apps"
    ) {
        return text(format!(
            "cannot expose a {}",
            if info.resource.group.is_empty() {
                info.resource.kind.clone()
            } else {
                format!("{}.{}", info.resource.kind, info.resource.group)
            }
        ));
    }
    let selector = selector(ctx, info)?;
    let name = match ctx.flags.text("name") {
        "" => info.name.chars().take(63).collect(),
        name => name.to_string(),
    };
    let labels = match ctx.flags.text("labels") {
        "" => value::at(&info.object, "metadata.labels").clone(),
        given => labels_of(given)?.into(),
    };
    let ports = ports(ctx, info)?;
    let mut spec = Map::new();
    if !ports.is_empty() {
        spec.insert("ports".into(), ports.into());
    }
    spec.insert("selector".into(), selector);
    let cluster_ip = ctx.flags.text("cluster-ip");
    if !cluster_ip.is_empty() {
        spec.insert("clusterIP".into(), cluster_ip.into());
    }
    let kind = ctx.flags.text("type");
    if !kind.is_empty() {
        spec.insert("type".into(), kind.into());
    }
    let external = ctx.flags.text("external-ip");
    if !external.is_empty() {
        spec.insert("externalIPs".into(), json!([external]));
    }
    let affinity = ctx.flags.text("session-affinity");
    if !affinity.is_empty() {
        if !matches!(affinity, "None" | "ClientIP") {
            return text(format!("unknown session affinity: {affinity}"));
        }
        spec.insert("sessionAffinity".into(), affinity.into());
    }
    if !ctx.flags.text("load-balancer-ip").is_empty() && ctx.flags.text("type") == "LoadBalancer" {
        spec.insert("loadBalancerIP".into(), ctx.flags.text("load-balancer-ip").into());
    }
    let mut meta = Map::new();
    meta.insert("name".into(), name.into());
    if let Some(namespace) = enforced(ctx)? {
        meta.insert("namespace".into(), namespace.into());
    }
    if labels.as_object().is_some_and(|l| !l.is_empty()) {
        meta.insert("labels".into(), labels);
    }
    Ok(
        json!({"kind": "Service", "apiVersion": "v1", "metadata": meta, "spec": spec, "status": {"loadBalancer": {}}}),
    )
}

fn labels_of(given: &str) -> Result<Map<String, Value>, Fail> {
    Ok(label_pairs(given)?.into_iter().map(|(key, text_of)| (key.to_string(), text_of.into())).collect())
}

fn selector(ctx: &Ctx, info: &Info) -> Result<Value, Fail> {
    let given = ctx.flags.text("selector");
    if !given.is_empty() {
        return Ok(labels_of(given)?.into());
    }
    let object = &info.object;
    let expressions = value::list(object, "spec.selector.matchExpressions");
    let (found, missing) = match info.resource.plural.as_str() {
        "pods" => {
            (value::at(object, "metadata.labels"), "the pod has no labels and cannot be exposed".to_string())
        }
        "services" => (value::at(object, "spec.selector"), "the service has no pod selector set".to_string()),
        "replicationcontrollers" => (value::at(object, "spec.selector"), String::new()),
        _ => {
            let kind = info.resource.kind.to_lowercase();
            let labels = value::at(object, "spec.selector.matchLabels");
            (labels, format!("invalid {kind}: no selectors, therefore cannot be exposed"))
        }
    };
    let found = found.as_object().filter(|labels| !labels.is_empty());
    let why = match found {
        // A Service selects by labels alone.
        Some(_) if !expressions.is_empty() => format!(
            "couldn't convert expressions - \"[{}]\" to map-based selector format",
            expressions.iter().map(expression).collect::<Vec<String>>().join(" ")
        ),
        Some(labels) => return Ok(labels.clone().into()),
        None if missing.is_empty() => return text("selector must be specified"),
        None => missing,
    };
    text(format!("couldn't retrieve selectors via --selector flag or introspection: {why}"))
}

/// A requirement of a selector, as Go prints it.
fn expression(of: &Value) -> String {
    let values: Vec<&str> = value::list(of, "values").iter().filter_map(Value::as_str).collect();
    let part = |key: &str| value::text(of, key);
    format!("{{Key:{} Operator:{} Values:[{}]}}", part("key"), part("operator"), values.join(" "))
}

fn ports(ctx: &Ctx, info: &Info) -> Result<Vec<Value>, Fail> {
    let object = &info.object;
    // Port and protocol of each port of the object.
    let known: Vec<(String, String)> = match info.resource.plural.as_str() {
        "services" => value::list(object, "spec.ports").iter().map(|p| port_of(p, "port")).collect(),
        plural => {
            let pod = if plural == "pods" { "spec.containers" } else { "spec.template.spec.containers" };
            let containers = value::list(object, pod).iter();
            containers.flat_map(|c| value::list(c, "ports")).map(|p| port_of(p, "containerPort")).collect()
        }
    };
    let given = ctx.flags.text("port");
    let wanted: Vec<String> = match given {
        // A headless service needs none: clients find the pods by their names.
        "" if known.is_empty() && ctx.flags.text("cluster-ip") == "None" => vec![],
        "" if known.is_empty() => return text("couldn't find port via --port flag or introspection"),
        "" => {
            let mut each: Vec<String> = vec![];
            for (port, _) in &known {
                if !each.contains(port) {
                    each.push(port.clone());
                }
            }
            each
        }
        given => given.split(',').map(String::from).collect(),
    };
    let mut found = vec![];
    for (i, port) in wanted.iter().enumerate() {
        let number: i64 = port
            .parse()
            .map_err(|_| Fail::Text(format!("strconv.Atoi: parsing {}: invalid syntax", quote(port))))?;
        let target = match ctx.flags.text("target-port") {
            "" => number.into(),
            given => given.parse::<i64>().map_or_else(|_| Value::from(given), Value::from),
        };
        let mut add = |name: Option<String>, protocol: &str| {
            let mut entry = Map::new();
            entry.extend(name.map(|n| ("name".to_string(), Value::from(n))));
            entry.insert("protocol".into(), protocol.into());
            entry.insert("port".into(), number.into());
            entry.insert("targetPort".into(), target.clone());
            found.push(Value::Object(entry));
        };
        let name = (wanted.len() > 1).then(|| format!("port-{}", i + 1));
        let protocols: Vec<&str> =
            known.iter().filter(|(p, _)| p == port).map(|(_, proto)| proto.as_str()).collect();
        match (ctx.flags.text("protocol"), protocols.as_slice()) {
            ("", []) => add(name, "TCP"),
            ("", [one]) => add(name, one),
            ("", several) => {
                several.iter().for_each(|p| add(Some(format!("port-{}-{}", i + 1, p.to_lowercase())), p));
            }
            (given, _) => add(name, given),
        }
    }
    Ok(found)
}

fn port_of(port: &Value, key: &str) -> (String, String) {
    let protocol = match value::text(port, "protocol") {
        "" => "TCP",
        given => given,
    };
    (value::int(port, key).unwrap_or(0).to_string(), protocol.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;

    #[tokio::test]
    async fn a_headless_service_needs_no_port() {
        let server = Server::start().await;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}});
        server.hold("/api/v1/namespaces/default/pods/p", pod);
        let expose = ["expose", "pod", "p", "--dry-run=client", "-o", "json"];
        let result = server.kubectl(&expose).await;
        assert!(result.code == 1 && result.err.contains("couldn't find port"), "{result:?}");
        for (kind, there) in [("NodePort", false), ("LoadBalancer", true)] {
            let kind = format!("--type={kind}");
            let flags = ["--port=80", "--load-balancer-ip=1.2.3.4", kind.as_str()];
            let result = server.kubectl(&[&expose[..], &flags[..]].concat()).await;
            assert_eq!(result.out.contains("1.2.3.4"), there, "{result:?}");
        }
        let result = server.kubectl(&[&expose[..], &["--cluster-ip=None"][..]].concat()).await;
        let made: Value = serde_json::from_str(&result.out).unwrap_or_default();
        assert_eq!(
            (&made["spec"]["clusterIP"], &made["spec"]["ports"]),
            (&json!("None"), &Value::Null),
            "{result:?}"
        );
    }

    #[tokio::test]
    async fn a_selector_that_is_no_map_of_labels_is_refused() {
        let server = Server::start().await;
        let expression = json!({"key": "tier", "operator": "In", "values": ["a", "b"]});
        for (name, selector) in [
            ("mixed", json!({"matchLabels": {"app": "x"}, "matchExpressions": [expression]})),
            ("none", json!({"matchExpressions": [expression]})),
        ] {
            let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": name, "namespace": "default"}, "spec": {"selector": selector}});
            server.hold(&format!("/apis/apps/v1/namespaces/default/deployments/{name}"), deployment);
        }
        let refused = "error: couldn't retrieve selectors via --selector flag or introspection:";
        for (words, want) in [
            (
                ["mixed", ""],
                format!(
                    "{refused} couldn't convert expressions - \"[{{Key:tier Operator:In Values:[a b]}}]\" to map-based selector format\n"
                ),
            ),
            (
                ["none", ""],
                format!("{refused} invalid deployment: no selectors, therefore cannot be exposed\n"),
            ),
            (["none", "a=b=c"], "error: unexpected label spec: a=b=c\n".into()),
            (["none", "=c"], "error: unexpected empty label key\n".into()),
        ] {
            let selector = format!("--selector={}", words[1]);
            let line = ["expose", "deploy", words[0], "--port=80", "--dry-run=client", &selector];
            let result = server.kubectl(&line).await;
            assert_eq!((result.code, result.err), (1, want));
        }
    }

    #[tokio::test]
    async fn an_object_that_cannot_be_exposed_keeps_no_other_from_it() {
        let server = Server::start().await;
        for (name, labels) in [("a", json!({})), ("b", json!({"x": "y"}))] {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels},
                "spec": {"containers": [{"name": "c", "image": "i"}]}});
            server.hold(&format!("/api/v1/namespaces/default/pods/{name}"), pod);
        }
        let result = server.kubectl(&["expose", "pod", "missing", "a", "b", "--port=80"]).await;
        assert_eq!((result.code, result.out.as_str()), (1, "service/b exposed\n"), "{result:?}");
        assert!(
            result.err.contains("missing not found") && result.err.contains("the pod has no labels"),
            "{result:?}"
        );
    }

    #[tokio::test]
    async fn what_a_file_says_need_not_be_on_the_server() {
        let server = Server::start().await;
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": [
                {"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}}}});
        let show = "jsonpath={.spec.ports[0].port} {.spec.selector}";
        let line = ["expose", "-f", "-", "--dry-run=client", "-o", show];
        let result = server.kubectl_in(&line, &web.to_string(), crate::Env::default()).await;
        assert_eq!((result.code, result.out.as_str()), (0, r#"80 {"a":"b"}"#), "{result:?}");
        assert!(server.requests().is_empty(), "{:?}", server.requests());
    }

    #[tokio::test]
    async fn a_service_is_made_where_the_user_is() {
        let server = Server::start().await;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "other", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}});
        server.hold("/api/v1/namespaces/other/pods/p", pod.clone());
        let env = crate::Env::default();
        let result = server.kubectl_in(&["expose", "-f", "-", "--port=80"], &pod.to_string(), env).await;
        assert_eq!(result.code, 0, "{result:?}");
        assert!(server.object("/api/v1/namespaces/default/services/p").is_some(), "{:?}", server.requests());
        let result = server.kubectl(&["expose", "pod", "p", "-n", "other", "--port=80"]).await;
        assert_eq!(result.code, 0, "{result:?}");
        assert!(server.object("/api/v1/namespaces/other/services/p").is_some());
    }
}
