//! autoscale: a HorizontalPodAutoscaler for a workload.

use super::common::{DryRun, Printer, annotate_last_applied, enforced, metadata, objects_as_given};
use super::record::record;
use crate::builder;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::{Info, Options};
use crate::wire::paths;
use api::gostr;
use api::quantity::as_stored;
use api::value;
use serde_json::{Value, json};

const DEPRECATED: &str = "Flag --cpu-percent has been deprecated, Use --cpu with percentage or resource quantity format (e.g., '70%' for utilization or '500m' for milliCPU).";

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let (min, max) = (ctx.flags.int("min"), ctx.flags.int("max"));
    if max < 1 {
        return text(format!("--max=MAXPODS is required and must be at least 1, max: {max}"));
    }
    if max < min {
        return text(format!(
            "--max=MAXPODS must be larger or equal to --min=MINPODS, max: {max}, min: {min}"
        ));
    }
    let metrics = metrics(ctx)?;
    let dry_run = DryRun::of(ctx)?;
    let printer = Printer::of(ctx, dry_run)?;
    let selection = builder::select(ctx, &ctx.args, Options::default()).await?;
    let (infos, mut failures) = objects_as_given(ctx, selection).await?;
    if infos.is_empty() && failures.is_empty() {
        return text("no objects passed to autoscale");
    }
    let operation = if dry_run == DryRun::Client { "created" } else { "autoscaled" };
    for info in infos {
        match create_autoscaler(ctx, &info, &metrics, dry_run).await {
            Ok(object) => printer.print(ctx, &object, operation, dry_run != DryRun::Client)?,
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => failures.push(fail),
            Err(other) => return Err(other),
        }
    }
    Fail::join(failures)
}

/// Creates the autoscaler of one object, or with `--dry-run=client` computes it alone.
async fn create_autoscaler(
    ctx: &Ctx,
    info: &Info,
    metrics: &[Value],
    dry_run: DryRun,
) -> Result<Value, Fail> {
    let mut object = autoscaler(ctx, info, metrics)?;
    record(ctx, &mut object);
    if dry_run == DryRun::Client {
        return Ok(object);
    }
    if ctx.flags.is("save-config") {
        annotate_last_applied(&mut object, false);
    }
    let mut query = vec![("fieldManager", ctx.flags.text("field-manager"))];
    dry_run.query(&mut query);
    // As in kubectl the autoscaler is in the command's namespace, also if a file's object is in
    // another one.
    let path = paths::within("/apis/autoscaling/v2", &ctx.namespace()?.0, "horizontalpodautoscalers");
    ctx.api().await?.post(&path, &query, &object).await
}

/// The metrics of `--cpu`, `--memory` and the older `--cpu-percent`.
fn metrics(ctx: &Ctx) -> Result<Vec<Value>, Fail> {
    let percent = ctx.flags.int("cpu-percent");
    if ctx.flags.changed("cpu-percent") {
        ctx.note(DEPRECATED);
    }
    let mut targets: Vec<(&str, Value)> = vec![];
    if percent > 0 {
        if !ctx.flags.text("cpu").is_empty() {
            return text("--cpu-percent and --cpu are mutually exclusive");
        }
        targets.push(("cpu", utilization(percent)));
    }
    for (resource, unit) in [("cpu", "m"), ("memory", "Mi")] {
        let given = ctx.flags.text(resource);
        if !given.is_empty() {
            targets.push((resource, target(resource, unit, given)?));
        }
    }
    let metric = |(name, target)| json!({"type": "Resource", "resource": {"name": name, "target": target}});
    Ok(targets.into_iter().map(metric).collect())
}

fn utilization(percent: i64) -> Value {
    json!({"type": "Utilization", "averageUtilization": percent})
}

