//! create service clusterip, nodeport, loadbalancer, externalname.

use super::super::common::{enforced, metadata, one_name};
use super::{submit, within};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use api::value;
use serde_json::{Map, Value, json};

pub async fn cluster_ip(ctx: &Ctx) -> Result<(), Fail> {
    service(ctx, "ClusterIP").await
}

pub async fn node_port(ctx: &Ctx) -> Result<(), Fail> {
    service(ctx, "NodePort").await
}

pub async fn load_balancer(ctx: &Ctx) -> Result<(), Fail> {
    service(ctx, "LoadBalancer").await
}

pub async fn external_name(ctx: &Ctx) -> Result<(), Fail> {
    service(ctx, "ExternalName").await
}

async fn service(ctx: &Ctx, kind: &str) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let headless = ctx.flags.text("clusterip") == "None";
    let tcp = ctx.flags.list("tcp");
    if tcp.is_empty() && !headless && kind != "ExternalName" {
        return text("at least one tcp port specifier must be provided");
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
        spec.insert("externalName".into(), ctx.flags.text("external-name").into());
    }
    let object = json!({"kind": "Service", "apiVersion": "v1",
        "metadata": metadata(&name, enforced(ctx)?.as_deref(), &[("app", &name)]),
        "spec": spec, "status": {"loadBalancer": {}}});
    submit(ctx, &within(ctx, "api/v1", "services")?, object, &format!("{kind} service: ")).await
}

/// `80`, `80:8080`, `80:http`
fn port(ctx: &Ctx, text_of: &str, kind: &str) -> Result<Value, Fail> {
    let (port, target) = text_of.split_once(':').unwrap_or((text_of, text_of));
    let number = |text_of: &str| -> Result<i64, Fail> {
        let quoted = crate::gostr::quote(text_of);
        match text_of.parse::<i64>() {
            Ok(n) if (1..=65535).contains(&n) => Ok(n),
            Ok(_) => text(format!("strconv.ParseUint: parsing {quoted}: value out of range")),
            Err(_) => text(format!("strconv.ParseUint: parsing {quoted}: invalid syntax")),
        }
    };
    let port = number(port)?;
    let target = match target.parse::<i64>() {
        Ok(_) => number(target)?.into(),
        Err(_) if !target.is_empty() => Value::from(target),
        Err(_) => return text("target port cannot be empty"),
    };
    let name = text_of.replace(':', "-");
    let mut found = json!({"name": name, "protocol": "TCP", "port": port, "targetPort": target});
    let node_port = ctx.flags.int("node-port");
    if kind == "NodePort" && node_port != 0 {
        value::put(&mut found, "nodePort", node_port);
    }
    Ok(found)
}
