//! create service clusterip, nodeport, loadbalancer, externalname.

use super::super::common::{enforced, metadata, one_name};
use super::{submit, within};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use api::validate::names::{dns_subdomain, port_name};
use api::value;
use serde_json::{Map, Value, json};

pub(crate) async fn cluster_ip(ctx: &Ctx) -> Result<(), Fail> {
    service(ctx, "ClusterIP").await
}

pub(crate) async fn node_port(ctx: &Ctx) -> Result<(), Fail> {
    service(ctx, "NodePort").await
}

pub(crate) async fn load_balancer(ctx: &Ctx) -> Result<(), Fail> {
    service(ctx, "LoadBalancer").await
}

pub(crate) async fn external_name(ctx: &Ctx) -> Result<(), Fail> {
    service(ctx, "ExternalName").await
}

async fn service(ctx: &Ctx, kind: &str) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let headless = ctx.flags.text("clusterip") == "None";
    let tcp = ctx.flags.list("tcp");
    if tcp.is_empty() && !headless && kind != "ExternalName" {
        return text("at least one tcp port specifier must be provided");
    }
    let outside = ctx.flags.text("external-name");
    if kind == "ExternalName" && !dns_subdomain(outside).is_empty() {
        return text(format!("invalid service external name {outside}"));
    }
    let ports: Vec<Value> = tcp.iter().map(|t| port(ctx, t, kind)).collect::<Result<_, _>>()?;
    let mut spec = Map::new();
    if !ports.is_empty() {
        spec.insert("ports".into(), ports.into());
    }
    spec.insert("selector".into(), json!({"app": name}));
    let cluster_ip = ctx.flags.text("clusterip");
    if !cluster_ip.is_empty() {
        spec.insert("clusterIP".into(), cluster_ip.into());
    }
    spec.insert("type".into(), kind.into());
    if kind == "ExternalName" {
        spec.insert("externalName".into(), outside.into());
    }
    let object = json!({"kind": "Service", "apiVersion": "v1",
        "metadata": metadata(&name, enforced(ctx)?.as_deref(), &[("app", &name)]),
        "spec": spec, "status": {"loadBalancer": {}}});
    submit(ctx, &within(ctx, "api/v1", "services")?, object, &format!("{kind} service: ")).await
}

/// `80`, `80:8080`, `80:http`; a third part stands in the name alone.
fn port(ctx: &Ctx, text_of: &str, kind: &str) -> Result<Value, Fail> {
    let mut parts = text_of.split(':');
    let port = parts.next().unwrap_or_default();
    let target = parts.next().unwrap_or(port);
    // Rust reads a sign before an unsigned number, Go does not.
    let number = Some(port).filter(|p| !p.starts_with('+')).and_then(|p| p.parse::<u16>().ok());
    let number = number.ok_or_else(|| {
        let why = match port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty() {
            true => "value out of range",
            false => "invalid syntax",
        };
        Fail::Text(format!("strconv.ParseUint: parsing {}: {why}", api::gostr::quote(port)))
    })?;
    let target = match target.parse::<i64>() {
        Ok(number) if text_of.contains(':') && !(1..=65535).contains(&number) => {
            return text("must be between 1 and 65535, inclusive");
        }
        Ok(number) => Value::from(number),
        Err(_) => match port_name(target).as_slice() {
            [] => target.into(),
            problems => return text(problems.join(",")),
        },
    };
    let name = text_of.replace(':', "-");
    let mut found = json!({"name": name, "protocol": "TCP", "port": number, "targetPort": target});
    let node_port = ctx.flags.int("node-port");
    if kind == "NodePort" && node_port != 0 {
        value::put(&mut found, "nodePort", node_port);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;

    #[tokio::test]
    async fn ports_are_checked_before_the_server_is_asked() {
        let server = Server::away().await;
        for (flag, why) in [
            ("--tcp=80:99999", "error: must be between 1 and 65535, inclusive\n"),
            ("--tcp=99999", "error: strconv.ParseUint: parsing \"99999\": value out of range\n"),
            ("--tcp=+80", "error: strconv.ParseUint: parsing \"+80\": invalid syntax\n"),
            ("--tcp=x", "error: strconv.ParseUint: parsing \"x\": invalid syntax\n"),
            ("--tcp=80:a--b", "error: must not contain consecutive hyphens\n"),
        ] {
            let result =
                server.kubectl(&["create", "service", "clusterip", "s", flag, "--dry-run=client"]).await;
            assert_eq!(result.err, why, "{flag}");
        }
        for given in ["", "A.b", "-"] {
            let flag = format!("--external-name={given}");
            let line = ["create", "service", "externalname", "s", &flag, "--dry-run=client"];
            let why = format!("error: invalid service external name {given}\n");
            assert_eq!(server.kubectl(&line).await.err, why);
        }
        let line = ["create", "service", "clusterip", "s", "--tcp=80:81:82", "--dry-run=client", "-ojson"];
        let made: Value = serde_json::from_str(&server.kubectl(&line).await.out).unwrap_or_default();
        let port = json!({"name": "80-81-82", "protocol": "TCP", "port": 80, "targetPort": 81});
        assert_eq!(made["spec"]["ports"][0], port);
        let line = ["create", "secret", "tls", "t", "--dry-run=client"];
        assert_eq!(server.kubectl(&line).await.err, "error: key and cert must be specified\n");
        let line = ["run", "p", "--image=i", "--rm", "--dry-run=client"];
        assert!(server.kubectl(&line).await.err.contains("only be used for attached containers"));
        let line = ["create", "configmap", "c", "--dry-run=client", "--validate=maybe"];
        assert!(server.kubectl(&line).await.err.contains("invalid - validate option \"maybe\""));
    }
}
