//! run: one pod, perhaps attached to.

use super::common::{
    DryRun, Printer, annotate_last_applied, enforced, label_pairs, metadata, pod_running_timeout,
};
use super::delete::{checked_propagation, propagation};
use super::exec::{self, Session};
use super::patch::unpatched;
use super::record::record;
use super::set_env::{check_variable, variable};
use super::until::until;
use crate::ctx::Ctx;
use crate::error::{Fail, Refusal, text};
use crate::info::Info;
use crate::wire::paths;
use api::gostr::quote;
use api::image_name::is_reference;
use api::{patch, schema, strategic, value};
use serde_json::{Map, Value, json};

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let Some(name) = ctx.args.first().filter(|_| ctx.dash != Some(0)) else {
        return ctx.usage("NAME is required for run");
    };
    pod_running_timeout(ctx)?;
    let words = ctx.args[1..].to_vec();
    let interactive = ctx.flags.is("stdin");
    let attach = if ctx.flags.changed("attach") { ctx.flags.is("attach") } else { interactive };
    let remove = ctx.flags.is("rm");
    let dry_run = DryRun::of(ctx)?;
    let image = ctx.flags.list("image").join(",");
    check_flags(ctx, &image, attach, dry_run)?;
    checked_propagation(ctx)?; // before anything is made
    let printer = Printer::of(ctx, dry_run)?;
    let mut pod = pod_of(ctx, name, &image, &words)?;
    apply_overrides(ctx, &mut pod, "Pod")?;
    let mut service = if ctx.flags.is("expose") { Some(service_of(ctx, name)?) } else { None };
    std::iter::once(&mut pod).chain(&mut service).for_each(|object| record(ctx, object));
    if ctx.flags.is("save-config") && dry_run != DryRun::Client {
        let made = std::iter::once(&mut pod).chain(&mut service);
        made.for_each(|object| annotate_last_applied(object, false));
    }
    let (namespace, _) = ctx.namespace()?;
    let namespace = match value::text(&pod, "metadata.namespace") {
        "" => namespace,
        own => own.to_string(),
    };
    let pods = paths::within("/api/v1", &namespace, "pods");
    let manager = ctx.flags.text("field-manager");
    let mut query = vec![("fieldManager", manager)];
    dry_run.query(&mut query);
    if dry_run != DryRun::Client {
        pod = ctx.api().await?.post(&pods, &query, &pod).await?;
    }
    // Without its Service the pod runs all the same; the refusal is reported at the end.
    let (mut exposed, mut failures) = (None, vec![]);
    let services = paths::within("/api/v1", &namespace, "services");
    if let Some(service) = service {
        let created = match dry_run {
            DryRun::Client => Ok(service),
            DryRun::No | DryRun::Server => ctx.api().await?.post(&services, &query, &service).await,
        };
        match created {
            Ok(service) => {
                printer.print(ctx, &service, "created", false)?;
                if ctx.flags.text("output") == "yaml" {
                    ctx.line("---"); // kubectl's printer writes another one
                }
                exposed = Some(format!("{services}/{name}"));
            }
            Err(fail @ Fail::Api(_)) => failures.push(fail),
            Err(other) => return Err(other),
        }
    }
    if attach {
        let outcome = attached(ctx, &pod, remove).await;
        if let Some(path) = exposed.filter(|_| remove) {
            delete(ctx, &path, &format!("service {}", quote(name))).await?;
        }
        outcome?;
    } else {
        printer.print(ctx, &pod, "created", false)?;
    }
    Fail::join(failures)
}

/// Checks that the flags fit to each other, before anything is made: in kubectl's order.
fn check_flags(ctx: &Ctx, image: &str, attach: bool, dry_run: DryRun) -> Result<(), Fail> {
    let (interactive, tty) = (ctx.flags.is("stdin"), ctx.flags.is("tty"));
    let (remove, restart) = (ctx.flags.is("rm"), ctx.flags.text("restart"));
    if image.is_empty() {
        return text("--image is required");
    }
    if !is_reference(image) {
        return text(format!("Invalid image name {}: invalid reference format", quote(image)));
    }
    if tty && !interactive {
        return ctx.usage("-i/--stdin is required for containers with -t/--tty=true");
    }
    if ctx.flags.is("expose") && ctx.flags.text("port").is_empty() {
        return ctx.usage("--port must be set when exposing a service");
    }
    if !matches!(restart, "" | "Always" | "OnFailure" | "Never") {
        return ctx.usage(format!("invalid restart policy: {restart}"));
    }
    if remove && !attach {
        return ctx.usage("--rm should only be used for attached containers");
    }
    if attach && dry_run != DryRun::No {
        return ctx.usage("--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)");
    }
    let pull = ctx.flags.text("image-pull-policy");
    if !matches!(pull, "" | "Always" | "IfNotPresent" | "Never") {
        return ctx.usage(format!("invalid image pull policy: {pull}"));
    }
    Ok(())
}

