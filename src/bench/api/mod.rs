//! The API server beside a real kube-apiserver: gets and creates of a ConfigMap by a ServiceAccount
//! with a token, as a program in a pod would ask. Both are spoken to over TLS and HTTP/2, a
//! connection a client, each client waiting for its answer; rounds take turns.

use super::cluster::Cluster;
use super::figure::{Aim, Figure, PeerName, percentile};
use super::part::Part;
use super::stderr;
use super::tasks::join_clients;
use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use client::kubeconfig::{Env, Kubeconfig, Overrides, Target};
use client::remote::{Dial, Upstream};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const ROUND: Duration = Duration::from_secs(2);
/// Bytes of a ConfigMap's value.
const VALUE_BYTES: usize = 512;
/// Seconds that a token is valid: the least that an API server gives. A round has one of its own.
const TOKEN_SECONDS: u64 = 600;
/// Name of the namespace's account, its role and its binding, and of the object that is read.
const NAME: &str = "bench";
/// Objects that are deleted at once, some 1 KB each in the answer.
const PAGE: usize = 1000;
/// How many times as fast as kube-apiserver gets and creates should be.
const GETS: f64 = 4.0;
const CREATES: f64 = 2.0;

/// Measures a cluster of ours, beside the API server of `--peer-kubeconfig`.
///
/// # Errors
/// The cluster cannot be started, one of the two servers refuses a request or does not answer, or
/// Ctrl-C has ended the measurement; with it, what could not be removed from the peer.
pub(crate) async fn measure(part: &Part<'_>) -> anyhow::Result<Vec<Figure>> {
    // Before anything is started: what the file says may be of no use.
    let peer = part.peer_kubeconfig.map(|file| Server::of(file, std::process::id())).transpose()?;
    let home = part.dir.join("api");
    let cluster = Cluster::at(&home, part);
    cluster.up(&["--workers", "0"])?;
    let ours = Server::of(&home.join("clusters/main/kubeconfig"), 0)?.prepare().await?;
    let peer = match peer {
        Some(server) => Some(server.prepare().await?),
        None => None,
    };
    let measured = part.stop.run_until_stopped(figures(part, &ours, peer.as_ref())).await;
    match &peer {
        Some(peer) => with_removal(measured, peer.clean_up().await),
        None => measured,
    }
}

/// Adds what could not be removed to the error of the work. If the work was done, the user sees it
/// instead, and the result stands: it may have taken minutes.
fn with_removal<T>(done: anyhow::Result<T>, removed: anyhow::Result<()>) -> anyhow::Result<T> {
    match (done, removed) {
        (done, Ok(())) => done,
        (Ok(done), Err(left)) => {
            stderr::write_line(format!("ropewalk: not everything was removed: {left:#}"));
            Ok(done)
        }
        (Err(error), Err(left)) => Err(anyhow!("{error:#}; and not everything was removed: {left:#}")),
    }
}

/// Measures gets, and then creations, in rounds that take turns between the two servers.
async fn figures(part: &Part<'_>, ours: &Server, peer: Option<&Server>) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let peer_name = match peer {
        Some(peer) => Some(PeerName::program("kube-apiserver", &peer.version().await?)),
        None => None,
    };
    for (op, name, times) in [(Op::Get, "gets", GETS), (Op::Create, "creates", CREATES)] {
        for clients in [1, 32] {
            let (mut own, mut of_peer) = (Rounds::default(), Rounds::default());
            for round in 0..part.runs_or(3) {
                own.add(ours.round(clients, op, round).await?);
                if let Some(peer) = peer {
                    of_peer.add(peer.round(clients, op, round).await?);
                }
            }
            let figure = |what: &str, unit: &str, own, of_peer, aim| {
                let figure = Figure::new(format!("{name}, clients: {clients}{what}"), unit, own, aim);
                match &peer_name {
                    Some(peer_name) => figure.with_peer(peer_name.clone(), of_peer),
                    None => figure,
                }
            };
            let aim = Aim::OfPeer(times);
            figures.push(figure("", &format!("{name}/s"), own.rate, of_peer.rate, aim));
            figures.push(figure(", p50", "ms", own.p50, of_peer.p50, Aim::None));
            figures.push(figure(", p99", "ms", own.p99, of_peer.p99, aim));
        }
    }
    Ok(figures)
}

/// What several rounds gave.
#[derive(Default)]
struct Rounds {
    /// Operations a second.
    rate: Vec<f64>,
    /// The median of a round's operations, in milliseconds.
    p50: Vec<f64>,
    /// The 99th percentile of a round's operations, in milliseconds.
    p99: Vec<f64>,
}

impl Rounds {
    /// Adds a round, which took `whole`. `times`: how long each operation took, from its request to
    /// its answer.
    fn add(&mut self, (mut times, whole): (Vec<Duration>, Duration)) {
        times.sort_unstable();
        self.p50.push(percentile(&times, 0.5));
        self.p99.push(percentile(&times, 0.99));
        self.rate.push(times.len() as f64 / whole.as_secs_f64());
    }
}

