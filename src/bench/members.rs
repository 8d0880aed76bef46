//! The members of a store, ours or etcd's, as a client of the bench reaches them.

use anyhow::{Context, anyhow, ensure};
use etcd::grpc::client::{Channel, Endpoint};
use etcd::pb;
use pki::{Identity, client_config};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How long a client waits for a member's first answer, which needs a leader.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// The time between two attempts to reach a member.
const ATTEMPT_EVERY: Duration = Duration::from_millis(50);
pub(super) const RANGE: &str = "/etcdserverpb.KV/Range";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";

/// Where members listen, and what a client shows them.
pub(super) struct Members {
    pub endpoints: Vec<Endpoint>,
    pub tls: Arc<rustls::ClientConfig>,
}

impl Members {
    /// Reads where the members of a cluster of ours listen: `etcd` of `ropewalk status -o json`.
    ///
    /// # Errors
    /// The status has no endpoint or names no certificate, or a file that it names cannot be read.
    pub(super) fn of_status(etcd: &Value) -> anyhow::Result<Members> {
        let read = |name: &str| -> anyhow::Result<String> {
            let path =
                etcd[name].as_str().with_context(|| format!("the status names no {name} of the store"))?;
            std::fs::read_to_string(path).with_context(|| path.to_string())
        };
        let identity = Identity { cert_pem: read("cert")?, key_pem: read("key")? };
        let urls = etcd["endpoints"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let endpoints: Vec<Endpoint> =
            urls.map(|url| Endpoint::parse(url, true)).collect::<Result<_, _>>()?;
        ensure!(!endpoints.is_empty(), "the status names no endpoints of the store");
        Ok(Members { endpoints, tls: client_config(Some(&identity), &read("cacert")?, &["h2"])? })
    }

    /// Connects a client to a member, and waits until the member knows a leader. Clients are spread
    /// over the members by their numbers.
    ///
    /// # Errors
    /// The member refuses or stays silent for [`PATIENCE`]: the last reason.
    pub(super) async fn connect(&self, client: usize) -> anyhow::Result<Channel> {
        let endpoint = &self.endpoints[client % self.endpoints.len()];
        let until = clock::deadline(PATIENCE);
        let mut reason = anyhow!("it says nothing");
        while let Some(left) = until.checked_duration_since(clock::Instant::now()) {
            // A channel has no limit of its own: a member that accepts connections and never
            // answers would be waited for without end.
            match clock::limit(left, self.attempt(endpoint)).await {
                Some(Ok(channel)) => return Ok(channel),
                Some(Err(error)) => reason = error,
                None => break,
            }
            clock::pause(ATTEMPT_EVERY).await;
        }
        Err(reason.context(format!("{}:{} does not answer", endpoint.host, endpoint.port)))
    }

    /// Connects to a member and reads from it, which a member without a leader refuses.
    async fn attempt(&self, endpoint: &Endpoint) -> anyhow::Result<Channel> {
        let channel = Channel::connect(endpoint, Some(self.tls.clone())).await?;
        let range = pb::RangeRequest { key: "ready".into(), ..Default::default() };
        channel.unary::<_, pb::RangeResponse>(RANGE, range).await?;
        Ok(channel)
    }

    /// Waits until every member answers; returns the version of the first one, e.g. `3.4.23`.
    ///
    /// # Errors
    /// Those of [`Members::connect`], or the member does not say its version.
    pub(super) async fn version(&self) -> anyhow::Result<String> {
        let channels = (0..self.endpoints.len()).map(|client| self.connect(client));
        let channels = futures::future::try_join_all(channels).await?;
        let first = channels.first().context("there is no member")?;
        let status = first.unary::<_, pb::StatusResponse>(STATUS, pb::StatusRequest {});
        let status = clock::limit(PATIENCE, status).await.context("a member does not say its version")??;
        ensure!(!status.version.is_empty(), "a member does not say its version");
        Ok(status.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pki::Ca;
    use serde_json::json;

    /// A listener that never takes a connection: the kernel greets the client all the same.
    #[tokio::test(start_paused = true)]
    async fn a_member_that_stays_silent_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "etcd-ca").unwrap();
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let endpoint = Endpoint { tls: true, host: "127.0.0.1".into(), port };
        let tls = client_config(None, ca.pem(), &["h2"]).unwrap();
        let members = Members { endpoints: vec![endpoint], tls };
        let connected = clock::limit(2 * PATIENCE, members.connect(0)).await.expect("an end");
        let reason = format!("{:#}", connected.err().unwrap());
        assert!(reason.starts_with(&format!("127.0.0.1:{port} does not answer: ")), "{reason}");
    }

    #[test]
    fn a_status_without_endpoints_or_with_a_lost_file_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        let reason = |status: Value| format!("{:#}", Members::of_status(&status).err().unwrap());
        let status = json!({"cert": path, "key": path, "cacert": path, "endpoints": []});
        assert_eq!(reason(status), "the status names no endpoints of the store");
        let lost = reason(json!({"cert": "/nowhere/cert"}));
        assert!(lost.starts_with("/nowhere/cert: No such file"), "{lost}");
        assert_eq!(reason(json!({"cert": path})), "the status names no key of the store");
    }
}
