//! A connection to a member, and the calls that verbs make.

use super::Preset;
use super::ctx::{CONNECTION, FAILED, FILE, Fail};
use super::parse::Given;
use etcd::grpc::client::{Channel, Endpoint};
use etcd::pb;
use futures::{Stream, StreamExt};
use pki::{Identity, client_config};
use prost::Message;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

/// Where the members are, and who we are.
#[derive(Clone)]
pub struct Target {
    pub endpoints: Vec<String>,
    tls: Option<Arc<rustls::ClientConfig>>,
    dial_timeout: Duration,
}

impl Target {
    /// Flags, and the environment in their stead, go before the preset, that before etcd's usual
    /// port.
    ///
    /// # Errors
    /// A file of `--cacert`, `--cert` or `--key` cannot be read ([`FILE`]) or used, only one of
    /// `--cert` and `--key` was given, `--insecure-skip-tls-verify` was given, or `--dial-timeout`
    /// is no duration ([`FAILED`]).
    pub fn of(given: &Given, preset: Preset) -> Result<Target, Fail> {
        let said = |name: &str| Some(given.text(name)).filter(|v| !v.is_empty());
        let file = |name: &str, preset: Option<PathBuf>| said(name).map(PathBuf::from).or(preset);
        let endpoints = match said("endpoints") {
            Some(list) => list.split(',').map(|e| e.trim().to_string()).filter(|e| !e.is_empty()).collect(),
            None if preset.endpoints.is_empty() => vec!["127.0.0.1:2379".into()],
            None => preset.endpoints,
        };
        if given.on("insecure-skip-tls-verify") {
            return Err(Fail::new(FAILED, "--insecure-skip-tls-verify is not supported; give --cacert"));
        }
        let tls = match file("cacert", preset.cacert) {
            Some(authority) => {
                let identity = match (file("cert", preset.cert), file("key", preset.key)) {
                    (Some(cert), Some(key)) => {
                        Some(Identity { cert_pem: read(&cert)?, key_pem: read(&key)? })
                    }
                    (None, None) => None,
                    _ => return Err(Fail::new(FAILED, "--cert and --key belong together: give both")),
                };
                let config = client_config(identity.as_ref(), &read(&authority)?, &["h2"]);
                Some(config.map_err(|e| Fail::new(FAILED, e.to_string()))?)
            }
            None => None,
        };
        Ok(Target { endpoints, tls, dial_timeout: given.duration("dial-timeout")? })
    }

    /// The same with one endpoint.
    pub fn only(&self, endpoint: &str) -> Target {
        Target { endpoints: vec![endpoint.into()], ..self.clone() }
    }
}

fn read(path: &Path) -> Result<String, Fail> {
    std::fs::read_to_string(path).map_err(|e| Fail::new(FILE, format!("cannot read {}: {e}", path.display())))
}

/// A member that answers.
#[derive(Clone)]
pub struct Etcd {
    channel: Channel,
    timeout: Duration,
}

/// An error of the server as etcd's client library prints it.
pub(crate) fn told(status: &Status) -> Fail {
    let text = match status.message().starts_with("etcdserver:") {
        true => status.message().to_string(),
        false => format!("rpc error: code = {:?} desc = {}", status.code(), status.message()),
    };
    Fail::new(FAILED, text)
}

impl Etcd {
    /// Connects to the first endpoint that can be reached. `timeout` bounds each later
    /// [`Etcd::call`].
    ///
    /// # Errors
    /// No endpoint was given ([`CONNECTION`]), or none can be reached within `--dial-timeout` each
    /// ([`FAILED`]): the text is about the last one.
    pub async fn connect(target: &Target, timeout: Duration) -> Result<Etcd, Fail> {
        let mut last = Fail::new(CONNECTION, "no endpoint is given");
        for endpoint in &target.endpoints {
            let attempt = async {
                let endpoint = Endpoint::parse(endpoint, target.tls.is_some())?;
                Channel::connect(&endpoint, target.tls.clone()).await
            };
            match tokio::time::timeout(target.dial_timeout, attempt).await {
                Ok(Ok(channel)) => return Ok(Etcd { channel, timeout }),
                Ok(Err(error)) => last = Fail::new(FAILED, error.to_string()),
                Err(_) => last = Fail::new(FAILED, format!("{endpoint} does not answer")),
            }
        }
        Err(last)
    }

