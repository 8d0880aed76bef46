//! The store of a command that names none.

use std::path::PathBuf;

/// The store that a command talks to when neither a flag nor an `ETCDCTL_…` variable names one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preset {
    /// URLs of members, e.g. `https://127.0.0.1:2379`; a command tries them in this order.
    pub endpoints: Vec<String>,
    /// PEM file with the authority that signed the servers' certificates (`--cacert`).
    pub cacert: Option<PathBuf>,
    /// PEM file with the client's certificate (`--cert`).
    pub cert: Option<PathBuf>,
    /// PEM file with the private key of `cert` (`--key`).
    pub key: Option<PathBuf>,
}

impl Preset {
    /// Reads the `etcd` part of a cluster's status: `endpoints` is a list of URLs; `cacert`, `cert`
    /// and `key` are paths. What it lacks stays empty.
    pub fn of_status(etcd: &serde_json::Value) -> Preset {
        let file = |name: &str| etcd[name].as_str().map(PathBuf::from);
        let endpoints = etcd["endpoints"].as_array().into_iter().flatten();
        Preset {
            endpoints: endpoints.filter_map(|e| e.as_str().map(String::from)).collect(),
            cacert: file("cacert"),
            cert: file("cert"),
            key: file("key"),
        }
    }
}