#[derive(Clone, Copy)]
enum Op {
    Get,
    Create,
}

/// An API server, and an account of it that may work in one namespace.
struct Server {
    admin: Upstream,
    target: Arc<Target>,
    namespace: String,
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": "x".repeat(VALUE_BYTES)}})
}

impl Server {
    /// Reads a kubeconfig; nothing is asked yet. `number` keeps the namespace apart from those of
    /// other runs.
    ///
    /// # Errors
    /// The file cannot be read, or names no server that can be asked.
    fn of(kubeconfig: &Path, number: u32) -> anyhow::Result<Server> {
        // An absent file would count as an empty one, as it does for kubectl.
        std::fs::metadata(kubeconfig).with_context(|| kubeconfig.display().to_string())?;
        let admin = Upstream::of(kubeconfig).map_err(|e| anyhow!("{}: {e}", kubeconfig.display()))?;
        let env = Env { kubeconfig: Some(kubeconfig.into()), cwd: "/".into(), ..Env::default() };
        let target = Kubeconfig::load(&env, "")?.target(&env, &Overrides::default())?;
        let namespace = format!("ropewalk-bench-{number}");
        let target = Target { certificate: None, plugin: None, authorization: None, ..target };
        Ok(Server { admin, target: Arc::new(target), namespace })
    }

    /// Makes a namespace, an account that may edit it, and an object. What a failed preparation has
    /// made is removed again.
    async fn prepare(self) -> anyhow::Result<Server> {
        self.create("/api/v1/namespaces", json!({"metadata": {"name": self.namespace}})).await?;
        match self.make_objects().await {
            Ok(()) => Ok(self),
            Err(error) => with_removal(Err(error), self.clean_up().await),
        }
    }

    /// Makes what the rounds need in the namespace.
    async fn make_objects(&self) -> anyhow::Result<()> {
        self.create(&self.core("serviceaccounts"), json!({"metadata": {"name": NAME}})).await?;
        // A role of its own: `edit` is empty where no controller manager runs, which aggregates its
        // rules.
        let role = json!({"metadata": {"name": NAME},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create"]}]});
        self.create(&self.rbac("roles"), role).await?;
        let binding = json!({"metadata": {"name": NAME},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": self.namespace}]});
        self.create(&self.rbac("rolebindings"), binding).await?;
        self.create(&self.core("configmaps"), config_map(NAME)).await.map(drop)
    }

    /// Makes a new token of the account.
    async fn token(&self) -> anyhow::Result<String> {
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS}});
        let answer = self.create(&self.core(&format!("serviceaccounts/{NAME}/token")), request).await?;
        let token = answer["status"]["token"].as_str();
        Ok(token.with_context(|| format!("{} gave no token", self.admin.url()))?.to_string())
    }

    /// Returns the server's version, e.g. `1.35.0`.
    async fn version(&self) -> anyhow::Result<String> {
        let answer = self.send(Method::GET, "/version", None).await?;
        let version = answer["gitVersion"].as_str();
        let version = version.with_context(|| format!("{} does not say its version", self.admin.url()))?;
        Ok(version.trim_start_matches('v').to_string())
    }

    /// Returns the path of something in the namespace, in the core group.
    fn core(&self, rest: &str) -> String {
        format!("/api/v1/namespaces/{}/{rest}", self.namespace)
    }

    /// Returns the path of something in the namespace, in the group of roles.
    fn rbac(&self, rest: &str) -> String {
        format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}/{rest}", self.namespace)
    }

    /// Creates an object as the kubeconfig's user.
    async fn create(&self, path: &str, object: Value) -> anyhow::Result<Value> {
        self.send(Method::POST, path, Some(&object)).await
    }

