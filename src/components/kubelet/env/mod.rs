//! A container's environment and command line: references to other objects, service variables,
//! `$(NAME)`.

use super::resources::resource_field;
use super::specs::spec_of;
use api::cidr;
use api::gostr;
use api::requests::Amount;
use k8s_openapi::api::core::v1::{ConfigMap, Container as Spec, EnvVarSource, Pod, Secret, Service};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The ConfigMaps and Secrets of its pod's namespace that a container refers to.
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

    /// Keeps the values of a Secret, as [`Sources::keep_config_map`] does those of a ConfigMap.
    ///
    /// # Errors
    /// As [`Sources::keep_config_map`].
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

/// Lists the ConfigMaps and Secrets that a container takes variables from, by name, with the keys.
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

/// Returns `KUBERNETES_SERVICE_HOST` and its kind, for the Services that a pod of `namespace` may
/// use by name. A port has four or five variables, and the API bounds neither the ports of a
/// Service nor the Services of a namespace. A Service `kubernetes` of the pod's own namespace
/// stands in for the one of `default`, in whatever order they come (upstream:
/// `getServiceEnvVarMap`):
///
/// ```text
/// apps/kubernetes 10.96.0.9, default/kubernetes 10.96.0.1
/// pod in apps   ->  KUBERNETES_SERVICE_HOST=10.96.0.9
/// pod in shop   ->  KUBERNETES_SERVICE_HOST=10.96.0.1
/// ```
///
/// # Errors
/// The variables have more than [`ALL_MAX`] bytes. No more than that is ever made.
pub(crate) fn service_variables(
    services: &[Arc<Service>],
    namespace: &str,
    links: bool,
) -> Result<Vec<(String, String)>, String> {
    let address = |service: &Service| -> Option<String> {
        let ip = service.spec.as_ref()?.cluster_ip.as_deref();
        // Programs read zeros before numbers as octal.
        ip.filter(|ip| !ip.is_empty() && *ip != "None").map(cidr::canonical_text)
    };
    let mut by_name: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services.iter().filter(|service| address(service).is_some()) {
        let meta = &service.metadata;
        let (name, ns) =
            (meta.name.as_deref().unwrap_or_default(), meta.namespace.as_deref().unwrap_or_default());
        if ns == "default" && name == "kubernetes" {
            by_name.entry(name).or_insert(service);
        } else if links && ns == namespace {
            by_name.insert(name, service);
        }
    }
    let mut all = Counted { variables: Vec::new(), left: ALL_MAX };
    for (name, service) in by_name {
        let (Some(spec), Some(ip)) = (&service.spec, address(service)) else { continue };
        let prefix = name.to_uppercase().replace(['-', '.'], "_");
        let ports = spec.ports.as_deref().unwrap_or_default();
        let Some(first) = ports.first() else { continue };
        all.add(format!("{prefix}_SERVICE_HOST"), ip.clone())?;
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
            all.add(format!("{name}_ADDR"), ip.clone())?;
        }
    }
    Ok(all.variables)
}

/// Facts about a pod that its containers can read: `fieldRef` paths.
pub(crate) struct Facts<'a> {
    pub pod: &'a Pod,
    pub node_name: &'a str,
    pub node_ip: String,
    pub pod_ip: String,
    /// What a container without limits of its own may use.
    pub allocatable: Amount,
}

impl Facts<'_> {
    /// Returns the value of a `fieldPath`, e.g. `metadata.labels['app']`.
    ///
    /// # Errors
    /// The path is not known.
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
            map.iter()
                .flatten()
                .map(|(k, v)| format!("{k}={}", gostr::quote(v)))
                .collect::<Vec<_>>()
                .join("\n")
        };
        Ok(match path {
            "metadata.name" => text(&meta.name),
            "metadata.namespace" => text(&meta.namespace),
            "metadata.uid" => text(&meta.uid),
            "metadata.labels" => lines(&meta.labels),
            "metadata.annotations" => lines(&meta.annotations),
            "spec.nodeName" | "spec.host" => self.node_name.to_string(),
            "spec.serviceAccountName" => {
                self.pod.spec.as_ref().and_then(|s| s.service_account_name.clone()).unwrap_or_default()
            }
            "status.hostIP" | "status.hostIPs" => self.node_ip.clone(),
            "status.podIP" | "status.podIPs" => self.pod_ip.clone(),
            other => return Err(format!("unsupported fieldPath: {other}")),
        })
    }
}

/// Returns the value of a Secret as a variable.
///
/// # Errors
/// The value is not UTF-8. Kubernetes 1.35 starts no container with such a value either ("string
/// field contains invalid UTF-8"): a variable with replaced bytes would not be the Secret's key.
fn text(value: &[u8], key: &str, secret: &str) -> Result<String, String> {
    let text = std::str::from_utf8(value).map(str::to_string);
    text.map_err(|_| {
        format!("key {key} of secret {secret:?} is not valid UTF-8; use it as a file of a volume instead")
    })
}

