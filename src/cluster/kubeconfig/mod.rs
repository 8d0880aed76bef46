//! Kubeconfigs: the cluster's own, those for lessons, and the learner's, into which a context can
//! be merged.

use super::error::Error;
use super::home::Place;
use super::refusal::Refusal;
use super::world::World;
use api::yaml;
use client::kubeconfig::{ConfigLock, Entry, Kubeconfig, LOCK_WITHIN, default_path, replace};
use pki::Identity;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a start waits for a program that changes the cluster's kubeconfig.
const OWN_LOCK_WITHIN: Duration = Duration::from_secs(2);

/// Brings the kubeconfig up to date: server, authority and certificate are renewed, contexts and
/// everything else left alone.
pub(super) fn write_kubeconfig(world: &World) -> Result<(), Error> {
    let path = world.place.kubeconfig();
    let name = format!("ropewalk-{}", world.spec.name);
    let learner = world.identity(tap::LEARNER, "system:masters")?;
    let (cluster, user) = (server(world.ca.pem(), world.api_port), keys(&learner));
    renew_kubeconfig(&path, &name, &cluster, &user, OWN_LOCK_WITHIN)
}

/// Writes the file of [`write_kubeconfig`]. kubectl may be changing the same file. A lock that a
/// killed program left does not keep a cluster from starting.
fn renew_kubeconfig(
    path: &Path,
    name: &str,
    cluster: &Value,
    user: &Value,
    patience: Duration,
) -> Result<(), Error> {
    let locked = ConfigLock::take(path, patience);
    if let Err(error) = &locked {
        tracing::warn!(%error, "the kubeconfig is renewed all the same");
    }
    let known = known_kubeconfig(path)?.map(|known| without_original(known, name, cluster));
    let merged = merge_kubeconfig(known, name, cluster, user);
    Ok(pki::write_private(path, &yaml::write::to_string(&merged))?)
}

/// Reads the kubeconfig of an earlier start. One that cannot be read is set aside: contexts that a
/// learner added must not be lost for a typing error.
fn known_kubeconfig(path: &Path) -> Result<Option<Value>, Error> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(Error::File { path: path.into(), cause }),
    };
    match parse(&text) {
        Ok(config) if config.is_object() || config.is_null() => Ok(Some(config).filter(Value::is_object)),
        damaged => {
            let aside = path.with_extension("damaged");
            fs::rename(path, &aside).map_err(|cause| Error::File { path: aside.clone(), cause })?;
            let why = damaged.err().unwrap_or_else(|| "not a mapping".to_string());
            tracing::warn!(why, kept = %aside.display(), "the kubeconfig cannot be read and is written anew");
            Ok(None)
        }
    }
}

/// Renames the original's entries in the kubeconfig of a copied directory to this cluster's.
/// Otherwise its current context would still lead to the original. Contexts that a learner added
/// for the original lead to the copy, too.
///
/// An entry is the original's if this cluster has none yet, and it has the same authority and an
/// address that a start has written. Example: `clusters/main` was copied to `clusters/try`, so
/// `ropewalk-main` becomes `ropewalk-try`, and the start renews its address and its user.
fn without_original(mut config: Value, name: &str, cluster: &Value) -> Value {
    let clusters = config["clusters"].as_array().cloned().unwrap_or_default();
    if clusters.iter().any(|entry| entry["name"] == name) {
        return config;
    }
    let original = clusters.iter().find_map(|entry| {
        let is_same = entry["cluster"][AUTHORITY] == cluster[AUTHORITY];
        let server = entry["cluster"]["server"].as_str()?;
        let named = entry["name"].as_str().filter(|named| named.starts_with("ropewalk-"))?;
        (is_same && server.starts_with(LOCALHOST)).then(|| named.to_string())
    });
    let Some(original) = original else { return config };
    let rename = |value: Option<&mut Value>| {
        if let Some(value) = value.filter(|value| **value == original.as_str()) {
            *value = name.into();
        }
    };
    for list in ["clusters", "users", "contexts"] {
        for entry in config.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            for at in ["/name", "/context/cluster", "/context/user"] {
                rename(entry.pointer_mut(at));
            }
        }
    }
    rename(config.get_mut("current-context"));
    config
}

/// The beginning of the API's address on the host; its port follows.
const LOCALHOST: &str = "https://127.0.0.1:";

/// The field of a kubeconfig's entry that has a cluster's authority.
const AUTHORITY: &str = "certificate-authority-data";

/// Returns a kubeconfig's entry of the API on the host.
fn server(ca_pem: &str, port: u16) -> Value {
    json!({AUTHORITY: encode(ca_pem), "server": format!("{LOCALHOST}{port}")})
}

/// Returns a kubeconfig's entry of a user.
pub(super) fn keys(identity: &Identity) -> Value {
    json!({
        "client-certificate-data": encode(&identity.cert_pem),
        "client-key-data": encode(&identity.key_pem),
    })
}

