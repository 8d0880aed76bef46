//! The learner's side of a start: one more process, and its progress told.

use super::home::Place;
use super::world::World;
use super::{Error, Spec, boot};
use crate::linux;
use crate::pki;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// A log that has grown beyond this is moved aside at the next start.
const LOG_MAX: u64 = 10 << 20;
/// Lines that are quoted of a start that failed.
const LAST_WORDS: usize = 3;

/// What a supervisor is told to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    pub home: PathBuf,
    pub spec: Spec,
    /// The cluster ends when the front does.
    pub attached: bool,
}

/// What a starting cluster says on its standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Word {
    #[serde(rename_all = "camelCase")]
    Started {
        api_port: u16,
        /// Why limits of containers are not enforced, or not all of them.
        unlimited: Option<String>,
    },
    Failed(String),
}

/// A cluster that this process started.
pub struct Launched {
    pub child: Child,
    /// While this is open an attached cluster lives.
    pub leash: Option<ChildStdin>,
    pub api_port: u16,
    pub unlimited: Option<String>,
}

/// Starts a cluster and returns when its control socket and API port are open.
pub async fn launch(place: &Place, spec: &Spec, attached: bool) -> Result<Launched, Error> {
    launch_with(place, spec, attached, &[]).await
}

/// The same, with these variables in the cluster's environment.
pub async fn launch_with(
    place: &Place,
    spec: &Spec,
    attached: bool,
    variables: &[(&str, &OsStr)],
) -> Result<Launched, Error> {
    if place.abroad().exists() {
        return Err(Error::Usage(format!(
            "{:?} is somebody else's cluster, which cannot be started here; open it with --kubeconfig FILE",
            place.name
        )));
    }
    place.make()?;
    link_tools(place)?;
    let log_path = place.log();
    if fs::metadata(&log_path).is_ok_and(|log| log.len() > LOG_MAX) {
        let aside = log_path.with_extension("log.1");
        fs::rename(&log_path, &aside).map_err(|cause| Error::File { path: aside, cause })?;
    }
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .map_err(|cause| Error::File { path: log_path.clone(), cause })?;
    let begun = log.metadata().map_or(0, |log| log.len());
    let order = Order { home: place.home.path().into(), spec: spec.clone(), attached };
    let order = serde_json::to_string(&order).unwrap_or_default();
    let mut child = Command::new("/proc/self/exe")
        .arg0("ropewalk")
        .arg(boot::SUPERVISE_ARGUMENT)
        .arg(order)
        .env("ROPEWALK_HOME", place.home.path())
        .envs(variables.iter().copied())
        .stdin(if attached { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(log)
        .current_dir("/")
        .spawn()
        .map_err(Error::Kernel)?;
    let leash = child.stdin.take();
    let out = child.stdout.take().ok_or_else(|| Error::Start("no pipe to the supervisor".into()))?;
    let mut lines = BufReader::new(out).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str::<Word>(&line) {
            Ok(Word::Started { api_port, unlimited }) => {
                return Ok(Launched { child, leash, api_port, unlimited });
            }
            Ok(Word::Failed(text)) => {
                let _ = child.wait().await; // it has said why
                return Err(Error::Told(text));
            }
            Err(_) => {}
        }
    }
    let _ = child.wait().await;
    let last = last_words(&log_path, begun);
    let last = if last.is_empty() { String::new() } else { format!("; its last words:\n{last}") };
    Err(Error::Start(format!("its processes ended (log: {}){last}", log_path.display())))
}

/// The last lines of what was written since the log was `begun` bytes long: earlier ones tell of another run.
fn last_words(log: &Path, begun: u64) -> String {
    let text = fs::read(log).unwrap_or_default();
    let new = text.get(begun as usize..).unwrap_or_default();
    let new = String::from_utf8_lossy(new);
    let lines: Vec<&str> = new.lines().collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
}

/// Clears up after a cluster that does not run. Nothing is left of one that ended in any way but with every process killed at once.
/// Returns false if it is just being started.
pub fn clear_up(place: &Place) -> Result<bool, Error> {
    if !place.lock().exists() {
        return Ok(true); // it has never run
    }
    match linux::boot::sweep(&place.lock()) {
        Ok(()) => {}
        Err(error) if error.cause.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
        Err(error) => return Err(Error::File { path: place.lock(), cause: error.cause }),
    }
    match fs::remove_file(place.socket()) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { path: place.socket(), cause })
        }
        _ => Ok(true),
    }
}

