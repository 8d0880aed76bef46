//! The learner's side of a start: one more process, and its progress told.

use super::control::Reply;
use super::home::Place;
use super::world::World;
use super::{Error, Refusal, Spec, boot, logs, wipe};
use client::kubeconfig::{ConfigLock, LOCK_WITHIN, replace};
use linux::lock::Lock;
use pki::Identity;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// A log that has grown beyond this is moved aside, at the next start or while the cluster runs.
pub(super) const LOG_MAX: u64 = 10 << 20;
/// Variables that name a directory, which guests read in the cluster.
const DIRECTORIES: [&str; 2] = ["ROPEWALK_LESSONS", "ROPEWALK_LABS"];
/// Lines that are quoted of a start that failed.
const LAST_WORDS: usize = 3;

/// How long a start waits for a program that changes the cluster's kubeconfig.
const OWN_LOCK_WITHIN: Duration = Duration::from_secs(2);

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
    Failed(Reply),
}

/// A cluster that this process started.
pub struct Launched {
    pub child: Child,
    /// While this is open an attached cluster lives.
    pub leash: Option<ChildStdin>,
    pub api_port: u16,
    pub unlimited: Option<String>,
    /// Why the context that a merge has put into the learner's kubeconfig is still that of an
    /// earlier start.
    pub stale_context: Option<Box<Error>>,
}

/// Starts a cluster and returns when its store serves, and its control socket and API port are
/// open. The API may not answer yet.
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
    if place.foreign().exists() {
        return Err(Refusal::Foreign { name: place.name.clone() }.into());
    }
    if wipe::has_leftovers(place) {
        // A `reset` that was interrupted. One that is under way has the lock, as a start has.
        if let Some(held) = hold(place)? {
            wipe::leftovers(place, &held).map_err(|cause| Error::File { path: place.gone(0), cause })?;
        }
    }
    place.make()?;
    link_tools(place)?;
    let log_path = place.log();
    if fs::metadata(&log_path).is_ok_and(|log| log.len() > LOG_MAX) {
        logs::set_aside(&log_path).map_err(|cause| Error::File { path: log_path.clone(), cause })?;
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
        .envs(directories(variables, |name| std::env::var_os(name)))
        .envs(variables.iter().filter(|(name, _)| !DIRECTORIES.contains(name)).copied())
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
                let own = place.clone();
                let renew = move || default_kubeconfig().map(|target| renew_in(&own, &target, LOCK_WITHIN));
                let renewed = tokio::task::spawn_blocking(renew).await.ok().flatten();
                let stale_context = renewed.and_then(Result::err).map(Box::new);
                return Ok(Launched { child, leash, api_port, unlimited, stale_context });
            }
            Ok(Word::Failed(why)) => {
                let _ = child.wait().await; // it has said why
                why.into_result()?;
                return Err(Error::Start("it was refused without a reason".into()));
            }
            Err(_) => {}
        }
    }
    let _ = child.wait().await;
    let last = last_words(&log_path, begun);
    let last = if last.is_empty() { String::new() } else { format!("; its last words:\n{last}") };
    Err(Error::Start(format!("its processes ended (log: {}){last}", log_path.display())))
}

/// The directories that the cluster's variables name, as absolute paths: its own present directory
/// is the root. `of_process` is this process's environment.
fn directories(
    variables: &[(&str, &OsStr)],
    of_process: impl Fn(&str) -> Option<OsString>,
) -> Vec<(&'static str, PathBuf)> {
    let given =
        |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_os_string());
    let named =
        DIRECTORIES.into_iter().filter_map(|name| Some((name, given(name).or_else(|| of_process(name))?)));
    // The empty text, which stands for none, has no absolute form.
    named.map(|(name, path)| (name, std::path::absolute(&path).unwrap_or_else(|_| path.into()))).collect()
}

/// The last lines of what was written since the log was `begun` bytes long: earlier ones tell of
/// another run.
fn last_words(log: &Path, begun: u64) -> String {
    let text = fs::read(log).unwrap_or_default();
    let new = text.get(begun as usize..).unwrap_or_default();
    let new = String::from_utf8_lossy(new);
    let lines: Vec<&str> = new.lines().collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
}

