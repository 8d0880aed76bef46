//! Containers of a pod or a pod template.

use super::text::{Text, capital, or_none, rfc1123};
use api::gostr::quote;
use api::quantity::{Quantity, as_stored};
use api::value;
use client::ESCAPED_IN_PATHS;
use percent_encoding::utf8_percent_encode;
use serde_json::Value;

/// `inset`: the template's extra indentation, or nothing. `pod`: where references to its own fields
/// are looked up.
pub(super) fn containers(
    text: &mut Text,
    label: &str,
    list: &[Value],
    statuses: &[Value],
    pod: Option<&Value>,
    inset: &str,
) {
    let none = if list.is_empty() { " <none>" } else { "" };
    text.line(0, format!("{inset}{label}:{none}"));
    for container in list {
        let name = value::text(container, "name");
        let status = statuses.iter().find(|s| value::text(s, "name") == name);
        let indent = if inset.is_empty() { "" } else { " " };
        text.line(1, format!("{indent}{name}:"));
        basics(text, container, status);
        for (title, key) in [("Command", "command"), ("Args", "args")] {
            words(text, title, value::list(container, key));
        }
        if let Some(status) = status {
            state(text, "State", value::at(status, "state"));
            if !value::at(status, "lastState.terminated").is_null() {
                state(text, "Last State", value::at(status, "lastState"));
            }
            text.field(2, "Ready", capital(value::flag(status, "ready")));
            text.field(2, "Restart Count", value::int(status, "restartCount").unwrap_or(0));
        }
        resources(text, 2, value::at(container, "resources"));
        for (title, key) in
            [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
        {
            let found = value::at(container, key);
            if !found.is_null() {
                text.field(2, title, probe(found));
            }
        }
        env_from(text, value::list(container, "envFrom"));
        env(text, container, pod);
        mounts(text, container);
    }
}

fn basics(text: &mut Text, container: &Value, status: Option<&Value>) {
    if let Some(status) = status {
        text.field(2, "Container ID", value::text(status, "containerID"));
    }
    text.field(2, "Image", value::text(container, "image"));
    if let Some(status) = status {
        text.field(2, "Image ID", value::text(status, "imageID"));
    }
    for (title, key) in [("Port", "containerPort"), ("Host Port", "hostPort")] {
        let list: Vec<String> = value::list(container, "ports")
            .iter()
            .map(|p| {
                let protocol = match value::text(p, "protocol") {
                    "" => "TCP",
                    protocol => protocol,
                };
                let name = match value::text(p, "name") {
                    "" => String::new(),
                    name => format!(" ({name})"),
                };
                format!("{}/{protocol}{name}", value::int(p, key).unwrap_or(0))
            })
            .collect();
        let joined = list.join(", ");
        let title = if list.len() > 1 { format!("{title}s") } else { title.to_string() };
        text.field(2, &title, or_none(&joined));
    }
    let profile = value::at(container, "securityContext.seccompProfile");
    if !profile.is_null() {
        text.field(2, "SeccompProfile", value::text(profile, "type"));
        if value::text(profile, "type") == "Localhost" {
            text.field(3, "LocalhostProfile", value::text(profile, "localhostProfile"));
        }
    }
}

fn words(text: &mut Text, title: &str, words: &[Value]) {
    if words.is_empty() {
        return;
    }
    text.line(2, format!("{title}:"));
    for word in words.iter().filter_map(Value::as_str) {
        word.split('\n').for_each(|part| text.line(3, part));
    }
}

fn state(text: &mut Text, title: &str, state: &Value) {
    let (running, waiting, terminated) = (&state["running"], &state["waiting"], &state["terminated"]);
    if !running.is_null() {
        text.field(2, title, "Running");
        text.field(3, "Started", rfc1123(value::text(running, "startedAt")));
    } else if !terminated.is_null() {
        text.field(2, title, "Terminated");
        for (name, key) in [("Reason", "reason"), ("Message", "message")] {
            if !value::empty(terminated, key) {
                text.field(3, name, value::text(terminated, key));
            }
        }
        text.field(3, "Exit Code", value::int(terminated, "exitCode").unwrap_or(0));
        if let Some(signal) = value::int(terminated, "signal").filter(|s| *s > 0) {
            text.field(3, "Signal", signal);
        }
        text.field(3, "Started", rfc1123(value::text(terminated, "startedAt")));
        text.field(3, "Finished", rfc1123(value::text(terminated, "finishedAt")));
    } else {
        text.field(2, title, "Waiting");
        if !value::empty(waiting, "reason") {
            text.field(3, "Reason", value::text(waiting, "reason"));
        }
    }
}

/// `Limits:` and `Requests:`
pub(super) fn resources(text: &mut Text, level: usize, resources: &Value) {
    for (title, key) in [("Limits", "limits"), ("Requests", "requests")] {
        let Some(map) = value::map(resources, key).filter(|m| !m.is_empty()) else { continue };
        text.line(level, format!("{title}:"));
        let mut names: Vec<&String> = map.keys().collect();
        names.sort();
        for name in names {
            text.field(level + 1, name, canonical(&map[name]));
        }
    }
}

/// A quantity as it is printed.
pub(super) fn canonical(quantity: &Value) -> String {
    let given = match quantity {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    };
    as_stored(&given).unwrap_or(given)
}

fn port_text(port: &Value) -> String {
    api::gostr::plain(port)
}

fn probe(probe: &Value) -> String {
    let number = |key: &str| value::int(probe, key).unwrap_or(0);
    let attributes = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds"),
        number("timeoutSeconds"),
        number("periodSeconds"),
        number("successThreshold"),
        number("failureThreshold")
    );
    let (exec, http, tcp, grpc) = (&probe["exec"], &probe["httpGet"], &probe["tcpSocket"], &probe["grpc"]);
    if !exec.is_null() {
        format!("exec {} {attributes}", api::gostr::plain(&exec["command"]))
    } else if !http.is_null() {
        let scheme = match value::text(http, "scheme") {
            "" => "http".to_string(),
            scheme => scheme.to_lowercase(),
        };
        let (host, path) = (value::text(http, "host"), value::text(http, "path"));
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
        let slash = if path.starts_with('/') || path.is_empty() { "" } else { "/" };
        let path = utf8_percent_encode(path, ESCAPED_IN_PATHS);
        format!("http-get {scheme}://{host}:{}{slash}{path} {attributes}", port_text(&http["port"]))
    } else if !tcp.is_null() {
        format!("tcp-socket {}:{} {attributes}", value::text(tcp, "host"), port_text(&tcp["port"]))
    } else if !grpc.is_null() {
        format!("grpc <pod>:{} {} {attributes}", port_text(&grpc["port"]), value::text(grpc, "service"))
    } else {
        format!("unknown {attributes}")
    }
}

