//! A server on a store in memory, for tests; and, served on loopback with a kubeconfig, for real clients.

use super::{Cidr, Config, Server};
use crate::client;
use crate::etcd::{Kv, Storage};
use crate::pki::{Ca, Subject, TokenKey, asking_server_config, client_config};
use crate::rng::Rng;
use crate::tap::Tap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub struct Fixture {
    pub server: Server,
    pub ca: Ca,
    pub tap: Tap,
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

/// The same at this address.
pub async fn start_at(dir: &Path, kv: Arc<dyn Storage>, on: SocketAddr) -> Fixture {
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
        tap: tap.at("test", "kube-apiserver"),
        rng,
        tls,
        clients,
        tokens: Arc::new(TokenKey::load_or_create(dir).unwrap()),
        service_cidr: Cidr::parse("10.96.0.0/12").unwrap(),
        node_ports: (30000, 32767),
        kubelet_tls: client_config(Some(&admin), ca.pem(), &[]).unwrap(),
        dial: client::direct(),
        advertise: address,
    });
    server.ready().await;
    let serving = server.clone();
    tokio::spawn(async move { serving.serve(listener, CancellationToken::new()).await });
    let kubeconfig = kubeconfig(&address.to_string(), ca.pem(), &admin.cert_pem, &admin.key_pem);
    std::fs::write(dir.join("kubeconfig"), &kubeconfig).unwrap();
    Fixture { server, ca, tap, kubeconfig }
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
