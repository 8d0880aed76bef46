//! # Lessons on a cluster that Ropewalk did not start
//!
//! ## In Kubernetes
//! A kubeconfig is all that a client knows of a cluster: its address, its authority and the user's
//! credentials. The cluster's RBAC decides what that user may do, and in which namespaces.
//! ## How this one works
//! ```text
//! kubectl, k9s, curl ─┐ learner  ┌────────────────── this process ──────────────────┐
//!                     ├─────────▶│ relay ──▶ upstream ──▶ the foreign API server    │
//! lesson engine ──────┘ teacher  │   │ permit: changes end at the lesson's namespace │
//!   ▲  watches, probes           │   └─▶ observer ──▶ tap                            │
//!   └─ control.sock ─────────────┴───────────────────────────────────────────────────┘
//! ```
//! To its guests this is a [`HostCluster`] like our own cluster: a place with a kubeconfig and a
//! control socket, clients with names, a tap. Behind it is a [`relay`], which knows learner and
//! teacher by the certificates it gave them, adds the kubeconfig's credentials and passes requests
//! on. So the requests of every client are seen ([`observer`]), and none changes anything outside
//! the open lesson's namespace. [`namespaces`] makes that namespace, labels it, and deletes only
//! what carries our labels. The kubeconfig is only read; the learner's session has one of its own.
//!
//! What differs from home: `trace` is the learner's and the teacher's requests and their answers,
//! no hop inside the cluster. A history is what the lesson's watches saw since they began; the
//! writer of a version is known if the write passed here. Revisions are compared as numbers, which
//! Kubernetes promises since 1.35 and every API server on etcd has always kept. Faults, undo and
//! rewind are our own cluster's alone.
//! ## Left out
//! Tokens and certificates of a kubeconfig that change while the session lasts: it is read once.
//! But a file with a token (`tokenFile`) is read again for each request, and a credential plugin
//! (`users[].user.exec`) is asked again when its answer runs out.
//! ## Read next
//! `lab::needs`, which decides what a lesson needs and so whether it can be played here.

mod access;
mod namespaces;
mod observer;
mod refusal;
mod relay;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use super::boot::ready::Progress;
use super::control::{self, Reply, Target};
use super::faults::Fault;
use super::guest::{Guests, HostCluster, Inside, LessonScope, Offers, Seen};
use super::undo::Past;
use super::{Error, Home, Place, Refusal, kubeconfig, launch};
use api::kinds::Kind;
use api::value::text;
use api::yaml;
use client::remote::Upstream;
use client::{Client, Endpoint, direct};
use futures::future::BoxFuture;
use http::Method;
use linux::lock::Lock;
use namespaces::Namespaces;
use nix::fcntl::OFlag;
use observer::Observer;
use parking_lot::Mutex;
use pki::{self, Ca, Identity, Subject};
use relay::Relay;
use rng::Rng;
use serde_json::{Value, json};
use sha2::Digest;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tap::{Component, Event, Record, Tap};
use task::Crew;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use refusal::ForeignRefusal;

/// The user that everything but the teacher's acts are done by.
const LEARNER: &str = "learner";
/// How long another session on the same cluster may take to end.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// The beginning of the namespaces' names.
pub const PREFIX: &str = "ropewalk";

/// Returns the directory for a kubeconfig. The same server and context give the same directory.
///
/// # Errors
/// [`Refusal::BadKubeconfig`]: the file cannot be read or used; also as [`Home::cluster`].
pub fn place(home: &Home, kubeconfig: &Path) -> Result<Place, Error> {
    let upstream = read(kubeconfig)?;
    let digest = sha2::Sha256::digest(format!("{} {}", upstream.url(), upstream.context));
    let hash: String = digest.iter().take(3).map(|b| format!("{b:02x}")).collect();
    let slug: String = upstream
        .context
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(24)
        .collect();
    home.cluster(&format!("foreign-{}-{hash}", slug.trim_matches('-')))
}

fn read(kubeconfig: &Path) -> Result<Upstream, Error> {
    let path = kubeconfig.display().to_string();
    let cannot = |why: String| Error::from(Refusal::BadKubeconfig { path: path.clone(), why });
    if let Err(error) = std::fs::File::open(kubeconfig) {
        return Err(cannot(error.to_string()));
    }
    Upstream::of(kubeconfig).map_err(cannot)
}

/// A foreign cluster with our guests beside it, for as long as this lives.
pub struct Foreign {
    inner: Arc<Inner>,
    crew: Crew,
    /// Only one process at a time stands on one place.
    _lock: Lock,
}