/// Clears up after a cluster that does not run. Nothing is left of one that ended in any way but
/// with every process killed at once. Returns false if it runs, or is just being started.
pub fn clear_up(place: &Place) -> Result<bool, Error> {
    if !place.lock().exists() {
        return Ok(true); // it has never run
    }
    Ok(hold(place)?.is_some())
}

/// Clears up after a cluster that does not run, and keeps its lock: it cannot be started until that
/// is dropped. `None`: it runs, or is just being started.
pub fn hold(place: &Place) -> Result<Option<Lock>, Error> {
    place.make_lock()?;
    let busy = |cause: std::io::Error| match cause.kind() {
        std::io::ErrorKind::WouldBlock => Ok(None),
        _ => Err(Error::File { path: place.lock(), cause }),
    };
    if let Err(error) = linux::boot::sweep(&place.lock()) {
        return busy(error.cause);
    }
    let held = match Lock::take(&place.lock(), Duration::ZERO) {
        Ok(held) => held,
        Err(cause) => return busy(cause), // somebody was faster
    };
    match fs::remove_file(place.socket()) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { path: place.socket(), cause })
        }
        _ => Ok(Some(held)),
    }
}

/// The path of the program, also if another version was installed under it while this one runs: the
/// kernel adds a word to the path of a file that was replaced (proc_pid_exe(5)).
fn installed(exe: PathBuf) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    match exe.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(path) if !exe.exists() => PathBuf::from(OsStr::from_bytes(path)),
        _ => exe,
    }
}

/// `<home>/bin` holds this program under the names of the tools it contains.
pub(super) fn link_tools(place: &Place) -> Result<(), Error> {
    let exe = installed(std::env::current_exe().map_err(Error::Kernel)?);
    for tool in ["kubectl", "etcdctl"] {
        let link = place.home.bin().join(tool);
        if fs::read_link(&link).is_ok_and(|to| to == exe) {
            continue;
        }
        let fresh = place.home.bin().join(format!(".{tool}.{}", std::process::id()));
        // A start of the same pid, as in a container, may have been killed between the two steps.
        let _ = fs::remove_file(&fresh);
        std::os::unix::fs::symlink(&exe, &fresh)
            .and_then(|()| fs::rename(&fresh, &link))
            .map_err(|cause| Error::File { path: link, cause })?;
    }
    Ok(())
}

/// Brings the kubeconfig up to date: server, authority and certificate are renewed, contexts and
/// everything else left alone.
pub(super) fn write_kubeconfig(world: &World) -> Result<(), Error> {
    let path = world.place.kubeconfig();
    let name = format!("ropewalk-{}", world.spec.name);
    let learner = world.identity(tap::LEARNER, "system:masters")?;
    let (cluster, user) = (server(world.ca.pem(), world.api_port), keys(&learner));
    renew_kubeconfig(&path, &name, &cluster, &user, OWN_LOCK_WITHIN)
}

/// The file part of [`write_kubeconfig`]. kubectl may be changing the same file. A lock that a
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
    let merged = merge_kubeconfig(known_kubeconfig(path)?, name, cluster, user);
    let text = serde_yaml::to_string(&merged)
        .map_err(|e| Error::Damaged { path: path.into(), why: e.to_string() })?;
    Ok(pki::write_private(path, &text)?)
}

/// The kubeconfig of an earlier start. One that cannot be read is set aside: contexts that a
/// learner added must not be lost for a typing error.
fn known_kubeconfig(path: &Path) -> Result<Option<Value>, Error> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(Error::File { path: path.into(), cause }),
    };
    match serde_yaml::from_slice::<Value>(&text) {
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

/// A kubeconfig's entry of the API on the host.
fn server(ca_pem: &str, port: u16) -> Value {
    json!({"certificate-authority-data": encode(ca_pem), "server": format!("https://127.0.0.1:{port}")})
}

/// A kubeconfig's entry of a user.
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
    kubeconfig_text(&world.spec.name, &server(world.ca.pem(), world.api_port), &keys(&identity))
}

fn kubeconfig_text(cluster: &str, server: &Value, user: &Value) -> Result<String, Error> {
    let config = merge_kubeconfig(None, &format!("ropewalk-{cluster}"), server, user);
    serde_yaml::to_string(&config).map_err(|e| Error::Start(format!("cannot write a kubeconfig: {e}")))
}

