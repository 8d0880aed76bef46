//! A container's environment and command line: references to other objects, service variables,
//! `$(NAME)`.

use super::prober::spec_of;
use api::requests::Amount;
use k8s_openapi::api::core::v1::{ConfigMap, Container as Spec, Pod, Secret, Service};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a container refers to of the objects of its pod's namespace.
#[derive(Default)]
pub(crate) struct Sources {
    pub config_maps: BTreeMap<String, ConfigMap>,
    pub secrets: BTreeMap<String, Secret>,
}

/// The keys of one ConfigMap or Secret that a container refers to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    /// `envFrom`: every key.
    all: bool,
    named: BTreeSet<String>,
}

impl Keys {
    fn has(&self, key: &str) -> bool {
        self.all || self.named.contains(key)
    }
}

impl Sources {
    /// Keeps the values of a ConfigMap that the container refers to, and drops the rest.
    ///
    /// # Errors
    /// Together with what is kept already they have more than [`ALL_MAX`] bytes; `left` says how
    /// many may still come.
    pub(crate) fn keep_config_map(
        &mut self,
        name: &str,
        map: ConfigMap,
        keys: &Keys,
        left: &mut usize,
    ) -> Result<(), String> {
        let mut data = map.data.unwrap_or_default();
        data.retain(|key, _| keys.has(key));
        data.iter().try_for_each(|(key, value)| fetch(left, size(key, value)))?;
        self.config_maps.insert(name.into(), ConfigMap { data: Some(data), ..ConfigMap::default() });
        Ok(())
    }

    /// As [`Sources::keep_config_map`], for a Secret.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn keep_secret(
        &mut self,
        name: &str,
        secret: Secret,
        keys: &Keys,
        left: &mut usize,
    ) -> Result<(), String> {
        let mut data = secret.data.unwrap_or_default();
        data.retain(|key, _| keys.has(key));
        data.iter().try_for_each(|(key, value)| fetch(left, size(key, &value.0)))?;
        self.secrets.insert(name.into(), Secret { data: Some(data), ..Secret::default() });
        Ok(())
    }
}

/// Takes the bytes of a fetched value from what a container may refer to.
fn fetch(left: &mut usize, bytes: usize) -> Result<(), String> {
    let what = "the values of ConfigMaps and Secrets that the container refers to";
    *left = left.checked_sub(bytes).ok_or_else(|| too_long(what, ALL_MAX))?;
    Ok(())
}

/// ConfigMaps and Secrets by name, with the keys that a container takes variables from.
pub(crate) fn needs(spec: &Spec) -> (BTreeMap<String, Keys>, BTreeMap<String, Keys>) {
    let (mut maps, mut secrets) = (BTreeMap::<String, Keys>::new(), BTreeMap::<String, Keys>::new());
    for from in spec.env_from.iter().flatten() {
        if let Some(r) = &from.config_map_ref {
            maps.entry(r.name.clone()).or_default().all = true;
        }
        if let Some(r) = &from.secret_ref {
            secrets.entry(r.name.clone()).or_default().all = true;
        }
    }
    for from in spec.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
        if let Some(r) = &from.config_map_key_ref {
            maps.entry(r.name.clone()).or_default().named.insert(r.key.clone());
        }
        if let Some(r) = &from.secret_key_ref {
            secrets.entry(r.name.clone()).or_default().named.insert(r.key.clone());
        }
    }
    (maps, secrets)
}

/// The variables of Services, which are counted as they are made.
struct Counted {
    variables: Vec<(String, String)>,
    left: usize,
}

impl Counted {
    fn add(&mut self, name: String, value: String) -> Result<(), String> {
        self.left = self.left.checked_sub(size(&name, &value)).ok_or_else(|| {
            let what = "the variables of the namespace's Services";
            format!("{}; set enableServiceLinks: false in the pod", too_long(what, ALL_MAX))
        })?;
        self.variables.push((name, value));
        Ok(())
    }
}