struct Inner {
    place: Place,
    tap: Tap,
    upstream: Arc<Upstream>,
    namespaces: Namespaces,
    observer: Observer,
    namespace: Arc<Mutex<String>>,
    ca: Ca,
    relay: SocketAddr,
    identities: Mutex<BTreeMap<String, Identity>>,
    /// Kubeconfigs in memory, by user: from a file the learner could read the teacher's key.
    kubeconfigs: Mutex<BTreeMap<String, OwnedFd>>,
    offers: Offers,
    nodes: usize,
}

/// Starts the guests, and answers on the session's socket. A request to stop ends the crew.
fn serve_control(crew: &Crew, inner: &Arc<Inner>, listener: UnixListener, guests: Guests) {
    let ready = Progress {
        store: true,
        api: true,
        nodes: inner.nodes,
        nodes_ready: inner.nodes,
        ready: true,
        started: true,
        ..Progress::default()
    };
    let (keep, progress) = watch::channel(ready);
    let server =
        control::Server { target: inner.clone(), progress, stop: CancellationToken::new(), guests: guests() };
    for guest in &server.guests {
        guest.start(crew, inner.clone());
    }
    let stop = server.stop.clone();
    control::serve(crew, listener, server);
    let over = crew.clone();
    // It ends with the crew, so nothing of a session that was closed is left.
    crew.spawn(async move {
        // A client that asks for progress hears of the end by the end of the connection.
        let _open = keep;
        stop.cancelled().await;
        over.kill();
    });
}

impl Foreign {
    /// Starts the relay and the guests. `prefix` begins the names of namespaces.
    ///
    /// # Errors
    /// [`Refusal::BadKubeconfig`] as [`place`]. [`Refusal::Running`]: another session is open on
    /// this cluster. [`Refusal::ForeignCluster`]: the cluster does not answer, or not to this
    /// user. Others: a local file, socket or certificate cannot be made, or the ledger of
    /// namespaces cannot be read ([`Refusal::BadLedger`]).
    pub async fn open(
        place: &Place,
        kubeconfig: &Path,
        prefix: &str,
        guests: Guests,
    ) -> Result<Foreign, Error> {
        let upstream = Arc::new(read(kubeconfig)?);
        place.make_lock()?;
        let lock = Lock::take(&place.lock(), LOCK_PATIENCE).map_err(|cause| match cause.kind() {
            std::io::ErrorKind::WouldBlock => Refusal::Running { name: place.name.clone() }.into(),
            _ => Error::File { path: place.lock(), cause },
        })?;
        // First, so that a cluster that cannot be used leaves no directory.
        let nodes = access::check_access(&upstream).await?;
        // A `reset` that had the lock has removed what was there before.
        place.make()?;
        launch::link_tools(place)?;
        let rng = Rng::from_os();
        let namespaces = Namespaces::load(upstream.clone(), place.foreign(), prefix, &rng)?;
        let tap = Tap::new();
        let observer = Observer::new(tap.at(upstream.host(), Component::ApiServer), rng.fork("observer"));
        pki::remove_unfinished(&place.root);
        let ca = fresh_authority(&place.pki())?;
        let serving = ca.issue(&Subject::server("relay", &["127.0.0.1", "localhost"]))?;
        let tls = pki::server_config(&serving, ca.pem())?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(Error::Kernel)?;
        let inner = Arc::new(Inner {
            place: place.clone(),
            tap,
            upstream: upstream.clone(),
            namespaces,
            observer: observer.clone(),
            namespace: Arc::default(),
            ca,
            relay: listener.local_addr().map_err(Error::Kernel)?,
            identities: Mutex::default(),
            kubeconfigs: Mutex::default(),
            offers: Offers {
                own: false,
                workers: nodes.iter().filter(|control| !**control).count().min(255) as u8,
                control_planes: nodes.iter().filter(|control| **control).count().min(255) as u8,
            },
            nodes: nodes.len(),
        });
        pki::write_private(&place.kubeconfig(), &inner.kubeconfig_text(LEARNER, "")?)?;
        let socket = place.socket();
        let _ = std::fs::remove_file(&socket); // left by a killed session: we hold the lock
        let control = UnixListener::bind(&socket).map_err(|cause| Error::File { path: socket, cause })?;
        let crew = Crew::new("foreign");
        relay::start(&crew, listener, tls, Relay { upstream, observer, namespace: inner.namespace.clone() });
        serve_control(&crew, &inner, control, guests);
        Ok(Foreign { inner, crew, _lock: lock })
    }

    /// Returns how many nodes the kubeconfig's user may see; 0 if none.
    pub fn nodes(&self) -> usize {
        self.inner.nodes
    }

