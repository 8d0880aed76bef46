//! create deployment, job, cronjob.

use super::super::common::{enforced, metadata, one_name, rest};
use super::{submit, within};
use crate::builder;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::Options;
use crate::scheme;
use api::value;
use rng::Rng;
use serde_json::{Value, json};

pub(crate) async fn deployment(ctx: &Ctx) -> Result<(), Fail> {
    let name = deployment_name(ctx)?;
    let images = ctx.flags.list("image");
    let command = rest(ctx);
    if images.len() > 1 && !command.is_empty() {
        return text("cannot specify multiple --image options and command");
    }
    let mut containers = vec![];
    for image in &images {
        let mut container = json!({"name": container_name(image), "image": image});
        if !command.is_empty() {
            value::put(&mut container, "command", json!(command));
        }
        value::put(&mut container, "resources", json!({}));
        containers.push(container);
    }
    let port = ctx.flags.int("port");
    if port >= 0 && !containers.is_empty() {
        let mut with_port = json!({});
        for (key, field) in containers[0].as_object().into_iter().flatten() {
            if key == "resources" {
                value::put(&mut with_port, "ports", json!([{"containerPort": port}]));
            }
            value::put(&mut with_port, key, field.clone());
        }
        containers[0] = with_port;
    }
    let labels = [("app", name.as_str())];
    let object = json!({"kind": "Deployment", "apiVersion": "apps/v1",
        "metadata": metadata(&name, enforced(ctx)?.as_deref(), &labels),
        "spec": {"replicas": ctx.flags.int("replicas"), "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": metadata("", None, &labels), "spec": {"containers": containers}},
            "strategy": {}},
        "status": {}});
    submit(ctx, &within(ctx, "apis/apps/v1", "deployments")?, object, "deployment: ").await
}

fn deployment_name(ctx: &Ctx) -> Result<String, Fail> {
    if ctx.dash.is_none() && ctx.args.len() > 1 {
        return ctx.usage(format!("exactly one NAME is required, got {}", ctx.args.len()));
    }
    if ctx.dash == Some(0) {
        return ctx.usage("exactly one NAME is required, got 0");
    }
    one_name(ctx)
}

/// `nginx` of `registry/nginx:1.27`. A name that has to be changed to be a label gets a random end,
/// since two names may become the same one.
fn container_name(image: &str) -> String {
    let base = image.rsplit('/').next().unwrap_or(image);
    let base = base.split([':', '@']).next().unwrap_or(base);
    match base.contains(['_', '.']) {
        true => format!("{}-{}", base.replace(['_', '.'], "-"), Rng::from_os().name_suffix(5)),
        false => base.to_string(),
    }
}

fn pod_template(name: &str, image: &str, command: &[String], restart: &str) -> Value {
    let mut container = json!({"name": name, "image": image});
    if !command.is_empty() {
        value::put(&mut container, "command", json!(command));
    }
    value::put(&mut container, "resources", json!({}));
    json!({"metadata": {}, "spec": {"containers": [container], "restartPolicy": restart}})
}

/// Reads the CronJob of `--from`.
async fn cron_job_of(ctx: &Ctx, from: &str) -> Result<Value, Fail> {
    let selection = builder::by_arguments(ctx, &[from.to_string()], Options::default()).await?;
    let (infos, failures) = scheme::objects(ctx, selection).await?;
    Fail::join(failures)?;
    let [cron] = infos.as_slice() else { return text("from must be an existing cronjob") };
    let (version, kind) = (&cron.resource.version, &cron.resource.kind);
    match kind == "CronJob" {
        true => Ok(cron.object.clone()),
        false => text(format!("unknown object type *{version}.{kind}")),
    }
}

pub(crate) async fn job(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let (image, from) = (ctx.flags.text("image"), ctx.flags.text("from"));
    let command = rest(ctx);
    match (image, from) {
        ("", "") => return text("either --image or --from must be specified"),
        (_, "") => {}
        ("", _) if !command.is_empty() => return text("cannot specify --from and command"),
        ("", _) => {}
        _ => return text("either --image or --from must be specified"),
    }
    let mut meta = metadata(&name, enforced(ctx)?.as_deref(), &[]);
    let spec = if from.is_empty() {
        json!({"template": pod_template(&name, image, &command, "Never")})
    } else {
        let cron = cron_job_of(ctx, from).await?;
        let of = |path: &str| value::at(&cron, path).clone();
        let mut annotations = of("spec.jobTemplate.metadata.annotations");
        value::as_map(&mut annotations).insert("cronjob.kubernetes.io/instantiate".into(), "manual".into());
        if !value::empty(&cron, "spec.jobTemplate.metadata.labels") {
            value::put(&mut meta, "labels", of("spec.jobTemplate.metadata.labels"));
        }
        value::put(&mut meta, "annotations", annotations);
        let owner = json!({"apiVersion": "batch/v1", "kind": "CronJob", "name": of("metadata.name"),
            "uid": of("metadata.uid"), "controller": true});
        value::put(&mut meta, "ownerReferences", json!([owner]));
        of("spec.jobTemplate.spec")
    };
    let object =
        json!({"kind": "Job", "apiVersion": "batch/v1", "metadata": meta, "spec": spec, "status": {}});
    submit(ctx, &within(ctx, "apis/batch/v1", "jobs")?, object, "job: ").await
}

pub(crate) async fn cron_job(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let restart = match ctx.flags.text("restart") {
        "" => "OnFailure",
        named => named,
    };
    let template = pod_template(&name, ctx.flags.text("image"), &rest(ctx), restart);
    let object = json!({"kind": "CronJob", "apiVersion": "batch/v1",
        "metadata": metadata(&name, enforced(ctx)?.as_deref(), &[]),
        "spec": {"schedule": ctx.flags.text("schedule"),
            "jobTemplate": {"metadata": metadata(&name, None, &[]), "spec": {"template": template}}},
        "status": {}});
    submit(ctx, &within(ctx, "apis/batch/v1", "cronjobs")?, object, "cronjob: ").await
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use serde_json::json;

    #[tokio::test]
    async fn a_job_is_made_of_a_cron_job_alone() {
        let server = Server::start().await;
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}});
        server.hold("/apis/apps/v1/namespaces/default/deployments/web", web);
        for (from, why) in [
            ("--from=deploy/web", "unknown object type *v1.Deployment"),
            ("--from=deploy", "resource(s) were provided, but no name was specified"),
        ] {
            let result = server.kubectl(&["create", "job", "j", from]).await;
            assert_eq!((result.code, result.err), (1, format!("error: {why}\n")), "{from}");
        }
        assert!(server.requests().iter().all(|request| request.method == "GET"), "nothing was created");
    }
}