/// `KUBERNETES_SERVICE_HOST` and its kind, for the services a pod of `namespace` may use by name. A
/// port has four or five variables, and the API bounds neither the ports of a Service nor the
/// Services of a namespace.
///
/// # Errors
/// They have more than [`ALL_MAX`] bytes. No more than that is ever made.
pub(crate) fn service_variables(
    services: &[Arc<Service>],
    namespace: &str,
    links: bool,
) -> Result<Vec<(String, String)>, String> {
    let mut all = Counted { variables: Vec::new(), left: ALL_MAX };
    for service in services {
        let meta = &service.metadata;
        let (name, ns) =
            (meta.name.as_deref().unwrap_or_default(), meta.namespace.as_deref().unwrap_or_default());
        let master = ns == "default" && name == "kubernetes";
        let of_its_own = links && ns == namespace;
        if !master && !of_its_own {
            continue;
        }
        let Some(spec) = &service.spec else { continue };
        let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else {
            continue;
        };
        let prefix = name.to_uppercase().replace(['-', '.'], "_");
        let ports = spec.ports.as_deref().unwrap_or_default();
        let Some(first) = ports.first() else { continue };
        all.add(format!("{prefix}_SERVICE_HOST"), ip.to_string())?;
        all.add(format!("{prefix}_SERVICE_PORT"), first.port.to_string())?;
        for port in ports.iter().filter(|p| p.name.as_deref().is_some_and(|n| !n.is_empty())) {
            let name = port.name.as_deref().unwrap_or_default().to_uppercase().replace('-', "_");
            all.add(format!("{prefix}_SERVICE_PORT_{name}"), port.port.to_string())?;
        }
        let protocol = |p: &Option<String>| p.clone().unwrap_or_else(|| "TCP".into());
        let url = |p: &k8s_openapi::api::core::v1::ServicePort| {
            format!("{}://{ip}:{}", protocol(&p.protocol).to_lowercase(), p.port)
        };
        all.add(format!("{prefix}_PORT"), url(first))?;
        for port in ports {
            let name = format!("{prefix}_PORT_{}_{}", port.port, protocol(&port.protocol).to_uppercase());
            all.add(name.clone(), url(port))?;
            all.add(format!("{name}_PROTO"), protocol(&port.protocol).to_lowercase())?;
            all.add(format!("{name}_PORT"), port.port.to_string())?;
            all.add(format!("{name}_ADDR"), ip.to_string())?;
        }
    }
    Ok(all.variables)
}

/// What the pod itself can tell: `fieldRef` paths.
pub(crate) struct Facts<'a> {
    pub pod: &'a Pod,
    pub node_name: &'a str,
    pub node_ip: String,
    pub pod_ip: String,
    /// What the node has to give to pods.
    pub allocatable: Amount,
}

impl Facts<'_> {
    /// The value of a `fieldPath`, e.g. `metadata.labels['app']`. An error names an unknown path.
    pub(crate) fn field(&self, path: &str) -> Result<String, String> {
        let meta = &self.pod.metadata;
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let keyed = |map: &Option<BTreeMap<String, String>>, key: &str| {
            map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default()
        };
        if let Some(key) = path.strip_prefix("metadata.labels['").and_then(|p| p.strip_suffix("']")) {
            return Ok(keyed(&meta.labels, key));
        }
        if let Some(key) = path.strip_prefix("metadata.annotations['").and_then(|p| p.strip_suffix("']")) {
            return Ok(keyed(&meta.annotations, key));
        }
        let lines = |map: &Option<BTreeMap<String, String>>| {
            map.iter().flatten().map(|(k, v)| format!("{k}={v:?}")).collect::<Vec<_>>().join("\n")
        };
        Ok(match path {
            "metadata.name" => text(&meta.name),
            "metadata.namespace" => text(&meta.namespace),
            "metadata.uid" => text(&meta.uid),
            "metadata.labels" => lines(&meta.labels),
            "metadata.annotations" => lines(&meta.annotations),
            "spec.nodeName" => self.node_name.to_string(),
            "spec.serviceAccountName" => {
                self.pod.spec.as_ref().and_then(|s| s.service_account_name.clone()).unwrap_or_default()
            }
            "status.hostIP" | "status.hostIPs" => self.node_ip.clone(),
            "status.podIP" | "status.podIPs" => self.pod_ip.clone(),
            other => return Err(format!("unsupported fieldPath: {other}")),
        })
    }
}

/// The value of a Secret as a variable.
///
/// # Errors
/// It is no text. Kubernetes 1.35 starts no container with such a value either ("string field
/// contains invalid UTF-8"): it would have another key than the Secret.
fn text(value: &[u8], key: &str, secret: &str) -> Result<String, String> {
    let text = std::str::from_utf8(value).map(str::to_string);
    text.map_err(|_| {
        format!("key {key} of secret {secret:?} is not valid UTF-8; use it as a file of a volume instead")
    })
}

