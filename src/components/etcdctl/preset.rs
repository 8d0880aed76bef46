//! The store of a command that names none.

use std::path::PathBuf;

/// Where to go when neither a flag nor the environment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preset {
    /// `https://127.0.0.1:2379`
    pub endpoints: Vec<String>,
    pub cacert: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl Preset {
    /// From the `etcd` part of a cluster's status.
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