    /// Returns its address, for people.
    pub fn server(&self) -> String {
        self.inner.upstream.url()
    }

    /// Lists the namespaces there that are ours.
    pub async fn lesson_namespaces(&self) -> Vec<String> {
        self.inner.namespaces.names().await
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.crew.kill();
        // Without this process both lead nowhere.
        let _ = std::fs::remove_file(self.inner.place.socket());
        let _ = std::fs::remove_file(self.inner.place.kubeconfig());
    }
}

/// Makes the authority of one session. Afterwards no file holds its key or one of earlier sessions.
fn fresh_authority(dir: &Path) -> Result<Ca, Error> {
    let forget = |path: &Path| match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::File { path: path.into(), cause })
        }
        _ => Ok(()),
    };
    for name in ["ca.key", "ca.key.new", "ca.crt"] {
        forget(&dir.join(name))?;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|kind| kind == "kubeconfig") {
            forget(&entry.path())?;
        }
    }
    let ca = Ca::load_or_create(dir, "ropewalk-foreign");
    for name in ["ca.key", "ca.key.new"] {
        forget(&dir.join(name))?;
    }
    Ok(ca?)
}

/// Lists the namespaces in this directory's ledger; none if there is no ledger.
///
/// # Errors
/// [`Refusal::BadLedger`] or [`Error::File`]: the ledger cannot be read, so namespaces may be left
/// on the foreign cluster.
pub fn kept(place: &Place) -> Result<Vec<String>, Error> {
    namespaces::remembered(&place.foreign())
}

impl Inner {
    fn identity(&self, user: &str) -> Result<Identity, Error> {
        let mut known = self.identities.lock();
        if let Some(identity) = known.get(user) {
            return Ok(identity.clone());
        }
        let identity = self.ca.issue(&Subject::client(user, ""))?;
        known.insert(user.into(), identity.clone());
        Ok(identity)
    }

    fn namespace(&self) -> String {
        self.namespace.lock().clone()
    }

    /// Returns a kubeconfig that leads to the relay, as this user, in this namespace; empty: in
    /// none.
    fn kubeconfig_text(&self, user: &str, namespace: &str) -> Result<String, Error> {
        let cluster = json!({
            "certificate-authority-data": kubeconfig::encode(self.ca.pem()),
            "server": format!("https://{}", self.relay),
        });
        let keys = kubeconfig::keys(&self.identity(user)?);
        let name = format!("ropewalk-{}", self.place.name);
        let mut config = kubeconfig::merge_kubeconfig(None, &name, &cluster, &keys);
        if !namespace.is_empty() {
            config["contexts"][0]["context"]["namespace"] = namespace.into();
        }
        Ok(yaml::write::to_string(&config))
    }

    /// Makes this the only namespace that may be changed, and the one that kubectl looks into.
    /// After an error both are as they were: what needs a descriptor or room on the disk comes
    /// first.
    fn enter(&self, namespace: &str) -> Result<(), Error> {
        // Held to the end: a kubeconfig that is made meanwhile would have the old namespace.
        let mut files = self.kubeconfigs.lock();
        let mut fresh = Vec::new();
        for user in files.keys() {
            let text = self.kubeconfig_text(user, namespace)?;
            fresh.push(linux::fds::memory_file(text.as_bytes()).map_err(Error::Kernel)?);
        }
        pki::write_private(&self.place.kubeconfig(), &self.kubeconfig_text(LEARNER, namespace)?)?;
        for (file, fresh) in files.values_mut().zip(fresh) {
            // The path, which is in use, stays the same and leads from now on to the new text.
            nix::unistd::dup3(fresh, file, OFlag::O_CLOEXEC).map_err(|e| Error::Kernel(e.into()))?;
        }
        *self.namespace.lock() = namespace.to_string();
        Ok(())
    }

    /// Says to the lesson engine what it cannot have here.
    fn is_foreign(&self, so: &str) -> String {
        format!("{} is not Ropewalk's own cluster: {so}", self.upstream.url())
    }

    /// Refuses a command that only our own cluster carries out.
    fn only_at_home(&self, what: &str) -> Refusal {
        Refusal::OnlyAtHome { what: what.into(), url: self.upstream.url() }
    }
}

