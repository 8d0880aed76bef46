//! What a profile of `debug` changes in a pod. Source: kubectl, `pkg/cmd/debug/profiles.go`.

use crate::ctx::Ctx;
use crate::error::{Fail, go_io};
use crate::manifest;
use api::strategic;
use api::value::{self, at, text};
use serde_json::{Value, json};

/// The names that `--profile` takes.
pub(super) const PROFILES: [&str; 6] =
    ["legacy", "general", "baseline", "netadmin", "restricted", "sysadmin"];

/// The two ways to debug a pod, for which a profile differs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Ephemeral,
    Copy,
}

/// Finds a container of a pod by its name, among regular, init and ephemeral ones.
pub(super) fn container_mut<'a>(pod: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let found = lists.iter().find_map(|list| {
        let all = value::list(pod, &format!("spec.{list}"));
        Some((list, all.iter().position(|c| text(c, "name") == name)?))
    });
    let (list, index) = found?;
    value::list_mut(pod, &format!("spec.{list}")).get_mut(index)
}

/// Appends to a list, which is made if it is not there.
pub(super) fn push(object: &mut Value, path: &str, item: Value) {
    match value::slot(object, path) {
        Value::Array(list) => list.push(item),
        other => *other = vec![item].into(),
    }
}

/// Applies the profile of the command line to a pod and its debug container.
pub(super) fn apply(ctx: &Ctx, pod: &mut Value, container: &str, style: Style) {
    let profile = ctx.flags.text("profile");
    if style == Style::Copy {
        match profile {
            "legacy" => drop(value::remove(pod, "metadata.labels")),
            _ => strip(ctx, pod),
        }
    }
    let Some(container) = container_mut(pod, container) else { return };
    if matches!(profile, "baseline" | "restricted") {
        value::remove(container, "securityContext");
    }
    match profile {
        "general" => add_capabilities(container, &["SYS_PTRACE"]),
        "netadmin" => add_capabilities(container, &["NET_ADMIN", "NET_RAW"]),
        "sysadmin" => value::put(container, "securityContext.privileged", true),
        "restricted" => value::put(
            container,
            "securityContext",
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}),
        ),
        _ => {}
    }
}

/// Takes out of a copy what would make it count as the original, unless a flag keeps it, and lets
/// its containers see each other's processes, unless the pod or a flag decided that.
fn strip(ctx: &Ctx, pod: &mut Value) {
    for (path, keep) in [
        ("metadata.labels", "keep-labels"),
        ("metadata.annotations", "keep-annotations"),
        ("spec.initContainers", "keep-init-containers"),
    ] {
        if !ctx.flags.is(keep) {
            value::remove(pod, path);
        }
    }
    for container in value::list_mut(pod, "spec.containers") {
        for (probe, keep) in [
            ("livenessProbe", "keep-liveness"),
            ("readinessProbe", "keep-readiness"),
            ("startupProbe", "keep-startup"),
        ] {
            if !ctx.flags.is(keep) {
                value::remove(container, probe);
            }
        }
    }
    value::default(pod, "spec.shareProcessNamespace", true);
}

fn add_capabilities(container: &mut Value, names: &[&str]) {
    let added = value::slot(container, "securityContext.capabilities.add");
    let mut all = added.as_array().cloned().unwrap_or_default();
    all.extend(names.iter().map(|name| json!(name)));
    *added = all.into();
}

/// Reads the file of `--custom`, a part of a container's specification as JSON or YAML. `None`
/// without that flag, and for an empty file. As in Go's structures null is as good as nothing.
///
/// # Errors
/// [`Fail::Text`] in kubectl's words: the file cannot be read, or is no map.
pub(super) fn custom(ctx: &Ctx) -> Result<Option<Value>, Fail> {
    let file = ctx.flags.text("custom");
    if file.is_empty() {
        return Ok(None);
    }
    let bytes = std::fs::read(ctx.path(file)).map_err(|error| {
        let why = go_io(&error);
        Fail::Text(format!("must pass a container spec json file for custom profile: open {file}: {why}"))
    })?;
    let invalid = |why: String| Fail::Text(format!("{file} does not contain a valid container spec: {why}"));
    let found = match manifest::yaml_to_json(&bytes).map_err(invalid)? {
        Value::Null => return Ok(None),
        Value::Object(mut custom) => {
            custom.retain(|_, given| !given.is_null());
            return Ok(Some(custom.into()));
        }
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
    };
    Err(invalid(format!("json: cannot unmarshal {found} into Go value of type v1.Container")))
}