/// `70%` of what pods request, or an amount for each pod; a number alone counts in `unit`.
fn target(resource: &str, unit: &str, given: &str) -> Result<Value, Fail> {
    let given = given.trim();
    if let Some(percent) = given.strip_suffix('%') {
        return match percent.parse::<i32>() {
            Ok(number) if number >= 0 => Ok(utilization(number.into())),
            _ => text(format!("invalid percentage value: {percent}")),
        };
    }
    let amount = match given.parse::<f64>() {
        // As in kubectl a million is `1e+06`, behind which no unit may stand.
        Ok(number) => {
            let with_unit = format!("{}{unit}", gostr::general(number));
            as_stored(&with_unit).map_err(|why| Fail::Text(why.into()))?
        }
        Err(_) => {
            as_stored(given).map_err(|_| Fail::Text(format!("invalid resource {resource} value: {given}")))?
        }
    };
    Ok(json!({"type": "AverageValue", "averageValue": amount}))
}

fn autoscaler(ctx: &Ctx, info: &Info, metrics: &[Value]) -> Result<Value, Fail> {
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
    if !metrics.is_empty() {
        spec["metrics"] = metrics.into();
    }
    Ok(json!({"kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2",
        "metadata": metadata(name, enforced(ctx)?.as_deref(), &[]), "spec": spec,
        "status": {"desiredReplicas": 0, "currentMetrics": null}}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;

    #[tokio::test]
    async fn the_older_flag_is_called_deprecated() {
        let server = Server::start().await;
        for (flag, deprecated) in [("--cpu-percent=50", true), ("--cpu=50%", false)] {
            let result = server.kubectl(&["autoscale", "deploy", "web", "--max=3", flag]).await;
            assert_eq!(result.err.starts_with(&format!("{DEPRECATED}\n")), deprecated, "{result:?}");
        }
    }

    /// A server that knows how Deployments are scaled.
    async fn scaling() -> Server {
        Server::start_with(|request| {
            let scale = json!({"subresource": "scale", "responseKind": {"kind": "Scale"}, "verbs": ["get"]});
            let deployments = json!({"resource": "deployments", "singularResource": "deployment",
                "responseKind": {"kind": "Deployment"}, "shortNames": ["deploy"], "scope": "Namespaced",
                "verbs": ["get"], "subresources": [scale]});
            let apps = json!({"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [deployments]}]});
            let list = || (200, json!({"kind": "APIGroupDiscoveryList", "items": [apps]}));
            (request.path == "/apis").then(list)
        })
        .await
    }

    #[tokio::test]
    async fn each_object_gets_an_autoscaler_where_the_user_is() {
        let server = scaling().await;
        let web = |namespace: &str| {
            let meta = json!({"name": "web", "namespace": namespace});
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta})
        };
        server.hold("/apis/apps/v1/namespaces/default/deployments/web", web("default"));
        let result = server.kubectl(&["autoscale", "deploy", "missing", "web", "--max=3"]).await;
        let made = "horizontalpodautoscaler.autoscaling/web autoscaled\n";
        assert_eq!((result.code, result.out.as_str()), (1, made), "{result:?}");
        assert!(result.err.contains("missing not found"), "{result:?}");
        let file = web("other").to_string(); // which is not on the server
        let line = ["autoscale", "-f", "-", "--max=3", "--name=again"];
        let result = server.kubectl_in(&line, &file, crate::Env::default()).await;
        assert_eq!(result.code, 0, "{result:?}");
        let at = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/again";
        assert!(server.object(at).is_some(), "{:?}", server.requests());
    }

    #[test]
    fn targets_are_shares_or_amounts() {
        let amount = |given: &str| json!({"type": "AverageValue", "averageValue": given});
        for (resource, unit, given, want) in [
            ("cpu", "m", "70%", utilization(70)),
            ("cpu", "m", "500", amount("500m")),
            ("cpu", "m", "2000m", amount("2")),
            ("memory", "Mi", "512", amount("512Mi")),
            ("memory", "Mi", "1Gi", amount("1Gi")),
        ] {
            assert_eq!(target(resource, unit, given).unwrap(), want, "{given}");
        }
        for (given, why) in [
            ("x%", "invalid percentage value: x"),
            ("x", "invalid resource cpu value: x"),
            ("1000000", "quantities must match the regular expression"),
        ] {
            let message = target("cpu", "m", given).unwrap_err().message();
            assert!(message.starts_with(why), "{given}: {message}");
        }
    }
}