impl HostCluster for Inner {
    fn place(&self) -> &Place {
        &self.place
    }
    fn tap(&self) -> &Tap {
        &self.tap
    }
    fn offers(&self) -> Offers {
        self.offers
    }
    /// Returns a client with the rights of the kubeconfig's user.
    fn client(&self, user: &str) -> Result<Client, Error> {
        Ok(Client::connect(Endpoint {
            servers: vec![self.relay],
            server_name: "127.0.0.1".into(),
            ca_pem: self.ca.pem().to_string(),
            identity: Some(self.identity(user)?),
            user_agent: format!("{user}/{}", api::VERSION),
            dial: direct(),
        })?)
    }
    fn kubeconfig(&self, user: &str) -> Result<PathBuf, Error> {
        let mut all = self.kubeconfigs.lock();
        if !all.contains_key(user) {
            let text = self.kubeconfig_text(user, &self.namespace())?;
            let file = linux::fds::memory_file(text.as_bytes());
            all.insert(user.to_string(), file.map_err(Error::Kernel)?);
        }
        let fd = all.get(user).map_or(-1, AsRawFd::as_raw_fd);
        Ok(PathBuf::from(format!("/proc/self/fd/{fd}")))
    }
    fn put_key<'a>(&'a self, _: &'a str, _: String, _: i64) -> BoxFuture<'a, Result<(), String>> {
        let why = self.is_foreign("nothing can be written to its store");
        Box::pin(std::future::ready(Err(why)))
    }
    fn past(&self, past: Past) -> BoxFuture<'_, Result<Value, String>> {
        let why = self.only_at_home(past.command());
        Box::pin(std::future::ready(Err(why.to_string())))
    }
    fn lesson_scope(
        &self,
        lesson: String,
        kinds: Vec<&'static Kind>,
        make: bool,
    ) -> BoxFuture<'_, Result<Option<LessonScope>, Error>> {
        Box::pin(async move {
            let scope = self.namespaces.lesson_scope(&lesson, &kinds, make).await?;
            if let Some(LessonScope { namespace: Some(namespace), fresh, .. }) = &scope {
                if *namespace != self.namespace() {
                    if *fresh {
                        self.observer.forget_namespace(namespace);
                    }
                    self.enter(namespace)?;
                }
                if *fresh {
                    self.namespaces.mark_entered(&lesson).await?;
                }
            }
            Ok(scope)
        })
    }
    fn lesson_namespaces(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(self.namespaces.names())
    }
    fn leave(&self) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        Box::pin(async move {
            self.enter("")?;
            self.namespaces.leave().await
        })
    }
    fn dial(&self, _: SocketAddr, _: Duration) -> BoxFuture<'_, Vec<(String, std::io::Result<TcpStream>)>> {
        Box::pin(std::future::ready(vec![]))
    }
    fn has_port(&self, _: u16) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(false))
    }
    fn inside<'a>(&'a self, _: &'a Inside) -> BoxFuture<'a, Result<Value, String>> {
        let why = self.is_foreign("its store, members and faults cannot be read");
        Box::pin(std::future::ready(Err(why)))
    }
    /// Asks for a list: it is as new as the store, and says how new that is. If the user may not
    /// list pods, or gets no answer, the newest revision that the tap has seen counts.
    fn catch_up(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let path = format!("/api/v1/namespaces/{}/pods?limit=1", self.namespace());
            let Ok((_, pods)) = self.upstream.ask(Method::GET, &path, None).await else { return };
            if let Ok(now) = text(&pods, "metadata.resourceVersion").parse() {
                self.tap.emit(Record::new(Event::Now).revision(now));
            }
        })
    }
    fn saw(&self, seen: Seen<'_>) {
        self.observer.saw(seen);
    }
}

impl Target for Inner {
    fn tap(&self) -> &Tap {
        &self.tap
    }
    fn status<'a>(&'a self, progress: &'a Progress) -> BoxFuture<'a, Value> {
        let status = json!({
            "name": self.place.name,
            "state": "running",
            "kubeconfig": self.place.kubeconfig(),
            "apiServers": [self.upstream.url()],
            "foreign": true,
            "namespace": self.namespace(),
            "nodes": [],
            "pids": {"front": std::process::id()},
            "progress": progress,
        });
        Box::pin(std::future::ready(status))
    }
    fn fault(&self, _: Fault) -> BoxFuture<'_, Reply> {
        Box::pin(std::future::ready(Reply::Refusal(self.only_at_home("fault"))))
    }
    fn network(&self) -> BoxFuture<'_, Reply> {
        Box::pin(std::future::ready(Reply::Refusal(self.only_at_home("net show"))))
    }
    fn past(&self, past: Past) -> BoxFuture<'_, Reply> {
        Box::pin(std::future::ready(Reply::Refusal(self.only_at_home(past.command()))))
    }
    fn without(&self, guest: &str) -> Reply {
        Reply::Refusal(self.only_at_home(guest))
    }
}
