//! # The client: how components reach the cluster
//!
//! ## In Kubernetes
//! client-go. Every component talks to the API server alone: it lists and watches what it cares
//! about into a local cache (an *informer*), puts keys into a *work queue*, and a worker reconciles
//! one key at a time. Of several replicas only the one that holds a Lease works (*leader
//! election*).
//! ## How this one works
//! kube-rs does the protocol; this room adds what our components share: a transport whose sockets
//! come from the node's own network namespace ([`Dialer`]), so that a cut link really cuts;
//! [`Api`], which escapes the names in the paths of requests; [`Informer`], [`WorkQueue`],
//! [`Recorder`] and [`LeaderElection`]. What led to a write travels with it: a queue's item is
//! (key, cause), and [`Client::caused_by`] sends the cause as a header that the API server believes
//! from components only. One object never stops a component: an informer skips and reports what it
//! cannot decode ([`Item`]), and a panic on one key of a queue costs that key a pause. client-go's
//! informers fail as a whole on such a list.
//! ## Left out
//! Client-side throttling (QPS and burst): the server is on the same machine.
//! ## Read next
//! `controllers`, which are made of these parts.

mod connections;
mod election;
mod informer;
pub mod kubeconfig;
mod objects;
mod queue;
mod recorder;
#[cfg(any(test, feature = "testing"))]
pub mod simulated;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transport;

pub use election::LeaderElection;
pub use informer::{Change, Informer, Item, Key, Lists, Undecodable};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
pub use kube;
pub use objects::Api;
#[cfg(any(test, feature = "testing"))]
pub use queue::spin;
pub use queue::{BACKOFF, Backoff, Outcome, WorkQueue};
pub use recorder::{Recorder, reference};
use std::net::SocketAddr;
use std::sync::Arc;
use tap::Cause;
use transport::Transport;
pub use transport::{Dialer, direct};

/// Sessions with kubelets (logs, exec, attach, port-forward, proxy) that one API server has at a
/// time. A kubelet has places for as many from each API server: none is refused there that was let
/// in before.
pub const KUBELET_STREAMS_MAX: usize = 1000;
/// The header that carries a [`Cause`].
pub const CAUSE_HEADER: &str = "ropewalk-cause";

/// Why a client could not be made, or a request of it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the API server's address or a certificate cannot be used")]
    Pki(#[from] pki::Error),
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// Where an API server is and who is asking.
#[derive(Clone)]
pub struct Endpoint {
    /// Tried in order until one answers.
    pub servers: Vec<SocketAddr>,
    /// The name that the server's certificate must have.
    pub server_name: String,
    pub ca_pem: String,
    pub identity: Option<pki::Identity>,
    /// e.g. `kube-scheduler/v1.35.0`.
    pub user_agent: String,
    pub dial: Dialer,
}

/// A client of one cluster, as one user. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    way: Way,
    kube: kube::Client,
}

/// How requests get to an API server.
#[derive(Clone)]
enum Way {
    Https(Arc<Transport>),
    #[cfg(any(test, feature = "testing"))]
    Simulated,
}

impl Client {
    /// Makes a client of these API servers. It opens no connection: the first request does.
    ///
    /// # Errors
    /// [`Error::Pki`] if the server's name, the authority's certificate or the client's own cannot
    /// be used. Another try fails in the same way.
    pub fn connect(endpoint: Endpoint) -> Result<Client, Error> {
        Ok(Client::over(Arc::new(Transport::tls(endpoint)?)))
    }

    fn over(transport: Arc<Transport>) -> Client {
        let kube = kube::Client::new(transport.service(None), "default");
        Client { way: Way::Https(transport), kube }
    }

    #[cfg(any(test, feature = "testing"))]
    fn simulated(door: &simulated::Door) -> Client {
        Client { way: Way::Simulated, kube: door.kube() }
    }

    /// The same client; its requests say what led to them.
    pub fn caused_by(&self, cause: Option<Cause>) -> Client {
        match (cause, &self.way) {
            (None, _) => self.clone(),
            (Some(cause), Way::Https(transport)) => {
                let kube = kube::Client::new(transport.service(Some(cause.to_string())), "default");
                Client { way: self.way.clone(), kube }
            }
            #[cfg(any(test, feature = "testing"))]
            (Some(_), Way::Simulated) => self.clone(),
        }
    }

    /// kube-rs' client, for everything that this room has no word for.
    pub fn kube(&self) -> kube::Client {
        self.kube.clone()
    }

    /// Objects of a kind in one namespace.
    pub fn within<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::new(kube::Api::namespaced(self.kube.clone(), &segment(namespace)))
    }

    /// Objects of a kind in all namespaces, or of a cluster-scoped kind.
    pub fn all<K>(&self) -> Api<K>
    where
        K: kube::Resource,
        K::DynamicType: Default,
    {
        Api::new(kube::Api::all(self.kube.clone()))
    }

    /// Objects of a cluster-scoped kind.
    pub fn cluster<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = ClusterResourceScope>,
        K::DynamicType: Default,
    {
        Api::new(kube::Api::all(self.kube.clone()))
    }
}

/// Escapes a name as one segment of a request's path, for paths that are built by hand; [`Api`]
/// does it for every name. Names that other objects contain are hardly restricted: a GET of `x?y`
/// would read another object, `x`, and so would `../../secrets/x`.
pub fn segment(name: &str) -> String {
    const KEPT: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');
    percent_encoding::utf8_percent_encode(name, &KEPT).to_string()
}

/// Is this the API server's answer with that HTTP code?
pub fn is_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// Did no API server answer, or only to say that it cannot now? What was read before is then as
/// good as it was. A request that could not be built was never sent, and never will be.
pub fn is_unanswered(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500 || status.code == 429,
        kube::Error::SerdeError(_) => false,
        kube::Error::BuildRequest(_) | kube::Error::HttpError(_) => false,
        _ => true,
    }
}

/// Turns the API server's "not found" (404) into `None`.
///
/// # Errors
/// Every other error of the request, unchanged; see [`is_unanswered`].
pub fn optional<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_code(&error, 404) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Node;

    #[tokio::test]
    async fn a_request_that_was_never_sent_is_not_unanswered() {
        let client = Client::connect(testing::silent().await).unwrap();
        let unsent = client.cluster::<Node>().get("").await.unwrap_err();
        assert!(matches!(unsent, kube::Error::BuildRequest(_)), "{unsent}");
        assert!(!is_unanswered(&unsent));
        let unbuilt = http::Request::get("/a b").body(()).unwrap_err();
        assert!(!is_unanswered(&kube::Error::HttpError(unbuilt)));
    }

    #[test]
    fn a_name_stays_one_segment_of_a_path() {
        assert_eq!(segment("system:node-1.a_b"), "system:node-1.a_b");
        assert_eq!(segment("x?watch=true&a"), "x%3Fwatch%3Dtrue%26a");
        assert_eq!(segment("../../secrets/x"), "..%2F..%2Fsecrets%2Fx");
        assert_eq!(segment("a#b c%d"), "a%23b%20c%25d");
    }
}