/// Deletes an object that `--rm` removes; one that is gone already is no failure.
async fn delete(ctx: &Ctx, path: &str, named: &str) -> Result<(), Fail> {
    match ctx.api().await?.delete(path, &[], &json!({"propagationPolicy": propagation(ctx)?})).await {
        Ok(_) if ctx.flags.is("quiet") => {}
        Ok(_) => {
            // The namespace, as `delete` prints it.
            let namespace = path.split('/').nth_back(2).unwrap_or_default();
            ctx.line(format!("{named} deleted from {namespace} namespace"));
        }
        Err(fail) if fail.is_not_found() => {}
        Err(fail) => return Err(fail),
    }
    Ok(())
}

fn pod_of(ctx: &Ctx, name: &str, image: &str, words: &[String]) -> Result<Value, Fail> {
    let given = ctx.flags.text("labels");
    let labels = if given.is_empty() { vec![("run", name)] } else { label_pairs(given)? };
    let mut meta = metadata(name, enforced(ctx)?.as_deref(), &labels);
    let annotations = ctx.flags.list("annotations");
    if !annotations.is_empty() {
        let (mut map, mut invalid) = (Map::new(), vec![]);
        for pair in &annotations {
            match pair.split_once('=') {
                Some((key, text_of)) if !key.is_empty() => drop(map.insert(key.into(), text_of.into())),
                _ => invalid.push(pair.as_str()),
            }
        }
        if !invalid.is_empty() {
            return text(format!("invalid annotations format: {}", invalid.join(", ")));
        }
        value::put(&mut meta, "annotations", map);
    }
    let mut container = json!({"name": name, "image": image});
    let mut put = |key: &str, value_of: Value| value::put(&mut container, key, value_of);
    if !words.is_empty() {
        put(if ctx.flags.is("command") { "command" } else { "args" }, json!(words));
    }
    let port = ctx.flags.text("port");
    if !port.is_empty() {
        let number: i64 = port
            .parse()
            .map_err(|_| Fail::Text(format!("strconv.Atoi: parsing {}: invalid syntax", quote(port))))?;
        put("ports", json!([{"containerPort": number}]));
    }
    let mut env = vec![];
    for pair in ctx.flags.list("env") {
        match pair.split_once('=').filter(|(key, _)| check_variable(key).is_ok()) {
            Some((key, text_of)) => env.push(variable(key, text_of)),
            None => return text(format!("invalid env: {pair}")),
        }
    }
    if !env.is_empty() {
        put("env", env.into());
    }
    put("resources", json!({}));
    if !ctx.flags.text("image-pull-policy").is_empty() {
        put("imagePullPolicy", ctx.flags.text("image-pull-policy").into());
    }
    if ctx.flags.is("privileged") {
        put("securityContext", json!({"privileged": true}));
    }
    if ctx.flags.is("stdin") {
        put("stdin", true.into());
        if !ctx.flags.is("leave-stdin-open") {
            put("stdinOnce", true.into());
        }
    }
    if ctx.flags.is("tty") {
        put("tty", true.into());
    }
    // As in kubectl an empty policy is Always.
    let restart = Some(ctx.flags.text("restart")).filter(|policy| !policy.is_empty()).unwrap_or("Always");
    let spec = json!({"containers": [container], "restartPolicy": restart, "dnsPolicy": "ClusterFirst"});
    Ok(json!({"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": spec, "status": {}}))
}

