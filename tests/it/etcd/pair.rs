//! A member of ours and a real etcd, both new, with a client each.

use super::super::support::{PATIENCE, skip};
use etcd::grpc::client::{Channel, Endpoint};
use etcd::{Config, Server, grpc, member_id, pb};
use pki::{Ca, Subject, client_config, mutual_server_config};
use rng::Rng;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tap::Tap;
use task::Crew;
use tokio::net::TcpListener;

/// A program on PATH.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|d| d.join(name)).find(|p| p.is_file())
}

pub(super) struct Ours {
    pub client: Channel,
    pub port: u16,
    /// Of the authority and of a client: `ca.crt`, `client.crt`, `client.key`.
    pub files: PathBuf,
    pub server: Server,
    crew: Crew,
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.crew.kill();
        self.server.kill();
    }
}

impl Ours {
    pub(super) async fn start(dir: &Path) -> Ours {
        let ca = Ca::load_or_create(dir, "etcd-ca").unwrap();
        let member = ca.issue(&Subject::server("one", &["127.0.0.1", "localhost"])).unwrap();
        let client = ca.issue(&Subject::client("client", "")).unwrap();
        std::fs::write(dir.join("client.crt"), &client.cert_pem).unwrap();
        std::fs::write(dir.join("client.key"), &client.key_pem).unwrap();
        let config = Config::new("one", dir.join("data"), Tap::new(), Rng::seeded(1));
        let server = Server::start(config).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let crew = Crew::new("etcd");
        let me = pb::Member {
            id: member_id("one"),
            name: "one".into(),
            peer_urls: vec!["http://localhost:2380".into()],
            client_urls: vec![format!("https://127.0.0.1:{port}")],
            is_learner: false,
        };
        let (_, members) = tokio::sync::watch::channel(vec![me]);
        let face = grpc::Face::new(&server, "test", members, &crew);
        let tls = mutual_server_config(&member, ca.pem()).unwrap();
        crew.spawn(grpc::serve(face, listener, tls));
        let tls = client_config(Some(&client), ca.pem(), &["h2"]).unwrap();
        let endpoint = Endpoint { tls: true, host: "127.0.0.1".into(), port };
        let client = Channel::connect(&endpoint, Some(tls)).await.unwrap();
        Ours { client, port, files: dir.into(), server, crew }
    }
}

/// A real etcd.
pub(super) struct Real {
    pub client: Channel,
    pub port: u16,
    peer: u16,
    dir: PathBuf,
    tls: Option<Arc<rustls::ClientConfig>>,
    _process: Process,
}

/// Ends with its owner, also in the middle of a failed start.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended by itself
        let _ = self.0.wait();
    }
}

impl Real {
    /// `None`, with a word, on a machine without etcd.
    pub(super) async fn start(dir: &Path) -> Option<Real> {
        Real::begin_anew(dir, None).await
    }

    /// One that wants to see certificates: `ca.crt`, `client.crt` and `client.key` in `dir` are
    /// what a client needs.
    pub(super) async fn secure(dir: &Path) -> Option<Real> {
        let ca = Ca::load_or_create(dir, "etcd-ca").unwrap();
        let member = ca.issue(&Subject::server("one", &["127.0.0.1", "localhost"])).unwrap();
        let client = ca.issue(&Subject::client("client", "")).unwrap();
        for (name, identity) in [("member", &member), ("client", &client)] {
            std::fs::write(dir.join(format!("{name}.crt")), &identity.cert_pem).unwrap();
            std::fs::write(dir.join(format!("{name}.key")), &identity.key_pem).unwrap();
        }
        let tls = client_config(Some(&client), ca.pem(), &["h2"]).unwrap();
        Real::begin_anew(dir, Some(tls)).await
    }

    /// Killed, and begun again on the same data and port.
    pub(super) async fn again(self) -> Real {
        let Real { client, port, peer, dir, tls, _process } = self;
        drop((client, _process));
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(real) = Real::begin(&dir, port, peer, tls.clone()).await {
                return real;
            }
            assert!(Instant::now() < deadline, "etcd ends as soon as it is begun again on port {port}");
        }
    }

    /// Begins one on a new store. Another process may take a port before etcd does: then etcd ends,
    /// and is begun on other ports.
    async fn begin_anew(dir: &Path, tls: Option<Arc<rustls::ClientConfig>>) -> Option<Real> {
        if on_path("etcd").is_none() {
            skip("there is no etcd on PATH to compare with");
            return None;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(real) = Real::begin(dir, free(), free(), tls.clone()).await {
                return Some(real);
            }
            assert!(Instant::now() < deadline, "etcd ends as soon as it is begun");
            let _ = std::fs::remove_dir_all(dir.join("real")); // it names the ports of the try before
        }
    }

    /// Returns `None` if etcd ends before it answers.
    async fn begin(dir: &Path, port: u16, peer: u16, tls: Option<Arc<rustls::ClientConfig>>) -> Option<Real> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{port}");
        let peers = format!("http://127.0.0.1:{peer}");
        let mut command = Command::new("etcd");
        command
            .args(["--name", "one", "--log-level", "error", "--unsafe-no-fsync", "--data-dir"])
            .arg(dir.join("real"))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("one={peers}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if tls.is_some() {
            let file = |name: &str| dir.join(name);
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(file("ca.crt"));
            command.arg("--cert-file").arg(file("member.crt")).arg("--key-file").arg(file("member.key"));
        }
        let mut process = Process(command.spawn().unwrap());
        let endpoint = Endpoint { tls: tls.is_some(), host: "127.0.0.1".into(), port };
        let deadline = Instant::now() + PATIENCE;
        loop {
            // It listens before it has a leader; a linearizable read waits for that.
            if let Ok(client) = Channel::connect(&endpoint, tls.clone()).await {
                let read = pb::RangeRequest { key: "ready".into(), ..Default::default() };
                let answer = client.unary::<_, pb::RangeResponse>("/etcdserverpb.KV/Range", read).await;
                // An answer on a port that etcd did not get is another server's.
                if answer.is_ok() && process.0.try_wait().unwrap().is_none() {
                    let dir = dir.to_path_buf();
                    return Some(Real { client, port, peer, dir, tls, _process: process });
                }
            }
            if process.0.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(Instant::now() < deadline, "etcd does not answer on port {port}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn free() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
