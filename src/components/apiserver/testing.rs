//! A server on a store in memory, for tests; and, served on loopback with a kubeconfig, for real
//! clients.

use crate::auth::authn::Caller;
use crate::auth::user::{MASTERS, User};
use crate::flowcontrol::compute::LARGE;
use crate::pipeline;
use crate::request::http::{Answer, Body, full};
use crate::request::router::Router;
#[cfg(test)]
use crate::state::State;
use crate::{Cidr, Config, Server};
use bytes::Bytes;
use etcd::{Kv, Storage};
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use pki::{Ca, Subject, TokenKey, asking_server_config, client_config};
use rng::Rng;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tap::Tap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The group that this server's teacher has.
pub const TEACHERS: &str = "teachers:of-the-tests";

/// The only address that this server takes for a pod's.
pub const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 1, 2));

/// Work on large objects that has all turns of administrators until it is ended.
pub struct Busy {
    go_on: watch::Sender<bool>,
    working: Vec<JoinHandle<()>>,
}

impl Busy {
    /// Sends requests until all turns are taken.
    pub async fn begin(server: &Server) -> Busy {
        let (go_on, gate) = watch::channel(false);
        let mut working = vec![];
        loop {
            let (state, mut gate) = (server.state.clone(), gate.clone());
            let (before, _) = server.state.compute.large_of_components();
            working.push(tokio::spawn(async move {
                let work = async move { Ok(gate.wait_for(|go_on| *go_on).await.is_ok()) };
                let admin = User::new("admin", &[MASTERS]);
                let done = state.compute.run(&admin, LARGE + 1, CancellationToken::new(), work).await;
                assert!(done.is_ok_and(|is_open| is_open));
            }));
            loop {
                match server.state.compute.large_of_components() {
                    (_, 1..) => return Busy { go_on, working }, // the last one waits
                    (running, _) if running > before => break,
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        }
    }

    /// Lets the requests go on, and waits for their answers.
    pub async fn end(self) {
        self.go_on.send_replace(true);
        for one in self.working {
            one.await.unwrap();
        }
    }
}

/// An API server that listens on loopback, and what a test needs beside it.
pub struct Fixture {
    /// The server itself, for requests without a connection.
    pub server: Server,
    /// Signs certificates of further users.
    pub ca: Ca,
    /// What the server records.
    pub tap: Tap,
    /// The text of a kubeconfig for a member of `system:masters`.
    pub kubeconfig: String,
}

/// A ready server that listens on loopback; files go to `dir`.
pub async fn start(dir: &Path) -> Fixture {
    start_on(dir, Arc::new(Kv::in_memory(Rng::seeded(1).fork("etcd")))).await
}

/// One more server of a store.
pub async fn start_on(dir: &Path, kv: Arc<dyn Storage>) -> Fixture {
    start_at(dir, kv, "127.0.0.1:0".parse().unwrap()).await
}

/// As [`start_on`], at this address.
pub async fn start_at(dir: &Path, kv: Arc<dyn Storage>, on: SocketAddr) -> Fixture {
    let begun = begin_at(dir, kv, on).await;
    begun.server.ready().await;
    begun
}

/// A server that serves, and may not have read its store yet.
pub async fn begin_at(dir: &Path, kv: Arc<dyn Storage>, on: SocketAddr) -> Fixture {
    let ca = Ca::load_or_create(dir, "kubernetes").unwrap();
    let identity = ca.issue(&Subject::server("kube-apiserver", &["localhost", "127.0.0.1"])).unwrap();
    let (tls, clients) = asking_server_config(&identity, ca.pem()).unwrap();
    let admin = ca.issue(&Subject::client("kubernetes-admin", "system:masters")).unwrap();
    let listener = TcpListener::bind(on).await.unwrap();
    let address = listener.local_addr().unwrap();
    let rng = Rng::seeded(1);
    let tap = Tap::new();
    let server = Server::start(Config {
        kv,
        tap: tap.at("test", tap::Component::ApiServer),
        rng,
        tls,
        clients,
        teachers: TEACHERS.into(),
        tokens: Arc::new(TokenKey::load_or_create(dir).unwrap()),
        service_cidr: Cidr::parse("10.96.0.0/12").unwrap(),
        is_inside: |ip| ip == INSIDE,
        node_ports: (30000, 32767),
        kubelet_tls: client_config(Some(&admin), ca.pem(), &[]).unwrap(),
        dial: client::direct(),
        advertise: address,
    });
    let serving = server.clone();
    tokio::spawn(async move { serving.serve(listener, CancellationToken::new()).await });
    let kubeconfig = kubeconfig(&address.to_string(), ca.pem(), &admin.cert_pem, &admin.key_pem);
    std::fs::write(dir.join("kubeconfig"), &kubeconfig).unwrap();
    Fixture { server, ca, tap, kubeconfig }
}

impl Server {
    /// Answers a request that comes over no connection, as if `user` had been authenticated.
    /// Watches end when the server stops.
    pub fn call(&self, request: ::http::Request<Body>, user: User) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            pipeline::serve(&Router, self, request, Caller::InProcess(user), self.crew.token()).await
        })
    }
}

