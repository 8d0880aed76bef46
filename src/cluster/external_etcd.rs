//! A store that is not the cluster's own: etcd servers that somebody else runs, as `kube-apiserver --etcd-servers` knows them.

use super::{Trouble, chain};
use crate::etcd::grpc::Remote;
use crate::etcd::grpc::client::Endpoint;
use crate::pki::{self, Identity};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where its servers are, and what they want to see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalEtcd {
    /// `http://host:2379` or `https://host:2379`, one a server.
    pub endpoints: Vec<String>,
    /// Absolute paths of PEM files. `https` needs the authority; with certificates for clients also the other two.
    pub cacert: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl ExternalEtcd {
    /// A client. Errors name the file or the server.
    pub async fn connect(&self) -> Result<Remote, Trouble> {
        let trouble = |why: String| Trouble::NoEtcd { endpoints: self.endpoints.join(","), why };
        let endpoints = self.endpoints.iter().map(|e| Endpoint::parse(e, false));
        let endpoints: Vec<Endpoint> = endpoints.collect::<Result<_, _>>().map_err(|e| trouble(chain(&e)))?;
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|e| trouble(format!("{}: {e}", path.display())))
        };
        let tls = match &self.cacert {
            Some(authority) => {
                let identity = match (&self.cert, &self.key) {
                    (Some(cert), Some(key)) => Some(Identity { cert_pem: read(cert)?, key_pem: read(key)? }),
                    _ => None,
                };
                let config = pki::client_config(identity.as_ref(), &read(authority)?, &["h2"]);
                Some(config.map_err(|e| trouble(chain(&e)))?)
            }
            None => None,
        };
        Remote::connect(endpoints, tls).await.map_err(|e| trouble(chain(&e)))
    }

    /// Its part of a cluster's status, as that of the cluster's own store.
    pub fn status(&self) -> Value {
        json!({"endpoints": self.endpoints, "cacert": self.cacert, "cert": self.cert, "key": self.key})
    }
}
