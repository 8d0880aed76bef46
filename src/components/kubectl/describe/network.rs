//! Ingresses, their classes, network policies.

use super::services::ready;
use super::text::Text;
use crate::ctx::Ctx;
use crate::error::Fail;
use crate::info::Info;
use crate::wire::paths;
use api::gostr;
use api::labels::Selector;
use api::value;
use serde_json::Value;

pub(super) async fn ingress(ctx: &Ctx, text: &mut Text, info: &Info) -> Result<(), Fail> {
    let ing = &info.object;
    text.field(0, "Name", value::text(ing, "metadata.name"));
    text.labels("Labels", value::at(ing, "metadata.labels"));
    text.field(0, "Namespace", value::text(ing, "metadata.namespace"));
    let mut addresses: Vec<&str> =
        value::list(ing, "status.loadBalancer.ingress")
            .iter()
            .map(|i| {
                if value::text(i, "ip").is_empty() {
                    value::text(i, "hostname")
                } else {
                    value::text(i, "ip")
                }
            })
            .collect();
    addresses.sort_unstable();
    addresses.dedup();
    text.field(0, "Address", addresses.join(","));
    text.field(0, "Ingress Class", super::text::or_none(value::text(ing, "spec.ingressClassName")));
    let default = match value::at(ing, "spec.defaultBackend") {
        Value::Null => "<default>".to_string(),
        default => backend(ctx, &info.namespace, default).await?,
    };
    text.field(0, "Default backend", &default);
    if !value::empty(ing, "spec.tls") {
        text.line(0, "TLS:");
        for tls in value::list(ing, "spec.tls") {
            let hosts: Vec<&str> = value::list(tls, "hosts").iter().filter_map(Value::as_str).collect();
            match value::text(tls, "secretName") {
                "" => text.line(1, format!("SNI routes {}", hosts.join(","))),
                secret => text.line(1, format!("{secret} terminates {}", hosts.join(","))),
            }
        }
    }
    text.line(0, "Rules:\n  Host\tPath\tBackends");
    text.line(1, "----\t----\t--------");
    let mut any = false;
    for rule in value::list(ing, "spec.rules").iter().filter(|r| !value::at(r, "http").is_null()) {
        any = true;
        let host = value::text(rule, "host");
        text.line(1, format!("{}\t", if host.is_empty() { "*" } else { host }));
        for path in value::list(rule, "http.paths") {
            let to = backend(ctx, &info.namespace, value::at(path, "backend")).await?;
            text.line(2, format!("\t{} \t{to}", value::text(path, "path")));
        }
    }
    if !any {
        text.line(1, format!("*\t*\t{default}"));
    }
    text.annotations("Annotations", value::at(ing, "metadata.annotations"));
    Ok(())
}

/// `web:80 (10.244.1.2:80)`
async fn backend(ctx: &Ctx, namespace: &str, backend: &Value) -> Result<String, Fail> {
    if value::at(backend, "service").is_null() {
        let part = |field: &str| value::text(backend, &format!("resource.{field}"));
        return Ok(match value::at(backend, "resource").is_null() {
            true => String::new(),
            false => format!(
                "APIGroup: {}, Kind: {}, Name: {}",
                super::text::or_none(part("apiGroup")),
                part("kind"),
                part("name")
            ),
        });
    }
    let name = value::text(backend, "service.name");
    let (port_name, number) =
        (value::text(backend, "service.port.name"), value::int(backend, "service.port.number").unwrap_or(0));
    let service_and_port =
        if port_name.is_empty() { format!("{name}:{number}") } else { format!("{name}:{port_name}") };
    let api = ctx.api().await?;
    let slices = paths::within("/apis/discovery.k8s.io/v1", namespace, "endpointslices");
    let label = format!("kubernetes.io/service-name={name}");
    let slices = match api.get(&slices, &[("labelSelector", &label)]).await {
        Ok(list) => value::list(&list, "items").to_vec(),
        Err(Fail::Api(refusal)) => return Ok(format!("{service_and_port} (<error: {}>)", refusal.message)),
        Err(other) => return Err(other),
    };
    let path = format!("{}/{}", paths::within("/api/v1", namespace, "services"), paths::segment(name));
    let service = match api.get(&path, &[]).await {
        Ok(service) => service,
        Err(Fail::Api(refusal)) => return Ok(format!("{service_and_port} (<error: {}>)", refusal.message)),
        Err(other) => return Err(other),
    };
    let port = value::list(&service, "spec.ports").iter().find(|p| {
        (number != 0 && value::int(p, "port") == Some(number))
            || (!port_name.is_empty() && value::text(p, "name") == port_name)
    });
    Ok(format!("{service_and_port} ({})", ready(&slices, port.map_or("", |p| value::text(p, "name")))))
}