/// `<home>/bin` holds this program under the names of the tools it contains.
pub(super) fn link_tools(place: &Place) -> Result<(), Error> {
    let exe = std::env::current_exe().map_err(Error::Kernel)?;
    for tool in ["kubectl", "etcdctl"] {
        let link = place.home.bin().join(tool);
        if fs::read_link(&link).is_ok_and(|to| to == exe) {
            continue;
        }
        let fresh = place.home.bin().join(format!(".{tool}.{}", std::process::id()));
        std::os::unix::fs::symlink(&exe, &fresh)
            .and_then(|()| fs::rename(&fresh, &link))
            .map_err(|cause| Error::File { path: link, cause })?;
    }
    Ok(())
}

/// Brings the kubeconfig up to date: server, authority and certificate are renewed, contexts and everything else left alone.
pub fn write_kubeconfig(world: &World, port: u16) -> Result<(), Error> {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let path = world.place.kubeconfig();
    let name = format!("ropewalk-{}", world.spec.name);
    let learner = world.identity(crate::tap::LEARNER, "system:masters")?;
    let cluster = json!({
        "certificate-authority-data": encode(world.ca.pem()),
        "server": format!("https://127.0.0.1:{port}"),
    });
    let user = json!({
        "client-certificate-data": encode(&learner.cert_pem),
        "client-key-data": encode(&learner.key_pem),
    });
    let old = known_kubeconfig(&path)?;
    let merged = merge_kubeconfig(old, &name, &cluster, &user);
    let text = serde_yaml::to_string(&merged)
        .map_err(|e| Error::Damaged { path: path.clone(), why: e.to_string() })?;
    Ok(pki::write_private(&path, &text)?)
}

/// The kubeconfig of an earlier start. One that cannot be read is set aside: contexts that a learner added must not be lost for a typing error.
fn known_kubeconfig(path: &Path) -> Result<Option<Value>, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(Error::File { path: path.into(), cause }),
    };
    match serde_yaml::from_str::<Value>(&text) {
        Ok(config) if config.is_object() || config.is_null() => Ok(Some(config).filter(Value::is_object)),
        damaged => {
            let aside = path.with_extension("damaged");
            fs::rename(path, &aside).map_err(|cause| Error::File { path: aside.clone(), cause })?;
            let why = damaged.err().map_or("not a mapping".to_string(), |e| e.to_string());
            tracing::warn!(why, kept = %aside.display(), "the kubeconfig cannot be read and is written anew");
            Ok(None)
        }
    }
}

/// Returns a kubeconfig for another user with all rights, with the server that the learner's has.
pub fn kubeconfig_of(world: &World, user: &str) -> Result<String, Error> {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let own = world.place.kubeconfig();
    let text = fs::read_to_string(&own).map_err(|cause| Error::File { path: own.clone(), cause })?;
    let damaged = |e: serde_yaml::Error| Error::Damaged { path: own.clone(), why: e.to_string() };
    let config: Value = serde_yaml::from_str(&text).map_err(damaged)?;
    let name = format!("ropewalk-{}", world.spec.name);
    let mut clusters = config["clusters"].as_array().into_iter().flatten();
    let cluster =
        clusters.find(|c| c["name"] == name.as_str()).map(|c| c["cluster"].clone()).unwrap_or_default();
    let identity = world.identity(user, "system:masters")?;
    let keys = json!({
        "client-certificate-data": encode(&identity.cert_pem),
        "client-key-data": encode(&identity.key_pem),
    });
    let config = merge_kubeconfig(None, &name, &cluster, &keys);
    serde_yaml::to_string(&config).map_err(damaged)
}

