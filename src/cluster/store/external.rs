//! A store that is not the cluster's own: etcd servers that an operator runs elsewhere, as
//! `kube-apiserver --etcd-servers` names them.

use crate::error::chain;
use crate::refusal::Refusal;
use bytes::Bytes;
use etcd::Storage;
use etcd::api::{
    Compare, CompareResult, CompareTarget, PutRequest, RangeRequest, RequestOp, ResponseOp, TxnRequest,
};
use etcd::grpc::Remote;
use etcd::grpc::client::Endpoint;
use pki::{self, Identity};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The key that says which cluster's objects an etcd holds.
pub(crate) const OWNER: &str = "/ropewalk.io/cluster";

/// The addresses of the etcd servers, and the TLS files for connections to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalEtcd {
    /// `http://host:2379` or `https://host:2379`, one a server.
    pub endpoints: Vec<String>,
    /// Absolute path of a PEM file: the authority of the servers' certificates. `https` needs it.
    pub cacert: Option<PathBuf>,
    /// Absolute path of a PEM file: our certificate, if the servers want to see one.
    pub cert: Option<PathBuf>,
    /// Absolute path of a PEM file: the private key of `cert`.
    pub key: Option<PathBuf>,
}

impl ExternalEtcd {
    /// Connects to the first server that accepts, and reads the store's revision.
    ///
    /// # Errors
    /// [`Refusal::NoEtcd`] with the reason: an endpoint is no `http` or `https` address, a PEM file
    /// cannot be read or used, or no server answers. The user has to correct `--etcd` or the files;
    /// servers that do not answer yet may be tried later.
    pub async fn connect(&self) -> Result<Remote, Refusal> {
        let refusal = |why: String| Refusal::NoEtcd { endpoints: self.endpoints.join(","), why };
        let endpoints = self.endpoints.iter().map(|e| Endpoint::parse(e, false));
        let endpoints: Vec<Endpoint> = endpoints.collect::<Result<_, _>>().map_err(|e| refusal(chain(&e)))?;
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|e| refusal(format!("{}: {e}", path.display())))
        };
        let tls = match &self.cacert {
            Some(authority) => {
                let identity = match (&self.cert, &self.key) {
                    (Some(cert), Some(key)) => Some(Identity { cert_pem: read(cert)?, key_pem: read(key)? }),
                    _ => None,
                };
                let config = pki::client_config(identity.as_ref(), &read(authority)?, &["h2"]);
                Some(config.map_err(|e| refusal(chain(&e)))?)
            }
            None => None,
        };
        Remote::connect(endpoints, tls).await.map_err(|e| refusal(chain(&e)))
    }

    /// Makes the etcd this cluster's own, if no cluster has it: two clusters on the same objects
    /// would run the same pods, delete each other's Nodes and refuse each other's tokens. A cluster
    /// is known by its certificate authority and its name: a copied directory has the authority of
    /// the original, and would even stand for election under the same identity.
    ///
    /// False: it holds another cluster's objects.
    ///
    /// # Errors
    /// The etcd does not answer.
    pub(crate) async fn claim(
        &self,
        store: &dyn Storage,
        authority: &str,
        name: &str,
    ) -> Result<bool, Refusal> {
        let refusal = |why: String| Refusal::NoEtcd { endpoints: self.endpoints.join(","), why };
        let own = mark(&format!("{authority}{name}"));
        let key = Bytes::from_static(OWNER.as_bytes());
        let is_free = |key: Bytes, range_end: Bytes| Compare {
            key,
            range_end,
            result: CompareResult::Equal,
            target: CompareTarget::CreateRevision(0),
        };
        let objects = (Bytes::from_static(b"/registry/"), Bytes::from_static(b"/registry0"));
        let txn = TxnRequest {
            // Objects without our key are those of a cluster that others made: that etcd is not
            // free.
            compare: vec![is_free(key.clone(), Bytes::new()), is_free(objects.0, objects.1)],
            success: vec![RequestOp::Put(PutRequest {
                key: key.clone(),
                value: own.clone(),
                ..Default::default()
            })],
            failure: vec![RequestOp::Range(RangeRequest { key: key.clone(), ..Default::default() })],
        };
        let is_own = |r: &ResponseOp| matches!(r, ResponseOp::Range(found) if found.kvs.iter().any(|kv| kv.value == own));
        let answer = store.txn(txn.clone()).await.map_err(|e| refusal(chain(&e)))?;
        if answer.succeeded || answer.responses.iter().any(is_own) {
            return Ok(true);
        }
        // Earlier programs noted the authority alone. The first cluster that has it takes the etcd;
        // another server of the same cluster may be faster.
        let target = CompareTarget::Value(mark(authority));
        let earlier = Compare { key, range_end: Bytes::new(), result: CompareResult::Equal, target };
        let renewal = TxnRequest { compare: vec![earlier], ..txn };
        let answer = store.txn(renewal).await.map_err(|e| refusal(chain(&e)))?;
        Ok(answer.succeeded || answer.responses.iter().any(is_own))
    }

    /// Returns the refusal of an etcd that holds another cluster's objects.
    pub(crate) fn foreign(&self) -> Refusal {
        Refusal::EtcdTaken { endpoints: self.endpoints.join(",") }
    }

    /// Returns its part of a cluster's status, as that of the cluster's own store.
    pub fn status(&self) -> Value {
        json!({"endpoints": self.endpoints, "cacert": self.cacert, "cert": self.cert, "key": self.key})
    }
}

/// Returns the value of [`OWNER`]: 32 hexadecimal digits.
fn mark(identity: &str) -> Bytes {
    let digest = Sha256::digest(identity);
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use etcd::Kv;
    use rng::Rng;

    #[tokio::test]
    async fn an_etcd_holds_one_cluster() {
        let store = Kv::in_memory(Rng::seeded(1));
        let etcd = ExternalEtcd { endpoints: vec!["https://etcd:2379".into()], ..ExternalEtcd::default() };
        for _ in 0..2 {
            assert!(etcd.claim(&store, "one authority", "main").await.unwrap());
        }
        assert!(!etcd.claim(&store, "another", "main").await.unwrap());
        // One that kubeadm or kind made.
        let others = Kv::in_memory(Rng::seeded(2));
        let key = "/registry/namespaces/default".into();
        others.put(PutRequest { key, value: "x".into(), ..Default::default() }).await.unwrap();
        assert!(!etcd.claim(&others, "one authority", "main").await.unwrap());
        let refused = etcd.foreign().to_string();
        assert!(refused.contains("https://etcd:2379") && refused.contains("another cluster"), "{refused}");
    }

    /// `cp -r clusters/main clusters/try`: both have the same authority. An earlier program noted
    /// nothing else in the etcd.
    #[tokio::test]
    async fn a_copied_directory_does_not_get_the_etcd_of_the_original() {
        let etcd = ExternalEtcd::default();
        for is_earlier in [false, true] {
            let store = Kv::in_memory(Rng::seeded(1));
            if is_earlier {
                let (key, value) = (OWNER.into(), mark("authority"));
                store.put(PutRequest { key, value, ..Default::default() }).await.unwrap();
            }
            for (name, may) in [("main", true), ("try", false), ("main", true)] {
                assert_eq!(etcd.claim(&store, "authority", name).await.unwrap(), may, "{name}");
            }
        }
    }
}
