//! What a kubeconfig of our own says: one server by its address, certificates within the file.

use crate::api_client::Client;
use crate::transport::{Endpoint, direct};
use base64::Engine as _;
use pki::Identity;
use serde_json::Value;
use std::net::SocketAddr;

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
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let find = |list: &str, name: &str, what: &str| -> Value {
        let items = config[list].as_array().into_iter().flatten();
        items.into_iter().find(|i| i["name"] == name).map(|i| i[what].clone()).unwrap_or_default()
    };
    let pem = |v: &Value| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text(v)).unwrap_or_default();
        String::from_utf8(bytes).unwrap_or_default()
    };
    let name = text(&config["current-context"]);
    let context = find("contexts", &name, "context");
    let cluster = find("clusters", &text(&context["cluster"]), "cluster");
    let user = find("users", &text(&context["user"]), "user");
    let namespace = text(&context["namespace"]);
    View {
        context: name,
        namespace: if namespace.is_empty() { "default".into() } else { namespace },
        server: text(&cluster["server"]),
        ca_pem: pem(&cluster["certificate-authority-data"]),
        cert_pem: pem(&user["client-certificate-data"]),
        key_pem: pem(&user["client-key-data"]),
    }
}

impl View {
    /// A client as this user; its requests bear the name of `who`. `None` if something is missing.
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