fn env_from(text: &mut Text, list: &[Value]) {
    if list.is_empty() {
        return;
    }
    text.line(2, "Environment Variables from:");
    for source in list {
        let (kind, reference) = match source.get("configMapRef") {
            Some(reference) => ("ConfigMap", reference),
            None => ("Secret", &source["secretRef"]),
        };
        let prefix = match value::text(source, "prefix") {
            "" => String::new(),
            prefix => format!(" with prefix '{prefix}'"),
        };
        let optional = value::flag(reference, "optional");
        text.line(3, format!("{}\t{kind}{prefix}\tOptional: {optional}", value::text(reference, "name")));
    }
}

fn env(text: &mut Text, container: &Value, pod: Option<&Value>) {
    let list = value::list(container, "env");
    text.line(2, format!("Environment:{}", if list.is_empty() { "\t<none>" } else { "" }));
    for variable in list {
        let name = value::text(variable, "name");
        let from = value::at(variable, "valueFrom");
        let part = |path: &str| value::text(from, path);
        if from.is_null() {
            for (i, line) in value::text(variable, "value").split('\n').enumerate() {
                let head = if i == 0 { format!("{name}:") } else { String::new() };
                text.line(3, format!("{head}\t{line}"));
            }
        } else if from.get("fieldRef").is_some() {
            let path = part("fieldRef.fieldPath");
            let found = pod.map_or("", |pod| field_of(pod, path));
            text.line(3, format!("{name}:\t{found} ({}:{path})", part("fieldRef.apiVersion")));
        } else if from.get("resourceFieldRef").is_some() {
            let resource = part("resourceFieldRef.resource");
            text.line(
                3,
                format!("{name}:\t{} ({resource})", resource_of(container, &from["resourceFieldRef"])),
            );
        } else if let Some(key) = from.get("secretKeyRef") {
            text.line(
                3,
                format!(
                    "{name}:\t<set to the key '{}' in secret '{}'>\tOptional: {}",
                    value::text(key, "key"),
                    value::text(key, "name"),
                    value::flag(key, "optional")
                ),
            );
        } else if let Some(key) = from.get("configMapKeyRef") {
            text.line(
                3,
                format!(
                    "{name}:\t<set to the key '{}' of config map '{}'>\tOptional: {}",
                    value::text(key, "key"),
                    value::text(key, "name"),
                    value::flag(key, "optional")
                ),
            );
        }
    }
}

/// The value of a `fieldRef`. kubectl resolves what every kind can be selected by
/// (`DefaultMetaV1FieldSelectorConversion`), and shows nothing of labels or the UID.
fn field_of<'a>(pod: &'a Value, path: &str) -> &'a str {
    match path {
        "metadata.name" | "metadata.namespace" => value::text(pod, path),
        _ => "",
    }
}