pub(super) fn encode(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Returns a kubeconfig for another user with all rights. Nothing is read from the learner's: that
/// one may lead elsewhere by now.
pub(super) fn kubeconfig_of(world: &World, user: &str) -> Result<String, Error> {
    let identity = world.identity(user, "system:masters")?;
    Ok(kubeconfig_text(&world.spec.name, &server(world.ca.pem(), world.api_port), &keys(&identity)))
}

fn kubeconfig_text(cluster: &str, server: &Value, user: &Value) -> String {
    yaml::write::to_string(&merge_kubeconfig(None, &format!("ropewalk-{cluster}"), server, user))
}

/// Reads a kubeconfig by YAML 1.1, as kubectl does: `"no"` is a text, and `no` is false.
///
/// # Errors
/// What is wrong with it. So are several documents: kubectl reads the first one, and the others
/// would not be written again.
fn parse(text: &[u8]) -> Result<Value, String> {
    let config = yaml::parse(text)
        .map_err(|why| why.strip_prefix("error converting YAML to JSON: ").unwrap_or(&why).to_string())?;
    match serde_yaml::Deserializer::from_slice(text).nth(1) {
        Some(_) => Err("it has more than one YAML document".into()),
        None => Ok(config),
    }
}

/// Returns a kubeconfig with this cluster and user in it. Pure. An existing current context is
/// kept.
pub(super) fn merge_kubeconfig(old: Option<Value>, name: &str, cluster: &Value, user: &Value) -> Value {
    let mut config = old.filter(Value::is_object).unwrap_or_else(|| {
        json!({"apiVersion": "v1", "clusters": [], "contexts": [], "current-context": name, "kind": "Config", "preferences": {}, "users": []})
    });
    let mut put = |list: &str, what: &str, value: Value, replace: bool| {
        if !config[list].is_array() {
            config[list] = json!([]);
        }
        let Some(items) = config[list].as_array_mut() else { return };
        match items.iter_mut().find(|i| i["name"] == name) {
            Some(item) if replace => item[what] = value,
            Some(_) => {}
            None => items.push(json!({what: value, "name": name})),
        }
    };
    put("clusters", "cluster", cluster.clone(), true);
    put("users", "user", user.clone(), true);
    put("contexts", "context", json!({"cluster": name, "user": name}), false);
    if config["current-context"].as_str().unwrap_or_default().is_empty() {
        config["current-context"] = json!(name);
    }
    config
}

/// Puts this cluster's context into a kubeconfig of the learner's own. A copy of the file from
/// before the first merge is kept beside it.
///
/// # Errors
/// [`Error::NotRunning`]: the cluster has never run, or its own kubeconfig lacks its entries, which
/// the next start writes. The file is no kubeconfig, or another program is changing it. After each
/// of these errors the file is as it was.
pub fn merge_into(place: &Place, target: &Path) -> Result<(), Error> {
    merge_within(place, target, LOCK_WITHIN)
}

/// Does what [`merge_into`] does, and waits as long as `patience` for another program that changes
/// the file.
fn merge_within(place: &Place, target: &Path, patience: Duration) -> Result<(), Error> {
    let own = own_entries(place)?.ok_or_else(|| Error::NotRunning(place.name.clone()))?;
    if fs::metadata(target).is_ok_and(|there| !there.is_file()) {
        let (path, why) = (target.display().to_string(), "it is not a regular file".to_string());
        return Err(Refusal::BadKubeconfig { path, why }.into());
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(|cause| Error::File { path: parent.into(), cause })?;
    }
    let _lock = ConfigLock::take(target, patience)?;
    // A file behind a symbolic link stays where it is.
    let target = &fs::canonicalize(target).unwrap_or_else(|_| target.to_path_buf());
    let old = read_foreign(target)?;
    if let Some((text, _)) = &old {
        // The first copy is the one without anything of ours: later merges leave it. It is there
        // whole or not at all.
        let copy = target.with_extension("before-ropewalk");
        if !copy.exists() {
            pki::write_private(&copy, text)?;
        }
    }
    let merged = merge_kubeconfig(old.map(|(_, config)| config), &own.name, &own.cluster, &own.user);
    write_foreign(target, &merged)
}

/// Returns the path of the kubeconfig that kubectl reads without `KUBECONFIG`; none without HOME.
pub fn default_kubeconfig() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(default_path(Path::new(&home)))
}

/// Returns the API's address in the cluster's kubeconfig, as a start has written it there. `None`:
/// it has never run, or the address was changed since.
pub(super) fn own_address(place: &Place) -> Option<String> {
    let own = own_entries(place).ok()??;
    let address = own.cluster["server"].as_str()?;
    let port = address.strip_prefix(LOCALHOST)?;
    port.parse::<u16>().is_ok().then(|| address.to_string())
}