    /// Deletes an object, or those of a list, as the kubeconfig's user.
    async fn remove(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::DELETE, path, None).await
    }

    /// Sends a request as the kubeconfig's user. 404 is an error only for a creation: all other
    /// requests but that for the version belong to a removal, as the one update does, of a
    /// namespace's finalizers. For that, 409 says that a namespace controller has changed the
    /// namespace meanwhile, and will remove it.
    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let (may_be_gone, may_have_changed) = (method != Method::POST, method == Method::PUT);
        let answered = self.admin.ask(method, path, body).await;
        let (code, answer) = answered.map_err(|e| anyhow!("{}{path}: {e}", self.admin.url()))?;
        let is_fine =
            (200..300).contains(&code) || code == 404 && may_be_gone || code == 409 && may_have_changed;
        ensure!(is_fine, "{}{path}: {code} {}", self.admin.url(), answer["message"]);
        Ok(answer)
    }

    /// Removes what was made in the namespace, and the namespace. All of it is tried.
    ///
    /// # Errors
    /// The first that could not be removed.
    async fn clean_up(&self) -> anyhow::Result<()> {
        let emptied = self.remove_objects().await;
        self.remove_namespace(emptied).await
    }

    /// Removes the namespace. `emptied`: what came of emptying it. Clients of an interrupted bench
    /// may have created objects after that, so it is emptied once more when nothing can be created
    /// in it any longer.
    async fn remove_namespace(&self, emptied: anyhow::Result<()>) -> anyhow::Result<()> {
        let namespace = self.remove(&format!("/api/v1/namespaces/{}", self.namespace)).await;
        let emptied_again = self.remove_config_maps().await;
        emptied.and(emptied_again)?;
        self.finalize(namespace?).await
    }

    /// Removes the finalizer of this namespace, which is being deleted, if no namespace controller
    /// will: where a controller manager runs, each namespace has a ServiceAccount and a ConfigMap.
    /// Only an empty namespace is finalized, and nothing can be created in it any more, so nothing
    /// is orphaned.
    async fn finalize(&self, mut namespace: Value) -> anyhow::Result<()> {
        if namespace["metadata"]["deletionTimestamp"].is_null() {
            return Ok(()); // it is gone
        }
        for kind in ["serviceaccounts", "configmaps"] {
            let left = self.send(Method::GET, &self.core(&format!("{kind}?limit=1")), None).await?;
            if left["items"].as_array().is_some_and(|items| !items.is_empty()) {
                return Ok(());
            }
        }
        namespace["spec"]["finalizers"] = json!([]);
        self.send(Method::PUT, &self.core("finalize"), Some(&namespace)).await.map(drop)
    }

    /// Deletes all that [`Server::make_objects`] and the rounds have made.
    async fn remove_objects(&self) -> anyhow::Result<()> {
        let mut emptied = self.remove_config_maps().await;
        let account = self.core("serviceaccounts");
        for made in [self.rbac("rolebindings"), self.rbac("roles"), account] {
            let removed = self.remove(&format!("{made}/{NAME}")).await;
            emptied = emptied.and(removed.map(drop));
        }
        emptied
    }

    /// Deletes the ConfigMaps page by page: the server answers with all that it has deleted.
    async fn remove_config_maps(&self) -> anyhow::Result<()> {
        let path = format!("{}?limit={PAGE}", self.core("configmaps"));
        while self.remove(&path).await?["metadata"]["continue"].as_str().is_some_and(|more| !more.is_empty())
        {
        }
        Ok(())
    }

    /// Opens a connection. The future carries it, and ends when the sender is gone.
    async fn connect(&self) -> anyhow::Result<(SendRequest<Full<Bytes>>, BoxFuture<'static, ()>)> {
        let (io, h2) = Dial::new(self.target.clone(), &["h2"])?.connect().await?;
        ensure!(h2, "{} does not speak HTTP/2", self.target.host);
        let (sender, connection): (SendRequest<Full<Bytes>>, _) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
        let carried = async move {
            let _ = connection.await; // its error is that of the request, too
        };
        Ok((sender, carried.boxed()))
    }

    /// Measures a round of so many clients: how long each operation took, and the round itself.
    /// What it created is removed again outside its time: many rounds would fill a server's store,
    /// which then refuses creations. The object that is read goes, too; no gets come after
    /// creations.
    async fn round(&self, clients: usize, op: Op, round: usize) -> anyhow::Result<(Vec<Duration>, Duration)> {
        let authorization = format!("Bearer {}", self.token().await?);
        let opened = futures::future::try_join_all((0..clients).map(|_| self.connect())).await?;
        let (senders, carried): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
        let _connections: JoinSet<()> = carried.into_iter().collect(); // they end with the round
        let start = Instant::now();
        // The clients end with this set: it is dropped when the bench is interrupted or one of
        // them fails.
        let tasks: JoinSet<_> = senders
            .into_iter()
            .enumerate()
            .map(|(client, mut sender)| {
                let authorization = authorization.clone();
                let base =
                    format!("https://{}{}{}", self.target.host, self.target.base, self.core("configmaps"));
                async move {
                    let mut times = Vec::new();
                    while start.elapsed() < ROUND {
                        let name = format!("{clients}-{round}-{client}-{}", times.len());
                        let request = match op {
                            Op::Get => Request::get(format!("{base}/{NAME}")).body(Full::default()),
                            Op::Create => Request::post(&base)
                                .header(header::CONTENT_TYPE, "application/json")
                                .body(Full::from(config_map(&name).to_string())),
                        };
                        let mut request = request?;
                        request.headers_mut().insert(header::AUTHORIZATION, authorization.parse()?);
                        let sent = Instant::now();
                        sender.ready().await?;
                        let answer = sender.send_request(request).await?;
                        let code = answer.status();
                        let body = answer.into_body().collect().await?.to_bytes();
                        times.push(sent.elapsed());
                        ensure!(code.is_success(), "{base}: {code} {}", String::from_utf8_lossy(&body));
                    }
                    Ok::<_, anyhow::Error>(times)
                }
            })
            .collect();
        let times = join_clients(tasks, ROUND).await?;
        let whole = start.elapsed();
        if matches!(op, Op::Create) {
            let _ = self.remove_config_maps().await; // what stays goes with the namespace
        }
        Ok((times.concat(), whole))
    }
}

#[cfg(test)]
mod tests;
