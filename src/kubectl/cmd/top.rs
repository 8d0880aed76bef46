//! top: what nodes and pods use, by the metrics API.

use crate::api::quantity::Quantity;
use crate::api::value;
use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::{Fail, text};
use crate::kubectl::print::tab;
use serde_json::Value;

const GROUP: &str = "metrics.k8s.io/v1beta1";

async fn available(ctx: &Ctx) -> Result<(), Fail> {
    if ctx.discovery().await?.group_versions.iter().any(|v| v == GROUP) {
        return Ok(());
    }
    text("Metrics API not available")
}

/// In thousandths of a core.
fn cpu(usage: &Value) -> i64 {
    Quantity::parse(value::text(usage, "cpu")).map_or(0, |q| q.milli())
}

/// In MiB.
fn memory(usage: &Value) -> i64 {
    Quantity::parse(value::text(usage, "memory")).map_or(0, |q| q.units() >> 20)
}

fn rows(ctx: &Ctx, header: &str, mut rows: Vec<(i64, i64, String)>) {
    match ctx.flags.text("sort-by") {
        "cpu" => rows.sort_by_key(|r| -r.0),
        "memory" => rows.sort_by_key(|r| -r.1),
        _ => {}
    }
    let mut out = if ctx.flags.is("no-headers") { String::new() } else { format!("{header}\t\n") };
    rows.iter().for_each(|(_, _, row)| out.push_str(&format!("{row}\t\n")));
    ctx.out(tab::align(&out, 6, 3));
}

pub async fn node(ctx: &Ctx) -> Result<(), Fail> {
    available(ctx).await?;
    let selector = ctx.flags.text("selector");
    let api = ctx.api().await?;
    let items = match ctx.args.as_slice() {
        [] => value::list(
            &api.get(&format!("/apis/{GROUP}/nodes"), &[("labelSelector", selector)]).await?,
            "items",
        )
        .to_vec(),
        [name] => vec![api.get(&format!("/apis/{GROUP}/nodes/{name}"), &[]).await?],
        _ => return ctx.usage("unexpected arguments"),
    };
    if items.is_empty() {
        return text("metrics not available yet");
    }
    let nodes = api.get("/api/v1/nodes", &[("labelSelector", selector)]).await?;
    let mut out = vec![];
    for item in &items {
        let name = value::text(item, "metadata.name");
        let node = value::list(&nodes, "items").iter().find(|n| value::text(n, "metadata.name") == name);
        let whole = value::at(node.unwrap_or(&Value::Null), "status.allocatable");
        let usage = value::at(item, "usage");
        let share = |used: i64, of: i64| if of > 0 { used * 100 / of } else { 0 };
        let (c, m) = (cpu(usage), memory(usage));
        out.push((
            c,
            m,
            format!("{name}\t{c}m\t{}%\t{m}Mi\t{}%", share(c, cpu(whole)), share(m, memory(whole))),
        ));
    }
    rows(ctx, "NAME\tCPU(cores)\tCPU(%)\tMEMORY(bytes)\tMEMORY(%)", out);
    Ok(())
}

pub async fn pod(ctx: &Ctx) -> Result<(), Fail> {
    available(ctx).await?;
    let (namespace, _) = ctx.namespace()?;
    let all = ctx.flags.is("all-namespaces");
    let base = if all {
        format!("/apis/{GROUP}/pods")
    } else {
        format!("/apis/{GROUP}/namespaces/{namespace}/pods")
    };
    let api = ctx.api().await?;
    let items = match ctx.args.as_slice() {
        [] => value::list(&api.get(&base, &[("labelSelector", ctx.flags.text("selector"))]).await?, "items")
            .to_vec(),
        [name] => vec![api.get(&format!("{base}/{name}"), &[]).await?],
        _ => return ctx.usage("unexpected arguments"),
    };
    if items.is_empty() {
        if all {
            ctx.note("No resources found");
        } else {
            ctx.note(format!("No resources found in {namespace} namespace."));
        }
        return Ok(());
    }
    let by_container = ctx.flags.is("containers");
    let mut out = vec![];
    for item in &items {
        let head = if all { format!("{}\t", value::text(item, "metadata.namespace")) } else { String::new() };
        let name = value::text(item, "metadata.name");
        let containers = value::list(item, "containers");
        let used = |c: &Value| (cpu(value::at(c, "usage")), memory(value::at(c, "usage")));
        if by_container {
            for container in containers {
                let (c, m) = used(container);
                out.push((c, m, format!("{head}{name}\t{}\t{c}m\t{m}Mi", value::text(container, "name"))));
            }
        } else {
            let (c, m) = containers.iter().map(used).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
            out.push((c, m, format!("{head}{name}\t{c}m\t{m}Mi")));
        }
    }
    let namespace = if all { "NAMESPACE\t" } else { "" };
    let pod = if by_container { "POD\tNAME" } else { "NAME" };
    rows(ctx, &format!("{namespace}{pod}\tCPU(cores)\tMEMORY(bytes)"), out);
    Ok(())
}