/// Puts `--overrides` over a generated object, which has its kind's fields alone afterwards.
pub(crate) fn apply_overrides(ctx: &Ctx, object: &mut Value, kind: &str) -> Result<(), Fail> {
    let given = ctx.flags.text("overrides");
    if given.is_empty() {
        return Ok(());
    }
    let how = ctx.flags.text("override-type");
    if !matches!(how, "" | "json" | "merge" | "strategic") {
        return text(format!("invalid override type: {how}"));
    }
    // A JSON patch is a list of operations, the other two are a part of the object.
    let part: Option<Value> = serde_json::from_str(given).ok().filter(Value::is_object);
    match (how, part) {
        ("json", _) => patch::json(object, given.as_bytes()).map_err(|status| unpatched(&status))?,
        ("strategic", Some(over)) => strategic::apply(kind, object, &over).map_err(Fail::Text)?,
        ("strategic", None) => return text("invalid JSON document"),
        (_, Some(over)) => patch::merge(object, &over),
        (_, None) => return text("Invalid JSON Patch"),
    }
    schema::conform_named(&format!("io.k8s.api.core.v1.{kind}"), object).map_err(Fail::Text)?;
    super::typed::zeros(kind, object); // what Go's struct cannot leave out
    Ok(())
}

/// The Service of `--expose`. It has the labels of `--labels` and no others; `--overrides` are
/// about the pod alone.
fn service_of(ctx: &Ctx, name: &str) -> Result<Value, Fail> {
    let port: i64 = ctx.flags.text("port").parse().unwrap_or(0);
    let given = match ctx.flags.text("labels") {
        "" => vec![],
        given => label_pairs(given)?,
    };
    let meta = metadata(name, enforced(ctx)?.as_deref(), &given);
    let selected = if given.is_empty() { vec![("run", name)] } else { given };
    let selector: Map<String, Value> = selected.iter().map(|(k, v)| (k.to_string(), json!(v))).collect();
    Ok(json!({"kind": "Service", "apiVersion": "v1", "metadata": meta,
        "spec": {"ports": [{"protocol": "TCP", "port": port, "targetPort": port}], "selector": selector},
        "status": {"loadBalancer": {}}}))
}

/// Follows the pod until it has ended (or the user has left), then removes it if `--rm` says so.
async fn attached(ctx: &Ctx, pod: &Value, remove: bool) -> Result<(), Fail> {
    let resource = ctx.resource("pods").await?;
    let mut info = Info {
        namespace: value::text(pod, "metadata.namespace").into(),
        name: value::text(pod, "metadata.name").into(),
        resource,
        object: pod.clone(),
        source: String::new(),
    };
    let outcome = follow(ctx, &mut info).await;
    if remove {
        delete(ctx, &info.path(), &format!("pod {}", quote(&info.name))).await?;
    }
    outcome
}

async fn follow(ctx: &Ctx, info: &mut Info) -> Result<(), Fail> {
    let limit = ctx.flags.duration("pod-running-timeout");
    let name = info.name.clone();
    let gone = || Err(Fail::Api(Refusal::not_found("pods", &name)));
    let started = |pod: &Value| {
        if pod.is_null() {
            return gone();
        }
        let ready = value::list(pod, "status.conditions")
            .iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True");
        Ok(ended(pod) || (value::text(pod, "status.phase") == "Running" && ready))
    };
    let timed_out = |fail: Fail| match fail {
        Fail::Text(_) => Fail::Text("timed out waiting for the condition".into()),
        other => other,
    };
    until(ctx, info, limit, started).await.map_err(timed_out)?;
    let container =
        value::list(&info.object, "spec.containers").first().map_or("", |c| value::text(c, "name"));
    let container = container.to_string();
    if ended(&info.object) {
        super::logs::print_one(ctx, info, &container, true).await?;
    } else {
        let session =
            Session { stdin: ctx.flags.is("stdin"), tty: ctx.flags.is("tty"), quiet: ctx.flags.is("quiet") };
        if let Err(fail) = exec::attach_to(ctx, info, &container, session).await {
            ctx.note(format!(
                "warning: couldn't attach to pod/{}, falling back to streaming logs: {}",
                info.name,
                fail.message()
            ));
            super::logs::print_one(ctx, info, &container, true).await?;
        }
    }
    let is_always = match ctx.flags.text("restart") {
        "" => !ctx.flags.is("stdin"), // with standard input it is OnFailure
        policy => policy == "Always",
    };
    if ctx.flags.is("leave-stdin-open") || is_always {
        return Ok(());
    }
    let over = |pod: &Value| if pod.is_null() { gone() } else { Ok(ended(pod)) };
    // Within the same limit, as in kubectl: a container that fails may be started again for ever.
    until(ctx, info, limit, over).await.map_err(timed_out)?;
    if value::text(&info.object, "status.phase") != "Failed" {
        return Ok(());
    }
    let terminated =
        value::list(&info.object, "status.containerStatuses").first().map(|s| &s["state"]["terminated"]);
    let code = terminated.and_then(|t| t["exitCode"].as_i64()).unwrap_or(0);
    let pod = format!("{}/{}", info.namespace, info.name);
    match terminated {
        Some(t) if code != 0 => Err(Fail::Coded(
            format!("pod {pod} terminated ({})\n{}", value::text(t, "reason"), value::text(t, "message")),
            code as i32,
        )),
        _ => text(format!("pod {pod} failed with unknown exit code")),
    }
}