/// Pure: a kubeconfig with this cluster and user in it. An existing current context is kept.
pub fn merge_kubeconfig(old: Option<Value>, name: &str, cluster: &Value, user: &Value) -> Value {
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

/// Adds a cluster to another kubeconfig (`~/.kube/config`), keeping what is there, and a copy of the old file.
pub fn merge_into(place: &Place, target: &Path) -> Result<(), Error> {
    let read = |path: &Path| -> Result<Option<Value>, Error> {
        match fs::read_to_string(path) {
            Ok(text) => serde_yaml::from_str(&text)
                .map(Some)
                .map_err(|e| Error::Damaged { path: path.into(), why: e.to_string() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(Error::File { path: path.into(), cause }),
        }
    };
    let own = read(&place.kubeconfig())?.ok_or_else(|| Error::NotRunning(place.name.clone()))?;
    let name = format!("ropewalk-{}", place.name);
    let part = |list: &str, what: &str| {
        let items = own[list].as_array().into_iter().flatten();
        items.into_iter().find(|i| i["name"] == name.as_str()).map(|i| i[what].clone()).unwrap_or_default()
    };
    // A file behind a symbolic link stays where it is.
    let target = &fs::canonicalize(target).unwrap_or_else(|_| target.to_path_buf());
    let old = read(target)?;
    if old.is_some() {
        // The first copy is the one without anything of ours: later merges leave it.
        let copy = target.with_extension("before-ropewalk");
        if !copy.exists() {
            fs::copy(target, &copy).map_err(|cause| Error::File { path: copy, cause })?;
        }
    } else if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(|cause| Error::File { path: parent.into(), cause })?;
    }
    let merged = merge_kubeconfig(old, &name, &part("clusters", "cluster"), &part("users", "user"));
    let text = serde_yaml::to_string(&merged)
        .map_err(|e| Error::Damaged { path: target.into(), why: e.to_string() })?;
    Ok(pki::write_private(target, &text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_is_not_explained_by_an_earlier_run() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let earlier = "asked to stop\n";
        fs::write(log.path(), earlier).unwrap();
        assert_eq!(last_words(log.path(), earlier.len() as u64), "");
        fs::write(log.path(), format!("{earlier}one\ntwo\nthree\nfour\n")).unwrap();
        assert_eq!(last_words(log.path(), earlier.len() as u64), "two\nthree\nfour");
        fs::write(log.path(), "short").unwrap(); // somebody emptied it
        assert_eq!(last_words(log.path(), earlier.len() as u64), "");
    }

    #[test]
    fn a_merge_goes_through_a_symbolic_link_and_keeps_the_first_copy() {
        let dir = tempfile::tempdir().unwrap();
        let place = super::super::Home::at(dir.path()).cluster("t").unwrap();
        place.make().unwrap();
        let own = merge_kubeconfig(None, "ropewalk-t", &json!({"server": "a"}), &json!({"k": 1}));
        fs::write(place.kubeconfig(), serde_yaml::to_string(&own).unwrap()).unwrap();
        let (real, link) = (dir.path().join("dotfiles"), dir.path().join("config"));
        fs::write(&real, "current-context: mine\n").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        for _ in 0..2 {
            merge_into(&place, &link).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert!(fs::read_to_string(&real).unwrap().contains("ropewalk-t"));
            let copy = fs::read_to_string(real.with_extension("before-ropewalk")).unwrap();
            assert_eq!(copy, "current-context: mine\n");
        }
    }

    #[test]
    fn a_kubeconfig_that_cannot_be_read_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        assert_eq!(known_kubeconfig(&path).unwrap(), None);
        fs::write(&path, "contexts: [").unwrap();
        assert_eq!(known_kubeconfig(&path).unwrap(), None);
        assert_eq!(fs::read_to_string(path.with_extension("damaged")).unwrap(), "contexts: [");
        fs::write(&path, "contexts: []").unwrap();
        assert_eq!(known_kubeconfig(&path).unwrap(), Some(json!({"contexts": []})));
    }

    #[test]
    fn a_restart_renews_certificates_and_leaves_the_learners_contexts_alone() {
        let first = merge_kubeconfig(None, "ropewalk-main", &json!({"server": "a"}), &json!({"k": 1}));
        assert_eq!(first["current-context"], "ropewalk-main");
        let mut edited = first;
        edited["current-context"] = json!("mine");
        edited["contexts"].as_array_mut().unwrap()[0]["context"]["namespace"] = json!("web");
        edited["contexts"].as_array_mut().unwrap().push(json!({"name": "mine", "context": {}}));
        let again =
            merge_kubeconfig(Some(edited), "ropewalk-main", &json!({"server": "b"}), &json!({"k": 2}));
        assert_eq!(again["clusters"][0]["cluster"]["server"], "b");
        assert_eq!(again["users"][0]["user"]["k"], 2);
        assert_eq!(again["current-context"], "mine");
        assert_eq!(again["contexts"][0]["context"]["namespace"], "web");
        assert_eq!(again["contexts"].as_array().unwrap().len(), 2);
    }
}
