//! autoscale: a HorizontalPodAutoscaler for a workload.

use super::common::{DryRun, Teller, annotate_last_applied, enforced, metadata};
use crate::api::value;
use crate::kubectl::builder::{self, Info, Options};
use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::{Fail, text};
use serde_json::{Value, json};

pub async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let (min, max) = (ctx.flags.int("min"), ctx.flags.int("max"));
    if max < 1 {
        return text(format!("--max=MAXPODS is required and must be at least 1, max: {max}"));
    }
    if max < min {
        return text(format!(
            "--max=MAXPODS must be larger or equal to --min=MINPODS, max: {max}, min: {min}"
        ));
    }
    let dry_run = DryRun::of(ctx)?;
    let teller = Teller::of(ctx, dry_run)?;
    let asked = builder::ask(ctx, &ctx.args, Options::default()).await?;
    let (infos, failures) = builder::objects(ctx, asked).await?;
    Fail::join(failures)?;
    if infos.is_empty() {
        return text("no objects passed to autoscale");
    }
    for info in infos {
        let mut object = autoscaler(ctx, &info)?;
        if ctx.flags.is("save-config") {
            annotate_last_applied(&mut object, false);
        }
        if dry_run != DryRun::Client {
            let mut query = vec![("fieldManager", ctx.flags.text("field-manager"))];
            dry_run.query(&mut query);
            let path = format!("/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers", info.namespace);
            object = ctx.api().await?.post(&path, &query, &object).await?;
        }
        teller.tell(ctx, &object, "autoscaled", dry_run != DryRun::Client)?;
    }
    Ok(())
}

fn autoscaler(ctx: &Ctx, info: &Info) -> Result<Value, Fail> {
    let r = &info.resource;
    if !r.subresources.iter().any(|s| s == "scale") {
        return text(format!(
            "cannot autoscale a {}: could not find scale subresource for {}/{}, Resource={} in discovery information",
            r.kind, r.group, r.version, r.plural
        ));
    }
    let name = match ctx.flags.text("name") {
        "" => info.name.as_str(),
        name => name,
    };
    let mut spec = json!({"scaleTargetRef": {
        "kind": info.resource.kind,
        "name": info.name,
        "apiVersion": value::text(&info.object, "apiVersion"),
    }});
    if ctx.flags.int("min") > 0 {
        spec["minReplicas"] = ctx.flags.int("min").into();
    }
    spec["maxReplicas"] = ctx.flags.int("max").into();
    let percent = ctx.flags.int("cpu-percent");
    if percent >= 0 {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        spec["metrics"] = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    }
    Ok(json!({"kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2",
        "metadata": metadata(name, enforced(ctx)?.as_deref(), &[]), "spec": spec,
        "status": {"desiredReplicas": 0, "currentMetrics": null}}))
}