/// Sends a request by [`Server::call`]. An answer that is no JSON becomes a text.
pub async fn send(
    server: &Server,
    user: User,
    (method, path): (&str, &str),
    (media, body): (&str, impl Into<Bytes>),
    session: &str,
) -> (u16, Value) {
    let request = ::http::Request::builder().method(method).uri(path);
    let request = request.header("content-type", media).header("kubectl-session", session);
    answer_of(server.call(request.body(full(body)).unwrap(), user).await).await
}

async fn answer_of(answer: Answer) -> (u16, Value) {
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let text = || String::from_utf8_lossy(&bytes).into_owned().into();
    (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| text()))
}

/// A request of an administrator with a body in JSON; a patch is a merge patch.
#[cfg(test)]
pub(crate) async fn ask(server: &Server, method: &str, path: &str, body: Value) -> (u16, Value) {
    let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    send(server, User::new("admin", &[MASTERS]), (method, path), (media, body.to_string()), "").await
}

/// A server on files of its own, for the tests of this room.
#[cfg(test)]
pub(crate) struct Api {
    pub(crate) fixture: Fixture,
    _dir: tempfile::TempDir,
}

#[cfg(test)]
impl Api {
    /// With the ServiceAccount that pods of the default namespace need.
    pub(crate) async fn new() -> Api {
        Api::bare().await.with_account("default").await
    }

    /// As a cluster begins: there is no ServiceAccount, since no controller makes one.
    pub(crate) async fn bare() -> Api {
        Api::on(Arc::new(Kv::in_memory(Rng::seeded(1).fork("etcd")))).await
    }

    /// One more server of a store.
    pub(crate) async fn on(kv: Arc<dyn Storage>) -> Api {
        let dir = tempfile::tempdir().unwrap();
        let fixture = start_on(dir.path(), kv).await;
        Api { fixture, _dir: dir }
    }

    /// Makes the ServiceAccount `default` of a namespace.
    pub(crate) async fn with_account(self, namespace: &str) -> Api {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        self.made(&path, serde_json::json!({"metadata": {"name": "default"}})).await;
        self
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.fixture.server.state
    }

    /// A request of any user.
    pub(crate) async fn send(&self, user: User, request: ::http::Request<Body>) -> (u16, Value) {
        answer_of(self.fixture.server.call(request, user).await).await
    }

    /// A request of an administrator with a body in JSON; a patch is a merge patch.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        ask(&self.fixture.server, method, path, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask("POST", path, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask("PUT", path, body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask("PATCH", path, body).await
    }

    pub(crate) async fn delete(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask("DELETE", path, body).await
    }

    /// A delete whose options stand in the query.
    pub(crate) async fn delete_without_body(&self, path: &str) -> (u16, Value) {
        let admin = User::new("admin", &[MASTERS]);
        send(&self.fixture.server, admin, ("DELETE", path), ("application/json", ""), "").await
    }

    /// Creates an object and returns it.
    pub(crate) async fn made(&self, path: &str, body: Value) -> Value {
        let (code, made) = self.post(path, body).await;
        assert_eq!(code, 201, "{made}");
        made
    }
}

fn kubeconfig(address: &str, ca: &str, cert: &str, key: &str) -> String {
    use base64::Engine as _;
    let b64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\ncontexts:\n- name: test\n  context: {{cluster: test, user: admin}}\n\
         clusters:\n- name: test\n  cluster: {{server: 'https://{address}', certificate-authority-data: {}}}\n\
         users:\n- name: admin\n  user: {{client-certificate-data: {}, client-key-data: {}}}\n",
        b64(ca),
        b64(cert),
        b64(key)
    )
}