/// Follows the API to another port in a kubeconfig of the learner's own into which the cluster was
/// merged. `before`: the address that the start before had. An entry with another address is the
/// learner's own way to the cluster, e.g. through a tunnel, and stays. Nothing but the address is
/// changed: the certificate of an earlier start is good for a year, and a context that is gone was
/// deleted.
///
/// # Errors
/// As for [`merge_into`].
pub(super) fn renew_in(place: &Place, before: &str, target: &Path, patience: Duration) -> Result<(), Error> {
    let Some(own) = own_entries(place)? else { return Ok(()) };
    let now = &own.cluster["server"];
    if now == before {
        return Ok(());
    }
    let renewed = |mut config: Value| {
        let entry = config["clusters"].as_array_mut()?.iter_mut().find(|entry| own.is_in(entry))?;
        let server = entry.pointer_mut("/cluster/server")?;
        if *server != before {
            return None;
        }
        server.clone_from(now);
        Some(config)
    };
    let stale = read_foreign(target).ok().flatten().and_then(|(_, config)| renewed(config));
    if stale.is_none() {
        return Ok(());
    }
    let _lock = ConfigLock::take(target, patience)?;
    match read_foreign(target)?.and_then(|(_, config)| renewed(config)) {
        Some(config) => write_foreign(target, &config),
        None => Ok(()),
    }
}

/// Takes this cluster's context out of a kubeconfig of the learner's own, if a merge has put it
/// there. Any other file is left alone.
///
/// # Errors
/// As for [`merge_into`].
pub fn remove_from(place: &Place, target: &Path) -> Result<(), Error> {
    let Some(own) = own_entries(place)? else { return Ok(()) };
    let merged = read_foreign(target).ok().flatten().and_then(|(_, config)| unmerged(config, &own));
    if merged.is_none() {
        return Ok(());
    }
    let _lock = ConfigLock::take(target, LOCK_WITHIN)?;
    let target = &fs::canonicalize(target).unwrap_or_else(|_| target.to_path_buf());
    let Some((_, old)) = read_foreign(target)? else { return Ok(()) };
    match unmerged(old, &own) {
        Some(config) => write_foreign(target, &config),
        None => Ok(()),
    }
}

/// Returns a kubeconfig without this cluster. Pure. `None`: the cluster is not in there.
fn unmerged(mut config: Value, own: &Entries) -> Option<Value> {
    if !config["clusters"].as_array().into_iter().flatten().any(|entry| own.is_in(entry)) {
        return None;
    }
    for list in ["clusters", "users", "contexts"] {
        if let Some(items) = config[list].as_array_mut() {
            items.retain(|item| item["name"] != own.name.as_str());
        }
    }
    if config["current-context"] == own.name.as_str() {
        config["current-context"] = "".into();
    }
    Some(config)
}

/// The entries of a cluster in its own kubeconfig.
struct Entries {
    name: String,
    cluster: Value,
    user: Value,
}

impl Entries {
    /// Returns whether a kubeconfig's entry of a cluster is about this one. Another cluster may
    /// have the same name, but not the same authority.
    fn is_in(&self, entry: &Value) -> bool {
        entry["name"] == self.name.as_str() && entry["cluster"][AUTHORITY] == self.cluster[AUTHORITY]
    }
}

/// Reads the cluster's entries. `None`: it has no kubeconfig yet, or one without its entries: its
/// directory was copied and has never run, or the learner deleted them. The next start writes them.
fn own_entries(place: &Place) -> Result<Option<Entries>, Error> {
    let path = place.kubeconfig();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(Error::File { path, cause }),
    };
    // Not `Damaged`, which names `reset` as a way out: the next start sets the file aside.
    let own = parse(text.as_bytes())
        .map_err(|why| Refusal::BadKubeconfig { path: path.display().to_string(), why })?;
    let name = format!("ropewalk-{}", place.name);
    let mut all = Kubeconfig::default();
    all.merge(&own, &path);
    let part = |entries: &[Entry]| -> Value {
        Kubeconfig::find(entries, &name).map(|entry| entry.value.clone()).unwrap_or_default()
    };
    let (cluster, user) = (part(&all.clusters), part(&all.users));
    let is_whole = cluster.is_object() && user.is_object();
    Ok(is_whole.then_some(Entries { name, cluster, user }))
}

/// Reads a kubeconfig that is not ours, as text and as what it says. `None`: there is none.
fn read_foreign(path: &Path) -> Result<Option<(String, Value)>, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(Error::File { path: path.into(), cause }),
    };
    let why = match parse(text.as_bytes()) {
        Ok(config) if is_other_kind(&config) => format!("its kind is {}", config["kind"]),
        Ok(config) if config.is_object() || config.is_null() => return Ok(Some((text, config))),
        Ok(_) => "it is not a mapping".to_string(),
        Err(why) => why,
    };
    Err(Refusal::BadKubeconfig { path: path.display().to_string(), why }.into())
}

/// Returns whether an object says that it is of another kind than a kubeconfig, e.g. a manifest.
/// kubectl does not read such a file either.
fn is_other_kind(config: &Value) -> bool {
    config["kind"].as_str().is_some_and(|kind| !matches!(kind, "" | "Config"))
}

fn write_foreign(path: &Path, config: &Value) -> Result<(), Error> {
    replace(path, &yaml::write::to_string(config)).map_err(|cause| Error::File { path: path.into(), cause })
}

#[cfg(test)]
mod tests;
