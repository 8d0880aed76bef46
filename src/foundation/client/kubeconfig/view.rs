//! What a kubeconfig of our own says: one server by its address, certificates within the file.

use super::merged::{Entry, Kubeconfig};
use crate::api_client::Client;
use crate::transport::{Endpoint, direct};
use api::value;
use base64::Engine as _;
use pki::Identity;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;

/// The current context, resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The name of the context (`current-context`).
    pub context: String,
    /// The context's namespace; `default` if it has none.
    pub namespace: String,
    /// `https://127.0.0.1:6443`
    pub server: String,
    /// The authority's certificate, decoded; empty if there is none.
    pub ca_pem: String,
    /// The user's certificate, decoded; empty if there is none.
    pub cert_pem: String,
    /// The key of `cert_pem`, decoded; empty if there is none.
    pub key_pem: String,
}

/// Pure: resolves the current context. What is missing is empty.
pub fn view(config: &Value) -> View {
    let mut all = Kubeconfig::default();
    all.merge(config, Path::new(""));
    let find = |list: &[Entry], name: &str| -> Value {
        Kubeconfig::find(list, name).map(|entry| entry.value.clone()).unwrap_or_default()
    };
    let text = |value: &Value, key: &str| value::text(value, key).to_string();
    let pem = |value: &Value, key: &str| {
        let decoded = base64::engine::general_purpose::STANDARD.decode(value::text(value, key));
        String::from_utf8(decoded.unwrap_or_default()).unwrap_or_default()
    };
    let context = find(&all.contexts, &all.current);
    let cluster = find(&all.clusters, value::text(&context, "cluster"));
    let user = find(&all.users, value::text(&context, "user"));
    let namespace = text(&context, "namespace");
    View {
        context: all.current,
        namespace: if namespace.is_empty() { "default".into() } else { namespace },
        server: text(&cluster, "server"),
        ca_pem: pem(&cluster, "certificate-authority-data"),
        cert_pem: pem(&user, "client-certificate-data"),
        key_pem: pem(&user, "client-key-data"),
    }
}

impl View {
    /// Makes a client as this user; its requests bear the name of `who`. `None` if something is
    /// missing.
    pub fn client(&self, who: &str) -> Option<Client> {
        let server: SocketAddr = self.server.strip_prefix("https://")?.trim_end_matches('/').parse().ok()?;
        let endpoint = Endpoint {
            servers: vec![server],
            server_name: server.ip().to_string(),
            ca_pem: self.ca_pem.clone(),
            identity: Some(Identity { cert_pem: self.cert_pem.clone(), key_pem: self.key_pem.clone() }),
            user_agent: format!("{who}/{}", env!("CARGO_PKG_VERSION")),
            dial: direct(),
        };
        Client::connect(endpoint).ok()
    }
}