    /// One call, answered within the command's time.
    ///
    /// # Errors
    /// [`FAILED`]: the member refused, in the words of etcd's client library; the connection broke;
    /// or the time is over. A call that was not answered may still have been carried out.
    pub async fn call<Q, A>(&self, path: &'static str, ask: Q) -> Result<A, Fail>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        match tokio::time::timeout(self.timeout, self.channel.unary(path, ask)).await {
            Ok(answer) => answer.map_err(|s| told(&s)),
            Err(_) => Err(Fail::new(FAILED, "context deadline exceeded")),
        }
    }

    /// One call, however long it takes.
    ///
    /// # Errors
    /// As [`Etcd::call`], but for the time.
    pub async fn wait<Q, A>(&self, path: &'static str, ask: Q) -> Result<A, Fail>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.channel.unary(path, ask).await.map_err(|s| told(&s))
    }

    /// One call that is answered with a stream.
    ///
    /// # Errors
    /// As [`Etcd::wait`], until the stream begins; later ones are in the stream.
    pub async fn answers<Q, A>(&self, path: &'static str, ask: Q) -> Result<Streaming<A>, Fail>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.channel.answers(path, ask).await.map_err(|s| told(&s))
    }

    /// A stream of calls that is answered with a stream, e.g. a watch.
    ///
    /// # Errors
    /// As [`Etcd::answers`].
    pub async fn stream<Q, A>(
        &self,
        path: &'static str,
        asks: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, Fail>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.channel.stream(path, asks).await.map_err(|s| told(&s))
    }

    /// Reads keys.
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub async fn range(&self, r: pb::RangeRequest) -> Result<pb::RangeResponse, Fail> {
        self.call("/etcdserverpb.KV/Range", r).await
    }

    /// The members of the cluster as of now (a linearizable read).
    ///
    /// # Errors
    /// As [`Etcd::call`], also if the cluster has no leader.
    pub async fn members(&self) -> Result<Vec<pb::Member>, Fail> {
        let ask = pb::MemberListRequest { linearizable: true };
        let answer: pb::MemberListResponse = self.call("/etcdserverpb.Cluster/MemberList", ask).await?;
        Ok(answer.members)
    }

    /// Makes a lease of `ttl` seconds; the server chooses its number.
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub async fn grant(&self, ttl: i64) -> Result<pb::LeaseGrantResponse, Fail> {
        self.call("/etcdserverpb.Lease/LeaseGrant", pb::LeaseGrantRequest { ttl, id: 0 }).await
    }

    /// Ends a lease; the server deletes its keys.
    ///
    /// # Errors
    /// As [`Etcd::call`], also if there is no such lease.
    pub async fn revoke(&self, id: i64) -> Result<pb::LeaseRevokeResponse, Fail> {
        self.call("/etcdserverpb.Lease/LeaseRevoke", pb::LeaseRevokeRequest { id }).await
    }

    /// Renews a lease three times within its TTL; returns the answers. A TTL of 0 says that the
    /// lease is gone.
    ///
    /// # Errors
    /// As [`Etcd::answers`].
    pub async fn keep_alive(
        &self,
        id: i64,
    ) -> Result<impl Stream<Item = Result<pb::LeaseKeepAliveResponse, Fail>> + Unpin + use<>, Fail> {
        let (ask, asks) = mpsc::channel(1);
        let asks =
            futures::stream::unfold(asks, |mut asks| async move { asks.recv().await.map(|ask| (ask, asks)) });
        let renew = pb::LeaseKeepAliveRequest { id };
        let _ = ask.send(renew).await; // the receiver is ours
        let answers = self.stream("/etcdserverpb.Lease/LeaseKeepAlive", asks).await?;
        let state = (answers, ask, None::<Duration>);
        Ok(Box::pin(futures::stream::unfold(state, move |(mut answers, ask, pause)| async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
                let _ = ask.send(pb::LeaseKeepAliveRequest { id }).await; // a lost connection shows in the answers
            }
            let answer: Result<pb::LeaseKeepAliveResponse, Fail> = match answers.next().await? {
                Ok(answer) => Ok(answer),
                Err(status) => Err(told(&status)),
            };
            let ttl = answer.as_ref().map_or(0, |a| a.ttl).max(1);
            Some((answer, (answers, ask, Some(Duration::from_millis(ttl as u64 * 1000 / 3)))))
        })))
    }
}