fn ended(pod: &Value) -> bool {
    matches!(value::text(pod, "status.phase"), "Succeeded" | "Failed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::common::LAST_APPLIED;
    use crate::testing::{Server, refusal};

    const PODS: &str = "/api/v1/namespaces/default/pods";
    const SERVICES: &str = "/api/v1/namespaces/default/services";
    const RUN: [&str; 7] = ["run", "x", "-n", "default", "--image=i", "--expose", "--port=80"];

    #[tokio::test]
    async fn rm_removes_the_service_too() {
        let server = Server::start_with(|request| match (request.method.as_str(), request.path.as_str()) {
            ("GET", PODS) => {
                let pod = json!({"metadata": {"name": "x", "namespace": "default"},
                    "spec": {"containers": [{"name": "x"}]}, "status": {"phase": "Succeeded"}});
                Some((200, json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod]})))
            }
            _ => None,
        })
        .await;
        let result = server.kubectl(&[&RUN[..], &["--restart=Never", "-i", "--rm"][..]].concat()).await;
        let requests = server.requests();
        let deleted: Vec<&str> =
            requests.iter().filter(|a| a.method == "DELETE").map(|a| a.path.as_str()).collect();
        assert_eq!(deleted, [format!("{PODS}/x"), format!("{SERVICES}/x")], "{result:?}");
        let words = [&RUN[..], &["--restart=Never", "-i", "--rm", "--cascade=orphan"]].concat();
        server.kubectl(&words).await;
        let last = server.requests().into_iter().rfind(|request| request.method == "DELETE");
        assert_eq!(last.map(|request| request.body["propagationPolicy"].clone()), Some(json!("Orphan")));
    }

    #[tokio::test]
    async fn a_pod_that_does_not_end_is_not_waited_for_without_end() {
        let server = Server::start_with(|request| match (request.method.as_str(), request.path.as_str()) {
            ("GET", path) if path.ends_with("/log") => Some((200, json!("line"))),
            ("GET", PODS) if !request.query.contains("watch=true") => {
                let ready = json!([{"type": "Ready", "status": "True"}]);
                let pod = json!({"metadata": {"name": "x", "namespace": "default"},
                    "spec": {"containers": [{"name": "x"}]},
                    "status": {"phase": "Running", "conditions": ready}});
                Some((200, json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod]})))
            }
            _ => None,
        })
        .await;
        let flags = ["-n", "default", "-i", "--restart=OnFailure", "--pod-running-timeout=300ms"];
        let line = [&["run", "x", "--image=i"], &flags[..]].concat();
        let result = server.kubectl(&line);
        let limit = std::time::Duration::from_secs(20);
        let result = tokio::time::timeout(limit, result).await.expect("an end");
        let want = "error: timed out waiting for the condition\n";
        assert!(result.code == 1 && result.err.ends_with(want), "{result:?}");
    }

    #[tokio::test]
    async fn a_pod_runs_without_the_service_that_was_refused() {
        let server = Server::start_with(|request| {
            let service = request.method == "POST" && request.path == SERVICES;
            service.then(|| refusal(409, "AlreadyExists", "services \"x\" already exists"))
        })
        .await;
        let result = server.kubectl(&RUN).await;
        assert_eq!((result.code, result.out.as_str()), (1, "pod/x created\n"), "{result:?}");
        assert!(result.err.contains("already exists"), "{result:?}");
    }

    #[tokio::test]
    async fn a_service_has_the_labels_that_were_asked_for() {
        let over = r#"--overrides={"metadata": {"labels": {"c": "d"}}}"#;
        for (flags, labels, selector) in [
            (&[] as &[&str], Value::Null, json!({"run": "x"})),
            (&[over], Value::Null, json!({"run": "x"})),
            (&["--labels=a=b", over], json!({"a": "b"}), json!({"a": "b"})),
        ] {
            let server = Server::start().await;
            let result = server.kubectl(&[&RUN[..], flags].concat()).await;
            let made = server.object(&format!("{SERVICES}/x")).unwrap_or_default();
            assert_eq!(
                (&made["metadata"]["labels"], &made["spec"]["selector"]),
                (&labels, &selector),
                "{result:?}"
            );
        }
    }

    #[tokio::test]
    async fn save_config_is_about_all_that_is_made() {
        let server = Server::start().await;
        let result = server.kubectl(&[&RUN[..], &["--save-config"]].concat()).await;
        for path in [format!("{PODS}/x"), format!("{SERVICES}/x")] {
            let made = server.object(&path).unwrap_or_default();
            assert!(made["metadata"]["annotations"][LAST_APPLIED].is_string(), "{path}: {result:?}");
        }
        let line = [&RUN[..], &["--save-config", "--dry-run=client", "-o", "yaml"]].concat();
        let result = server.kubectl(&line).await;
        assert!(result.code == 0 && !result.out.contains(LAST_APPLIED), "{result:?}");
    }

    #[tokio::test]
    async fn flags_are_checked_before_the_server_is_asked() {
        let server = Server::away().await;
        for (flag, why) in [
            ("--image-pull-policy=Maybe", "error: invalid image pull policy: Maybe\n"),
            ("--env=1A=x", "error: invalid env: 1A=x\n"),
            ("--env==x", "error: invalid env: =x\n"),
            (
                "--pod-running-timeout=0",
                "error: --pod-running-timeout must be higher than zero\nSee 'kubectl",
            ),
            ("--env=A B=x", "error: invalid env: A B=x\n"),
            ("--annotations==x", "error: invalid annotations format: =x\n"),
            ("--labels=a=b=c", "error: unexpected label spec: a=b=c\n"),
            ("--labels==b", "error: unexpected empty label key\n"),
            ("--overrides={spec: {}}", "error: Invalid JSON Patch\n"),
            ("--overrides={\"spec\":5}", "error: json: cannot unmarshal number into Go struct field Pod."),
        ] {
            let result = server.kubectl(&["run", "x", "--image=i", "--dry-run=client", flag]).await;
            assert!(result.code == 1 && result.err.starts_with(why), "{flag}: {result:?}");
        }
    }

    #[tokio::test]
    async fn what_is_generated_has_the_fields_of_gos_struct() {
        let server = Server::start().await;
        let over = r#"--overrides={"spec": {"containers": [{"name": "x", "image": "j"}]}}"#;
        let line = ["run", "x", "--image=i", "--dry-run=client", "-o", "json", "--restart=", over];
        let result = server.kubectl(&line).await;
        let made: Value = serde_json::from_str(&result.out).unwrap_or_default();
        assert_eq!(made["spec"]["restartPolicy"], "Always", "{result:?}");
        assert_eq!(made["spec"]["containers"][0]["resources"], json!({}), "{result:?}");
        let result = server.kubectl(&[&RUN[..], &["--dry-run=client", "-o", "yaml"]].concat()).await;
        assert!(result.out.contains("\n---\n---\n"), "{result:?}");
    }

    #[tokio::test]
    async fn overrides_may_be_a_json_patch() {
        let server = Server::start().await;
        let patch = r#"--overrides=[{"op": "add", "path": "/spec/hostNetwork", "value": true}]"#;
        let line = ["run", "x", "--image=i", "--dry-run=client", "-o", "json", "--override-type=json", patch];
        let result = server.kubectl(&line).await;
        let made: Value = serde_json::from_str(&result.out).unwrap_or_default();
        assert_eq!(made["spec"]["hostNetwork"], true, "{result:?}");
        let line = ["run", "x", "--image=i", "--dry-run=client", "--overrides={}", "--override-type=Merge"];
        let result = server.kubectl(&line).await;
        assert_eq!((result.code, result.err.as_str()), (1, "error: invalid override type: Merge\n"));
    }
}