/// Returns the variables of a container: its own, in order, on top of the service variables. An
/// error is the message of `CreateContainerConfigError`.
///
/// ```text
/// services                 WEB_PORT=80
/// envFrom configMap        COLOR=red
/// env                      COLOR=blue, URL=http://$(COLOR):$(WEB_PORT)
/// result                   WEB_PORT=80, COLOR=blue, URL=http://blue:80
/// ```
pub(crate) fn of(
    spec: &Spec,
    facts: &Facts,
    sources: &Sources,
    services: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, String> {
    let mut left = ALL_MAX;
    services.iter().try_for_each(|(name, value)| take_bytes(&mut left, size(name, value)))?;
    let mut own = from_whole_objects(spec, sources, &mut left)?;
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
                Some(expand(variable.value.as_deref().unwrap_or_default(), lookup)?)
            }
            Some(from) => value_from(from, spec, facts, sources)?,
        };
        let Some(value) = value else { continue };
        take_bytes(&mut left, size(&variable.name, &value))?;
        last.insert(variable.name.clone(), own.len());
        own.push((variable.name.clone(), value));
    }
    Ok(replace_by_name(services, own))
}

/// Returns the variables of `envFrom`: all keys of ConfigMaps and Secrets, with their prefixes.
/// Each takes its bytes of `left`.
fn from_whole_objects(
    spec: &Spec,
    sources: &Sources,
    left: &mut usize,
) -> Result<Vec<(String, String)>, String> {
    let mut own = Vec::new();
    for from in spec.env_from.iter().flatten() {
        let prefix = from.prefix.clone().unwrap_or_default();
        if let Some(r) = &from.config_map_ref {
            match sources.config_maps.get(&r.name) {
                Some(map) => {
                    for (k, v) in map.data.iter().flatten() {
                        take_bytes(left, prefix.len() + size(k, v))?;
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
                        take_bytes(left, prefix.len() + size(k, &v.0))?;
                        own.push((format!("{prefix}{k}"), text(&v.0, k, &r.name)?));
                    }
                }
                None if r.optional == Some(true) => {}
                None => return Err(format!("secret {:?} not found", r.name)),
            }
        }
    }
    Ok(own)
}

/// Returns the value of a variable with `valueFrom`. `None`: the reference is optional and names
/// nothing that is there, so the container does not get the variable.
fn value_from(
    from: &EnvVarSource,
    spec: &Spec,
    facts: &Facts,
    sources: &Sources,
) -> Result<Option<String>, String> {
    let namespace = facts.pod.metadata.namespace.as_deref().unwrap_or("default");
    if let Some(r) = &from.config_map_key_ref {
        let map = sources.config_maps.get(&r.name);
        return match map.map(|map| map.data.as_ref().and_then(|d| d.get(&r.key))) {
            Some(Some(value)) => Ok(Some(value.clone())),
            _ if r.optional == Some(true) => Ok(None),
            Some(None) => Err(format!("couldn't find key {} in ConfigMap {namespace}/{}", r.key, r.name)),
            None => Err(format!("configmap {:?} not found", r.name)),
        };
    }
    if let Some(r) = &from.secret_key_ref {
        let secret = sources.secrets.get(&r.name);
        return match secret.map(|secret| secret.data.as_ref().and_then(|d| d.get(&r.key))) {
            Some(Some(value)) => text(&value.0, &r.key, &r.name).map(Some),
            _ if r.optional == Some(true) => Ok(None),
            Some(None) => Err(format!("couldn't find key {} in Secret {namespace}/{}", r.key, r.name)),
            None => Err(format!("secret {:?} not found", r.name)),
        };
    }
    if let Some(r) = &from.field_ref {
        return facts.field(&r.field_path).map(Some);
    }
    if let Some(r) = &from.file_key_ref {
        return Err(format!("key {} of file {:?}: variables from files are not supported", r.key, r.path));
    }
    let Some(r) = &from.resource_field_ref else { return Ok(Some(String::new())) };
    let of = match r.container_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => spec_of(facts.pod, name).ok_or_else(|| format!("container {name} not found"))?,
        None => spec,
    };
    let divisor = r.divisor.as_ref().map(|d| d.0.as_str());
    resource_field(of, &r.resource, divisor, &facts.allocatable).map(Some)
}

/// Adds variables to others: one whose name is there takes that one's place.
fn replace_by_name(mut all: Vec<(String, String)>, own: Vec<(String, String)>) -> Vec<(String, String)> {
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
    all
}

/// Bytes of one value or argument after its references are replaced: the kernel takes no longer one
/// (`MAX_ARG_STRLEN`; execve(2)).
const STRING_MAX: usize = 128 << 10;
/// Bytes of all values, or of all arguments, of one container: more than the kernel takes (a
/// quarter of the stack's limit, at most 6 MiB).
pub(crate) const ALL_MAX: usize = 8 << 20;

/// Bytes of the largest environment that is remembered for the time when no API server answers.
pub(crate) const REMEMBERED_MAX: usize = 32 << 10;

/// Returns the bytes that a variable takes: of its text, and of the two `String`s that hold it.
/// Short ones are mostly the latter.
fn size(name: &str, value: impl AsRef<[u8]>) -> usize {
    name.len() + value.as_ref().len() + 2 * size_of::<String>()
}

/// Returns whether these variables are few enough to be remembered. A container with more of them
/// waits for the API server when it has to start again.
pub(crate) fn is_small(variables: &[(String, String)]) -> bool {
    variables.iter().map(|(name, value)| size(name, value)).sum::<usize>() <= REMEMBERED_MAX
}

/// Takes the bytes of one more string from what is left of [`ALL_MAX`].
///
/// # Errors
/// Nothing is left.
pub(crate) fn take_bytes(left: &mut usize, bytes: usize) -> Result<(), String> {
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
mod tests;