/// Pure: a kubeconfig with this cluster and user in it. An existing current context is kept.
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
/// The cluster has never run; the file is no kubeconfig, or another program is changing it: then it
/// is left as it is.
pub fn merge_into(place: &Place, target: &Path) -> Result<(), Error> {
    merge_within(place, target, LOCK_WITHIN)
}

/// The same, which waits as long for another program that changes the file.
fn merge_within(place: &Place, target: &Path, patience: Duration) -> Result<(), Error> {
    let own = own_entries(place)?.ok_or_else(|| Error::NotRunning(place.name.clone()))?;
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

/// The kubeconfig that kubectl reads without `KUBECONFIG`; none without HOME.
pub fn default_kubeconfig() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(PathBuf::from(home).join(".kube/config"))
}

/// Brings this cluster's context in a kubeconfig of the learner's own up to date, if a merge has put
/// it there and this start has another port. The file is left alone while the context leads to the
/// cluster: the certificate of an earlier start is as good.
///
/// # Errors
/// As for [`merge_into`].
fn renew_in(place: &Place, target: &Path, patience: Duration) -> Result<(), Error> {
    let Some(own) = own_entries(place)? else { return Ok(()) };
    let renewed = |config: Value| {
        unmerged(config.clone(), &own)?;
        let clusters = config["clusters"].as_array().into_iter().flatten();
        let there = clusters.into_iter().find(|cluster| cluster["name"] == own.name.as_str());
        let is_stale = there.is_none_or(|there| there["cluster"]["server"] != own.cluster["server"]);
        is_stale.then(|| merge_kubeconfig(Some(config), &own.name, &own.cluster, &own.user))
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

/// Pure: a kubeconfig without this cluster. `None`: it is not in there. Another cluster may have
/// the same name, but not the same authority.
fn unmerged(mut config: Value, own: &Entries) -> Option<Value> {
    const AUTHORITY: &str = "certificate-authority-data";
    let clusters = config["clusters"].as_array().into_iter().flatten();
    let is_own =
        |c: &Value| c["name"] == own.name.as_str() && c["cluster"][AUTHORITY] == own.cluster[AUTHORITY];
    if !clusters.into_iter().any(is_own) {
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

/// What the cluster's own kubeconfig says of it.
struct Entries {
    name: String,
    cluster: Value,
    user: Value,
}

/// `None`: it has no kubeconfig yet.
fn own_entries(place: &Place) -> Result<Option<Entries>, Error> {
    let path = place.kubeconfig();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(Error::File { path, cause }),
    };
    let own: Value =
        serde_yaml::from_str(&text).map_err(|e| Error::Damaged { path: path.clone(), why: e.to_string() })?;
    let name = format!("ropewalk-{}", place.name);
    let part = |list: &str, what: &str| {
        let items = own[list].as_array().into_iter().flatten();
        items.into_iter().find(|i| i["name"] == name.as_str()).map(|i| i[what].clone()).unwrap_or_default()
    };
    let (cluster, user) = (part("clusters", "cluster"), part("users", "user"));
    Ok(Some(Entries { name, cluster, user }))
}

/// A kubeconfig that is not ours, as text and as what it says. `None`: there is none.
fn read_foreign(path: &Path) -> Result<Option<(String, Value)>, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(Error::File { path: path.into(), cause }),
    };
    let why = match serde_yaml::from_str::<Value>(&text) {
        Ok(config) if config.is_object() || config.is_null() => return Ok(Some((text, config))),
        Ok(_) => "it is not a mapping".to_string(),
        Err(error) => error.to_string(),
    };
    Err(Refusal::BadKubeconfig { path: path.display().to_string(), why }.into())
}

fn write_foreign(path: &Path, config: &Value) -> Result<(), Error> {
    let text = serde_yaml::to_string(config)
        .map_err(|e| Error::Start(format!("cannot write {}: {e}", path.display())))?;
    replace(path, &text).map_err(|cause| Error::File { path: path.into(), cause })
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

    /// The cluster stands in `/`, wherever it was started.
    #[test]
    fn a_directory_of_lessons_is_the_one_that_the_person_meant() {
        let here = std::env::current_dir().unwrap();
        let of_process = |name: &str| (name == "ROPEWALK_LABS").then(|| OsString::from("labs"));
        let given = [("ROPEWALK_LESSONS", OsStr::new("my/lessons")), ("OTHER", OsStr::new("x"))];
        let told = directories(&given, of_process);
        assert_eq!(
            told,
            [("ROPEWALK_LESSONS", here.join("my/lessons")), ("ROPEWALK_LABS", here.join("labs"))]
        );
        let told = directories(&[("ROPEWALK_LABS", OsStr::new(""))], of_process);
        assert_eq!(told, [("ROPEWALK_LABS", PathBuf::new())], "the empty text means none");
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

    /// A cluster that has run, and a kubeconfig of the learner's own.
    fn merged_once(dir: &Path) -> (Place, PathBuf) {
        let place = super::super::Home::at(dir).cluster("t").unwrap();
        place.make().unwrap();
        let authority = json!({"server": "a", "certificate-authority-data": "x"});
        let own = merge_kubeconfig(None, "ropewalk-t", &authority, &json!({"k": 1}));
        fs::write(place.kubeconfig(), serde_yaml::to_string(&own).unwrap()).unwrap();
        (place, dir.join("config"))
    }

    #[test]
    fn a_file_that_is_no_kubeconfig_or_is_being_changed_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (place, target) = merged_once(dir.path());
        for text in ["- a list\n", "clusters: [", "just words"] {
            fs::write(&target, text).unwrap();
            let said = merge_into(&place, &target).unwrap_err().to_string();
            assert!(said.contains("cannot be used as a kubeconfig"), "{said}");
            assert_eq!(fs::read_to_string(&target).unwrap(), text);
        }
        fs::write(&target, "current-context: mine\n").unwrap();
        let lock = dir.path().join("config.lock");
        fs::write(&lock, "").unwrap();
        let said = merge_within(&place, &target, Duration::ZERO).unwrap_err().to_string();
        assert!(said.contains("another program") && said.contains("config.lock"), "{said}");
        assert_eq!(fs::read_to_string(&target).unwrap(), "current-context: mine\n");
        fs::remove_file(&lock).unwrap();
        merge_into(&place, &target).unwrap();
        assert!(!lock.exists());
    }

    #[test]
    fn the_context_of_a_cluster_that_is_removed_goes_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (place, target) = merged_once(dir.path());
        remove_from(&place, &target).unwrap();
        assert!(!target.exists());
        let theirs = json!({"contexts": [{"name": "mine", "context": {}}], "current-context": "mine"});
        fs::write(&target, serde_yaml::to_string(&theirs).unwrap()).unwrap();
        merge_into(&place, &target).unwrap();
        remove_from(&place, &target).unwrap();
        let left: Value = serde_yaml::from_str(&fs::read_to_string(&target).unwrap()).unwrap();
        assert_eq!(left["contexts"], theirs["contexts"]);
        assert_eq!((&left["clusters"], &left["users"]), (&json!([]), &json!([])));
        // Somebody else's cluster of the same name.
        let other = merge_kubeconfig(None, "ropewalk-t", &json!({"server": "b"}), &json!({}));
        let text = serde_yaml::to_string(&other).unwrap();
        fs::write(&target, &text).unwrap();
        remove_from(&place, &target).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), text);
    }

    #[test]
    fn a_start_renews_the_context_that_a_merge_has_made_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (place, target) = merged_once(dir.path());
        let renew = || renew_in(&place, &target, Duration::ZERO).unwrap();
        renew();
        assert!(!target.exists(), "there was no merge");
        merge_into(&place, &target).unwrap();
        let mut merged = read_foreign(&target).unwrap().unwrap().1;
        merged["contexts"][0]["context"]["namespace"] = "web".into();
        let text = serde_yaml::to_string(&merged).unwrap() + "# mine\n";
        fs::write(&target, &text).unwrap();
        renew();
        assert_eq!(fs::read_to_string(&target).unwrap(), text, "it leads to the cluster");
        let moved = json!({"server": "b", "certificate-authority-data": "x"});
        let own = merge_kubeconfig(None, "ropewalk-t", &moved, &json!({"k": 2}));
        fs::write(place.kubeconfig(), serde_yaml::to_string(&own).unwrap()).unwrap();
        renew();
        let config = read_foreign(&target).unwrap().unwrap().1;
        assert_eq!(config["clusters"][0]["cluster"]["server"], "b");
        assert_eq!(config["users"][0]["user"]["k"], 2);
        assert_eq!(config["contexts"][0]["context"]["namespace"], "web");
        // A cluster of the same name in another home.
        let other = json!({"server": "c", "certificate-authority-data": "y"});
        let text = serde_yaml::to_string(&merge_kubeconfig(None, "ropewalk-t", &other, &json!({}))).unwrap();
        for text in [text.as_str(), "current-context: mine\n", "- a list\n"] {
            fs::write(&target, text).unwrap();
            renew();
            assert_eq!(fs::read_to_string(&target).unwrap(), text);
        }
    }

    #[test]
    fn a_link_that_a_killed_start_left_does_not_end_the_next_one_of_its_pid() {
        let dir = tempfile::tempdir().unwrap();
        let place = super::super::Home::at(dir.path()).cluster("t").unwrap();
        place.make().unwrap();
        let left = place.home.bin().join(format!(".kubectl.{}", std::process::id()));
        std::os::unix::fs::symlink("/nowhere", &left).unwrap();
        link_tools(&place).unwrap();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(fs::read_link(place.home.bin().join("kubectl")).unwrap(), exe);
        assert!(left.symlink_metadata().is_err());
    }

    /// Otherwise `kubectl` in the session's shell would lead to a file that is not there.
    #[test]
    fn a_program_that_was_replaced_while_it_runs_is_linked_by_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        assert_eq!(installed(path("ropewalk (deleted)")), path("ropewalk"));
        assert_eq!(installed(path("ropewalk")), path("ropewalk"));
        fs::write(path("odd (deleted)"), "").unwrap();
        assert_eq!(installed(path("odd (deleted)")), path("odd (deleted)"), "that is its name");
    }

    /// The learner's kubeconfig may lead elsewhere by now.
    #[test]
    fn a_kubeconfig_for_a_lesson_leads_to_the_clusters_own_port() {
        let text = kubeconfig_text("t", &server("PEM", 7443), &json!({"k": 1})).unwrap();
        let config: Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(config["current-context"], "ropewalk-t");
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://127.0.0.1:7443");
    }

    #[test]
    fn a_kubeconfig_that_cannot_be_read_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        assert_eq!(known_kubeconfig(&path).unwrap(), None);
        fs::write(&path, "contexts: [").unwrap();
        assert_eq!(known_kubeconfig(&path).unwrap(), None);
        assert_eq!(fs::read_to_string(path.with_extension("damaged")).unwrap(), "contexts: [");
        fs::write(&path, b"contexts: [] # \xff").unwrap();
        assert_eq!(known_kubeconfig(&path).unwrap(), None, "it is not UTF-8");
        fs::write(&path, "contexts: []").unwrap();
        assert_eq!(known_kubeconfig(&path).unwrap(), Some(json!({"contexts": []})));
    }

    /// `kubectl config set-context` while the cluster starts.
    #[test]
    fn a_start_loses_no_change_that_is_being_made_to_its_kubeconfig() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        let (server, user) = (json!({"server": "a"}), json!({"k": 1}));
        let renew = |patience| renew_kubeconfig(&path, "ropewalk-t", &server, &user, patience).unwrap();
        let kubectl = ConfigLock::take(&path, Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let start = scope.spawn(|| renew(Duration::from_secs(60)));
            fs::write(&path, "contexts: [{name: mine, context: {}}]").unwrap();
            drop(kubectl);
            start.join().unwrap();
        });
        let config: Value = serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let contexts = config["contexts"].as_array().unwrap();
        assert_eq!(contexts.iter().map(|c| &c["name"]).collect::<Vec<_>>(), ["mine", "ropewalk-t"]);
        // A program was killed in the middle of its change.
        fs::write(dir.path().join("kubeconfig.lock"), "").unwrap();
        fs::remove_file(&path).unwrap();
        renew(Duration::ZERO);
        assert!(path.exists() && dir.path().join("kubeconfig.lock").exists(), "it is not this start's");
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