/// Refuses a custom profile that says what other flags say, or what no debug container has.
///
/// # Errors
/// [`Fail::Text`] in kubectl's words.
pub(super) fn check_custom(custom: &Value) -> Result<(), Fail> {
    let fixed = ["name", "command", "image", "lifecycle", "volumeDevices"];
    match fixed.iter().all(|field| value::empty(custom, field)) {
        true => Ok(()),
        false => Err(Fail::Text(
            "name, command, image, lifecycle and volume devices are not modifiable via custom profile".into(),
        )),
    }
}

/// Puts a custom profile over the container `name` in `list` of a pod, as a strategic merge patch:
/// a variable that both have gets the profile's value, and others stay.
///
/// # Errors
/// [`Fail::Text`]: the list has no such container (an init container is none of a copy's), or the
/// patch does not fit.
pub(super) fn customize(pod: &mut Value, list: &str, name: &str, custom: &Value) -> Result<(), Fail> {
    let is_there = value::list(pod, &format!("spec.{list}")).iter().any(|c| text(c, "name") == name);
    if !is_there {
        let own = text(pod, "metadata.name");
        return Err(Fail::Text(format!("unable to find the {name} container in the pod {own}")));
    }
    let mut over = custom.clone();
    value::put(&mut over, "name", name);
    strategic::apply("Pod", pod, &json!({"spec": {list: [over]}})).map_err(Fail::Text)
}

/// Returns whether a container was given rights that it may not have, because the whole pod runs
/// as another user than root.
pub(super) fn lacks_root(pod: &Value, container: &Value) -> bool {
    let user = |of: &Value| value::int(of, "securityContext.runAsUser");
    let granted = value::flag(container, "securityContext.privileged")
        || !value::list(container, "securityContext.capabilities.add").is_empty();
    let whole = user(at(pod, "spec")).is_some_and(|id| id != 0);
    whole && user(container) != Some(0) && granted
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use serde_json::json;

    const POD: &str = "/api/v1/namespaces/default/pods/p";

    #[tokio::test]
    async fn a_custom_profile_lies_over_the_one_that_is_named() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
            "spec": {"initContainers": [{"name": "init"}],
                "containers": [{"name": "a", "image": "i", "env": [{"name": "A", "value": "1"}]}]}});
        server.hold(POD, pod.clone());
        server.hold(&format!("{POD}/ephemeralcontainers"), pod);
        let file = dir.path().join("custom.yaml");
        let custom = "{securityContext: {runAsUser: 0}, env: [{name: B, value: '2'}], args: null}";
        std::fs::write(&file, custom).unwrap();
        let custom = format!("--custom={}", file.display());
        let debug = async |flags: &[&str]| {
            let line = ["debug", "p", "--profile=netadmin", &custom];
            server.kubectl(&[&line[..], flags].concat()).await
        };
        let result = debug(&["--image=busybox", "-c", "d"]).await;
        assert_eq!(result.code, 0, "{result:?}");
        let sent = server.requests().into_iter().find(|request| request.method == "PATCH").unwrap().body;
        let added = &sent["spec"]["ephemeralContainers"][0];
        let rights = json!({"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}, "runAsUser": 0});
        assert_eq!((&added["securityContext"], &added["image"]), (&rights, &json!("busybox")));
        assert_eq!(added["env"], json!([{"name": "B", "value": "2"}]));

        let result = debug(&["--copy-to=c", "-c", "a", "--", "sh"]).await;
        assert_eq!(result.code, 0, "{result:?}");
        let made = server.requests().into_iter().find(|request| request.method == "POST").unwrap().body;
        let copied = &made["spec"]["containers"][0];
        assert_eq!((&copied["securityContext"], &copied["command"]), (&rights, &json!(["sh"])));
        assert_eq!(copied["env"].as_array().map(Vec::len), Some(2), "both variables: {copied}");

        let result = debug(&["--copy-to=d", "-c", "init", "--keep-init-containers", "--", "sh"]).await;
        let want = "error: unable to find the init container in the pod d\n";
        assert_eq!((result.code, result.err.as_str()), (1, want));
    }

    #[tokio::test]
    async fn a_custom_profile_is_a_part_of_a_container() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("custom.json");
        let custom = format!("--custom={}", file.display());
        let line = ["debug", "p", "--image=busybox", &custom];
        let missing = server.kubectl(&line).await;
        assert!(missing.err.contains("must pass a container spec json file"), "{missing:?}");
        for (text, why) in [
            (r#"{"image": "nginx"}"#, "image, lifecycle and volume devices are not modifiable"),
            (r#"{"command": ["sh"]}"#, "name, command, image"),
            ("[]", "json: cannot unmarshal array into Go value of type v1.Container"),
        ] {
            std::fs::write(&file, text).unwrap();
            let result = server.kubectl(&line).await;
            assert!(result.code == 1 && result.err.contains(why), "{text}: {result:?}");
        }
        assert!(server.requests().is_empty(), "nothing was asked");
    }
}