/// Returns the value of a `resourceFieldRef`: the amount in units of the divisor, rounded up.
/// Source: kubectl, `ExtractContainerResourceValue`.
fn resource_of(container: &Value, reference: &Value) -> String {
    let resource = value::text(reference, "resource");
    let known =
        |name: &str| matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    let parts = resource.split_once('.');
    let Some((list @ ("limits" | "requests"), name)) = parts.filter(|(_, name)| known(name)) else {
        return String::new();
    };
    let quantity = |found: &Value| Quantity::parse(&api::gostr::plain(found));
    let measure = |q: Quantity| if name == "cpu" { q.milli() } else { q.units() };
    let divisor = quantity(&reference["divisor"]).filter(|q| !q.is_zero()).unwrap_or(Quantity::of_units(1));
    let amount = quantity(&value::at(container, &format!("resources.{list}"))[name]).map_or(0, measure);
    match (amount as f64 / measure(divisor) as f64).ceil() as i64 {
        0 if matches!(resource, "limits.cpu" | "limits.memory") => "node allocatable".into(),
        units => units.to_string(),
    }
}

fn mounts(text: &mut Text, container: &Value) {
    let mut list: Vec<&Value> = value::list(container, "volumeMounts").iter().collect();
    let none = if list.is_empty() { "\t<none>" } else { "" };
    text.line(2, format!("Mounts:{none}"));
    list.sort_by_key(|m| value::text(m, "mountPath"));
    for mount in list {
        let mut flags = if value::flag(mount, "readOnly") { "ro".to_string() } else { "rw".to_string() };
        if !value::empty(mount, "subPath") {
            flags.push_str(&format!(",path={}", quote(value::text(mount, "subPath"))));
        }
        text.line(
            3,
            format!("{} from {} ({flags})", value::text(mount, "mountPath"), value::text(mount, "name")),
        );
    }
    let mut devices: Vec<&Value> = value::list(container, "volumeDevices").iter().collect();
    devices.sort_by_key(|device| value::text(device, "devicePath"));
    if !devices.is_empty() {
        // As in kubectl, `<none>` stands here if the container has no mounts.
        text.line(2, format!("Devices:{none}"));
        for device in devices {
            text.line(
                3,
                format!("{} from {}", value::text(device, "devicePath"), value::text(device, "name")),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_resource_reference_is_in_units_of_its_divisor() {
        let limits = json!({"cpu": "500m", "memory": "64Mi", "hugepages-2Mi": "4Mi"});
        let container = json!({"resources": {"limits": limits}});
        for (container, resource, divisor, want) in [
            (&container, "limits.cpu", "1m", "500"),
            (&container, "limits.cpu", "0", "1"),
            (&container, "limits.cpu", "", "1"),
            (&container, "limits.memory", "1Mi", "64"),
            (&container, "limits.memory", "", "67108864"),
            (&container, "limits.hugepages-2Mi", "1Mi", "4"),
            (&container, "requests.cpu", "1m", "0"),
            (&container, "limits.ephemeral-storage", "", "0"),
            (&container, "limits.example.com/gpu", "", ""),
            (&json!({}), "limits.cpu", "1m", "node allocatable"),
            (&json!({}), "limits.memory", "", "node allocatable"),
            (&json!({}), "requests.memory", "", "0"),
        ] {
            let reference = json!({"resource": resource, "divisor": divisor});
            assert_eq!(resource_of(container, &reference), want, "{reference}");
        }
    }

    #[test]
    fn a_field_reference_shows_name_and_namespace_alone() {
        let metadata = json!({"name": "web", "namespace": "shop", "uid": "u", "labels": {"a": "b"}});
        let pod = json!({"metadata": metadata, "spec": {"nodeName": "n"}});
        for (path, want) in [
            ("metadata.name", "web"),
            ("metadata.namespace", "shop"),
            ("metadata.uid", ""),
            ("metadata.labels['a']", ""),
            ("spec.nodeName", ""),
        ] {
            assert_eq!(field_of(&pod, path), want, "{path}");
        }
    }

    #[test]
    fn a_profile_of_this_machine_is_named() {
        let profile = json!({"type": "Localhost", "localhostProfile": "p.json"});
        let mut text = Text::default();
        basics(&mut text, &json!({"securityContext": {"seccompProfile": profile}}), None);
        let printed = text.finish();
        assert!(printed.contains("    SeccompProfile:      Localhost\n"), "{printed}");
        assert!(printed.contains("      LocalhostProfile:  p.json\n"), "{printed}");
    }

    #[test]
    fn the_url_of_a_probe_is_escaped_as_go_does() {
        for (host, path, want) in [
            ("", "/healthz", "http://:80/healthz"),
            ("", "", "http://:80"),
            ("::1", "live z", "http://[::1]:80/live%20z"),
            ("h", "/a?b=c&d#e", "http://h:80/a%3Fb=c&d%23e"),
        ] {
            let printed = probe(&json!({"httpGet": {"host": host, "path": path, "port": 80}}));
            assert!(printed.starts_with(&format!("http-get {want} delay=0s")), "{printed}");
        }
    }

    #[test]
    fn devices_are_sorted_by_their_paths() {
        let device = |path: &str| json!({"devicePath": path, "name": "d"});
        let mut text = Text::default();
        mounts(&mut text, &json!({"volumeDevices": [device("/dev/b"), device("/dev/a")]}));
        let want = "    Mounts:\t<none>\n    Devices:\t<none>\n      /dev/a from d\n      /dev/b from d\n";
        assert_eq!(text.plain(), want);
    }
}