pub(super) fn ingress_class(text: &mut Text, class: &Value) {
    text.field(0, "Name", value::text(class, "metadata.name"));
    text.labels("Labels", value::at(class, "metadata.labels"));
    text.annotations("Annotations", value::at(class, "metadata.annotations"));
    text.field(0, "Controller", value::text(class, "spec.controller"));
    let parameters = value::at(class, "spec.parameters");
    if !parameters.is_null() {
        text.line(0, "Parameters:");
        for (title, field) in [("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name")] {
            if !value::empty(parameters, field) {
                text.field(1, title, value::text(parameters, field));
            }
        }
    }
}

/// A label selector in one line; `<none>` if it selects by nothing.
fn selector(of: &Value) -> String {
    match Selector::of(of) {
        Some(selector) if !selector.is_empty() => selector.to_string(),
        _ => "<none>".to_string(),
    }
}

pub(super) fn policy(text: &mut Text, policy: &Value) {
    text.field(0, "Name", value::text(policy, "metadata.name"));
    text.field(0, "Namespace", value::text(policy, "metadata.namespace"));
    text.field(0, "Created on", go_time(value::text(policy, "metadata.creationTimestamp")));
    text.labels("Labels", value::at(policy, "metadata.labels"));
    text.annotations("Annotations", value::at(policy, "metadata.annotations"));
    text.line(0, "Spec:");
    let chosen = match selector(value::at(policy, "spec.podSelector")).as_str() {
        "<none>" => "<none> (Allowing the specific traffic to all pods in this namespace)".to_string(),
        chosen => chosen.to_string(),
    };
    text.put(1, "PodSelector: ");
    text.line(2, chosen);
    let types: Vec<&str> = value::list(policy, "spec.policyTypes").iter().filter_map(Value::as_str).collect();
    for (direction, kind, way) in
        [("ingress", "Ingress", ("To Port", "From")), ("egress", "Egress", ("To Port", "To"))]
    {
        if types.contains(&kind) {
            text.line(1, format!("Allowing {direction} traffic:"));
            rules(text, value::list(policy, &format!("spec.{direction}")), direction, way);
        } else {
            text.line(1, format!("Not affecting {direction} traffic"));
        }
    }
    text.line(1, format!("Policy Types: {}", super::text::or_none(&types.join(", "))));
}

fn rules(text: &mut Text, rules: &[Value], direction: &str, (to_port, peer_title): (&str, &str)) {
    const INDENT: &str = "    ";
    let source = if direction == "ingress" { "source" } else { "destination" };
    if rules.is_empty() {
        text.line(0, format!("{INDENT}<none> (Selected pods are isolated for {direction} connectivity)"));
    }
    for (i, rule) in rules.iter().enumerate() {
        if value::empty(rule, "ports") {
            text.line(0, format!("{INDENT}{to_port}: <any> (traffic allowed to all ports)"));
        }
        for port in value::list(rule, "ports") {
            let protocol = match value::text(port, "protocol") {
                "" => "TCP",
                protocol => protocol,
            };
            let number = match value::at(port, "port") {
                Value::Null => "<nil>".to_string(),
                number => gostr::plain(number),
            };
            match value::int(port, "endPort") {
                Some(last) => text.line(0, format!("{INDENT}{to_port} Range: {number}-{last}/{protocol}")),
                None => text.line(0, format!("{INDENT}{to_port}: {number}/{protocol}")),
            }
        }
        let peers = value::list(rule, if direction == "ingress" { "from" } else { "to" });
        if peers.is_empty() {
            text.line(0, format!("{INDENT}{peer_title}: <any> (traffic not restricted by {source})"));
        }
        for peer in peers {
            text.line(0, format!("{INDENT}{peer_title}:"));
            for (title, field) in [("NamespaceSelector", "namespaceSelector"), ("PodSelector", "podSelector")]
            {
                if value::at(peer, field).is_object() {
                    text.line(1, format!("{INDENT}{title}: {}", selector(value::at(peer, field))));
                }
            }
            if value::at(peer, "ipBlock").is_object() {
                let except: Vec<&str> =
                    value::list(peer, "ipBlock.except").iter().filter_map(Value::as_str).collect();
                text.line(1, format!("{INDENT}IPBlock:"));
                text.line(2, format!("{INDENT}CIDR: {}", value::text(peer, "ipBlock.cidr")));
                text.line(2, format!("{INDENT}Except: {}", except.join(", ")));
            }
        }
        if i + 1 < rules.len() {
            text.line(0, format!("{INDENT}----------"));
        }
    }
}

/// `2024-11-29 13:08:34 +0900 KST`, in this machine's time zone.
fn go_time(timestamp: &str) -> String {
    match timestamp.parse::<jiff::Timestamp>() {
        Ok(at) => at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string(),
        Err(_) => timestamp.to_string(),
    }
}