/// The container's own variables, in order, on top of the service variables. An error is the
/// message of `CreateContainerConfigError`.
pub(crate) fn of(
    spec: &Spec,
    facts: &Facts,
    sources: &Sources,
    services: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, String> {
    let mut own: Vec<(String, String)> = Vec::new();
    let mut left = ALL_MAX;
    services.iter().try_for_each(|(name, value)| take(&mut left, size(name, value)))?;
    let namespace = facts.pod.metadata.namespace.as_deref().unwrap_or("default");
    for from in spec.env_from.iter().flatten() {
        let prefix = from.prefix.clone().unwrap_or_default();
        if let Some(r) = &from.config_map_ref {
            match sources.config_maps.get(&r.name) {
                Some(map) => {
                    for (k, v) in map.data.iter().flatten() {
                        take(&mut left, prefix.len() + size(k, v))?;
                        own.push((format!("{prefix}{k}"), v.clone()));
                    }
                }
                None if r.optional == Some(true) => {}
                None => return Err(format!("configmap {:?} not found", r.name)),
            }
        }
        if let Some(r) = &from.secret_ref {
            match sources.secrets.get(&r.name) {
                Some(secret) => {
                    for (k, v) in secret.data.iter().flatten() {
                        take(&mut left, prefix.len() + size(k, &v.0))?;
                        own.push((format!("{prefix}{k}"), text(&v.0, k, &r.name)?));
                    }
                }
                None if r.optional == Some(true) => {}
                None => return Err(format!("secret {:?} not found", r.name)),
            }
        }
    }
    let known: BTreeMap<String, String> = services.iter().cloned().collect();
    // The last of each name; a pod may have thousands.
    let mut last: BTreeMap<String, usize> =
        own.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
    for variable in spec.env.iter().flatten() {
        let value = match &variable.value_from {
            None => {
                let lookup = |name: &str| match last.get(name) {
                    Some(at) => Some(own[*at].1.clone()),
                    None => known.get(name).cloned(),
                };
                expand(variable.value.as_deref().unwrap_or_default(), lookup)?
            }
            Some(from) => {
                if let Some(r) = &from.config_map_key_ref {
                    let optional = r.optional == Some(true);
                    match sources.config_maps.get(&r.name) {
                        Some(map) => match map.data.as_ref().and_then(|d| d.get(&r.key)) {
                            Some(value) => value.clone(),
                            None if optional => continue,
                            None => {
                                return Err(format!(
                                    "couldn't find key {} in ConfigMap {namespace}/{}",
                                    r.key, r.name
                                ));
                            }
                        },
                        None if optional => continue,
                        None => return Err(format!("configmap {:?} not found", r.name)),
                    }
                } else if let Some(r) = &from.secret_key_ref {
                    let optional = r.optional == Some(true);
                    match sources.secrets.get(&r.name) {
                        Some(secret) => match secret.data.as_ref().and_then(|d| d.get(&r.key)) {
                            Some(value) => text(&value.0, &r.key, &r.name)?,
                            None if optional => continue,
                            None => {
                                return Err(format!(
                                    "couldn't find key {} in Secret {namespace}/{}",
                                    r.key, r.name
                                ));
                            }
                        },
                        None if optional => continue,
                        None => return Err(format!("secret {:?} not found", r.name)),
                    }
                } else if let Some(r) = &from.field_ref {
                    facts.field(&r.field_path)?
                } else if let Some(r) = &from.resource_field_ref {
                    let named = r.container_name.as_deref().filter(|name| !name.is_empty());
                    let of = match named {
                        Some(name) => {
                            spec_of(facts.pod, name).ok_or_else(|| format!("container {name} not found"))?
                        }
                        None => spec,
                    };
                    super::container::resource_field(
                        of,
                        &r.resource,
                        r.divisor.as_ref().map(|d| d.0.as_str()),
                        &facts.allocatable,
                    )?
                } else {
                    String::new()
                }
            }
        };
        take(&mut left, size(&variable.name, &value))?;
        last.insert(variable.name.clone(), own.len());
        own.push((variable.name.clone(), value));
    }
    let mut all = services;
    let mut places: BTreeMap<String, usize> =
        all.iter().enumerate().rev().map(|(at, (name, _))| (name.clone(), at)).collect();
    for (name, value) in own {
        match places.get(&name) {
            Some(at) => all[*at].1 = value,
            None => {
                places.insert(name.clone(), all.len());
                all.push((name, value));
            }
        }
    }
    Ok(all)
}

/// Bytes of one value or argument after its references are replaced: the kernel takes no longer one
/// (`MAX_ARG_STRLEN`; execve(2)).
const STRING_MAX: usize = 128 << 10;
/// Bytes of all values, or of all arguments, of one container: more than the kernel takes (a
/// quarter of the stack's limit, at most 6 MiB).
pub(crate) const ALL_MAX: usize = 8 << 20;

/// Bytes of the largest environment that is remembered for the time when no API server answers.
pub(crate) const REMEMBERED_MAX: usize = 32 << 10;

/// Bytes that a variable takes: of its text, and of the two `String`s that hold it. Short ones are
/// mostly the latter.
fn size(name: &str, value: impl AsRef<[u8]>) -> usize {
    name.len() + value.as_ref().len() + 2 * size_of::<String>()
}

/// Can these variables be remembered? A container with more of them waits for the API server when
/// it has to start again.
pub(crate) fn is_small(variables: &[(String, String)]) -> bool {
    variables.iter().map(|(name, value)| size(name, value)).sum::<usize>() <= REMEMBERED_MAX
}

/// Takes the bytes of one more string from what is left of [`ALL_MAX`].
///
/// # Errors
/// Nothing is left.
pub(crate) fn take(left: &mut usize, bytes: usize) -> Result<(), String> {
    *left = left.checked_sub(bytes).ok_or_else(|| too_long("all values together", ALL_MAX))?;
    Ok(())
}

fn too_long(what: &str, most: usize) -> String {
    format!("argument list too long: {what} have more than {most} bytes")
}

/// Replaces `$(NAME)` by the variable's value; unknown names stay, `$$` is a plain dollar.
/// Variables may refer to earlier ones, so a few lines could ask for any length (`B: $(A)$(A)`, `C:
/// $(B)$(B)`, …).
///
/// # Errors
/// The result is longer than [`STRING_MAX`] although the text is not.
pub(crate) fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let most = STRING_MAX.max(text.len());
    let mut out = String::new();
    let mut rest = text;
    let mut closes = true; // looked for once, so that many open brackets take no longer than their number
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let bracket = rest.strip_prefix('(').filter(|_| closes);
        let reference = bracket.and_then(|r| r.split_once(')'));
        closes &= bracket.is_none() || reference.is_some();
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = reference {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
        if out.len() > most {
            return Err(too_long("the references of one value", most));
        }
    }
    out.push_str(rest);
    if out.len() > most { Err(too_long("the references of one value", most)) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million empty values are few bytes of text, and much memory.
    #[test]
    fn variables_are_bounded_by_number_too() {
        let mut left = ALL_MAX;
        let taken = (0..1_000_000).take_while(|_| take(&mut left, size("A", "")).is_ok()).count();
        assert!(taken <= ALL_MAX / 48, "{taken}");
        let many = |n: usize| vec![("A".to_string(), String::new()); n];
        assert!(is_small(&many(100)) && !is_small(&many(1000)));
    }

    #[test]
    fn expansion_follows_the_api() {
        let lookup = |n: &str| (n == "A").then(|| "x".to_string());
        let plain = |text: &str| expand(text, lookup).unwrap();
        assert_eq!(plain("$(A)-$(B)-$$(A)-$A-$"), "x-$(B)-$(A)-$A-$");
        assert_eq!(plain("$(A-$(A)-$$-$("), "$(A-$(A)-$-$(", "the name ends at the first bracket");
        assert_eq!(plain(&"$(".repeat(1 << 20)).len(), 2 << 20);
    }

    /// A few lines of a pod would otherwise take all memory of the program, which is the whole
    /// cluster.
    #[test]
    fn references_that_multiply_are_refused_before_they_are_made() {
        let value = |of: &str| format!("$({of})").repeat(1000);
        let mut env = vec![serde_json::json!({"name": "V0", "value": "x".repeat(1000)})];
        env.extend(
            (1..9).map(
                |n| serde_json::json!({"name": format!("V{n}"), "value": value(&format!("V{}", n - 1))}),
            ),
        );
        let with = |container: serde_json::Value, sources: &Sources| {
            let pod = serde_json::json!({"metadata": {"name": "p"}, "spec": {"containers": [container]}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            let (node_ip, pod_ip) = (String::new(), String::new());
            let facts = Facts { pod: &pod, node_name: "n", node_ip, pod_ip, allocatable: Amount::default() };
            of(&pod.spec.as_ref().unwrap().containers[0], &facts, sources, vec![])
        };
        let refused = with(serde_json::json!({"name": "c", "env": env}), &Sources::default()).unwrap_err();
        assert!(refused.starts_with("argument list too long"), "{refused}");
        // One large object under many names.
        let mut sources = Sources::default();
        let data = Some([("k".to_string(), "x".repeat(1 << 20))].into());
        sources.config_maps.insert("large".into(), ConfigMap { data, ..ConfigMap::default() });
        let from = (0..1000)
            .map(|n| serde_json::json!({"prefix": format!("P{n}"), "configMapRef": {"name": "large"}}));
        let from: Vec<_> = from.collect();
        assert!(with(serde_json::json!({"name": "c", "envFrom": from}), &sources).is_err());
        let key = serde_json::json!({"configMapKeyRef": {"name": "large", "key": "k"}});
        let env = (0..1000).map(|n| serde_json::json!({"name": format!("V{n}"), "valueFrom": key}));
        assert!(with(serde_json::json!({"name": "c", "env": env.collect::<Vec<_>>()}), &sources).is_err());
        let one = serde_json::json!({"name": "c", "env": [{"name": "A", "valueFrom": key}]});
        assert_eq!(
            with(one, &sources).unwrap()[0].1.len(),
            1 << 20,
            "one such value is the kernel's to refuse"
        );
    }

    /// The API bounds neither the ports of a Service nor the Services of a namespace.
    #[test]
    fn variables_of_services_are_counted_before_they_are_made() {
        let service = |name: &str, ports: i32| -> Arc<Service> {
            let port = |n: i32| serde_json::json!({"name": format!("p{n}"), "port": n});
            let ports: Vec<_> = (1..=ports).map(port).collect();
            let meta = serde_json::json!({"namespace": "d", "name": name});
            let spec = serde_json::json!({"clusterIP": "10.96.0.9", "ports": ports});
            Arc::new(serde_json::from_value(serde_json::json!({"metadata": meta, "spec": spec})).unwrap())
        };
        let small = service_variables(&[service("web", 2)], "d", true).unwrap();
        assert_eq!(small.len(), 3 + 2 * 5, "host, port and URL, then five for each port");
        let large = service(&"x".repeat(63), 5_000);
        let refused = service_variables(&vec![large.clone(); 30], "d", true).unwrap_err();
        assert!(refused.contains("Services") && refused.contains("enableServiceLinks: false"), "{refused}");
        assert_eq!(service_variables(&vec![large; 30], "d", false), Ok(vec![]));
        // They count together with the container's own.
        let services = vec![("A".to_string(), "x".repeat(ALL_MAX - 100))];
        let pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {"name": "p"}, "spec": {
            "containers": [{"name": "c", "env": [{"name": "B", "value": "x".repeat(100)}]}]}}))
        .unwrap();
        let (node_ip, pod_ip) = (String::new(), String::new());
        let facts = Facts { pod: &pod, node_name: "n", node_ip, pod_ip, allocatable: Amount::default() };
        let spec = &pod.spec.as_ref().unwrap().containers[0];
        assert!(of(spec, &facts, &Sources::default(), services).unwrap_err().contains("8388608 bytes"));
    }

    /// Only what the container refers to is kept of an object, and no more than a container may
    /// have.
    #[test]
    fn objects_that_variables_come_from_are_counted_as_they_are_fetched() {
        let key = |kind: &str, name: &str, key: &str| serde_json::json!({"name": "V", "valueFrom": {kind: {"name": name, "key": key}}});
        let spec: Spec = serde_json::from_value(serde_json::json!({"name": "c",
            "envFrom": [{"configMapRef": {"name": "whole"}}],
            "env": [key("configMapKeyRef", "part", "a"), key("secretKeyRef", "s", "b")],
        }))
        .unwrap();
        let (maps, secrets) = needs(&spec);
        assert_eq!(maps.keys().map(String::as_str).collect::<Vec<_>>(), ["part", "whole"]);
        let megabyte = "x".repeat(1 << 20);
        let map = || -> ConfigMap {
            let data = ["a", "b"].map(|key| (key.to_string(), megabyte.clone()));
            ConfigMap { data: Some(data.into()), ..ConfigMap::default() }
        };
        let (mut sources, mut left) = (Sources::default(), ALL_MAX);
        sources.keep_config_map("part", map(), &maps["part"], &mut left).unwrap();
        let kept: Vec<&String> = sources.config_maps["part"].data.as_ref().unwrap().keys().collect();
        assert_eq!(kept, ["a"], "the other key is dropped");
        for n in 0..3 {
            sources.keep_config_map(&n.to_string(), map(), &maps["whole"], &mut left).unwrap();
        }
        let refused = sources.keep_config_map("one more", map(), &maps["whole"], &mut left).unwrap_err();
        assert!(refused.contains("more than 8388608 bytes"), "{refused}");
        assert_eq!(sources.config_maps.len(), 4);
        let of_secret = |key: &str| (key.to_string(), k8s_openapi::ByteString(megabyte.clone().into_bytes()));
        let secret = Secret { data: Some([of_secret("a")].into()), ..Secret::default() };
        sources.keep_secret("s", secret, &secrets["s"], &mut left).unwrap();
        assert!(sources.secrets["s"].data.as_ref().unwrap().is_empty(), "nothing refers to its key");
    }

    #[test]
    fn later_variables_see_earlier_ones_and_errors_say_what_is_missing() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "d", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "env": [
                {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2 $(WEB_SERVICE_HOST)"},
                {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}]}]},
        }))
        .unwrap();
        let (node_ip, pod_ip) = ("1.1.1.1".to_string(), "2.2.2.2".to_string());
        let facts = Facts { pod: &pod, node_name: "n", node_ip, pod_ip, allocatable: Amount::default() };
        let spec = &pod.spec.as_ref().unwrap().containers[0];
        let services = vec![("WEB_SERVICE_HOST".to_string(), "10.96.0.9".to_string())];
        assert_eq!(
            of(spec, &facts, &Sources::default(), services.clone()),
            Err("configmap \"cm\" not found".into())
        );
        let mut sources = Sources::default();
        sources.config_maps.insert("cm".into(), ConfigMap::default());
        let missing = of(spec, &facts, &sources, services.clone());
        assert_eq!(missing, Err("couldn't find key k in ConfigMap d/cm".into()));
        let map =
            ConfigMap { data: Some([("k".to_string(), "v".to_string())].into()), ..ConfigMap::default() };
        sources.config_maps.insert("cm".into(), map);
        let env = of(spec, &facts, &sources, services).unwrap();
        let get = |n: &str| env.iter().find(|(k, _)| k == n).unwrap().1.clone();
        assert_eq!((get("B"), get("L"), get("C")), ("12 10.96.0.9".into(), "web".into(), "v".into()));
    }

    fn facts(pod: &Pod) -> Facts<'_> {
        let (node_ip, pod_ip) = (String::new(), String::new());
        Facts { pod, node_name: "n1", node_ip, pod_ip, allocatable: Amount::default() }
    }

    #[test]
    fn the_amounts_of_another_container_can_be_asked_for() {
        let limits = |memory: &str| serde_json::json!({"limits": {"memory": memory}});
        let of = |name: &str| {
            let from = serde_json::json!({"containerName": name, "resource": "limits.memory"});
            let env = serde_json::json!([{"name": "M", "valueFrom": {"resourceFieldRef": from}}]);
            let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {"containers": [
                {"name": "app", "resources": limits("1Gi")},
                {"name": "agent", "resources": limits("64Mi"), "env": env},
            ]}}))
            .unwrap();
            let spec = &pod.spec.as_ref().unwrap().containers[1];
            super::of(spec, &facts(&pod), &Sources::default(), vec![]).map(|all| all[0].1.clone())
        };
        assert_eq!(of("app").as_deref(), Ok("1073741824"));
        assert_eq!(of("").as_deref(), Ok("67108864"));
        assert_eq!(of("none"), Err("container none not found".into()));
    }

    #[test]
    fn a_secret_that_is_no_text_is_no_variable() {
        let pod = Pod::default();
        let secret: Secret = serde_json::from_value(serde_json::json!({"data": {"k": "/w=="}})).unwrap();
        let sources = Sources { secrets: [("s".to_string(), secret)].into(), ..Sources::default() };
        for spec in [
            serde_json::json!({"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]}),
            serde_json::json!({"name": "c", "env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
        ] {
            let spec: Spec = serde_json::from_value(spec).unwrap();
            let refused = super::of(&spec, &facts(&pod), &sources, vec![]).unwrap_err();
            assert!(refused.starts_with("key k of secret \"s\" is not valid UTF-8"), "{refused}");
        }
    }
}
