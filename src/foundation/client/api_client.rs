//! The client of an API server: typed access to its objects, with the cause of each write.

use super::objects::Api;
use super::transport::{Endpoint, Transport};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use std::sync::Arc;
use tap::Cause;

/// Why a client could not be made, or a request of it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is no host name or IP address, or a certificate or key cannot be used.
    #[error("the API server's address or a certificate cannot be used")]
    Pki(#[from] pki::Error),
    /// The request failed: no connection, or the server's answer, a `Status`, says why.
    #[error(transparent)]
    Api(#[from] kube::Error),
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

    pub(crate) fn over(transport: Arc<Transport>) -> Client {
        let kube = kube::Client::new(transport.service(None), "default");
        Client { way: Way::Https(transport), kube }
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn simulated(kube: kube::Client) -> Client {
        Client { way: Way::Simulated, kube }
    }

    /// Returns the same client; its requests say what led to them.
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

    /// Returns kube-rs' client, for everything that this room has no word for.
    pub fn kube(&self) -> kube::Client {
        self.kube.clone()
    }

    /// Makes the requests for objects of a kind in one namespace.
    pub fn within<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::new(self.kube.clone(), Some(namespace), &K::DynamicType::default())
    }

    /// Makes the requests for objects of a kind in all namespaces, or of a cluster-scoped kind.
    pub fn all<K>(&self) -> Api<K>
    where
        K: kube::Resource,
        K::DynamicType: Default,
    {
        Api::all_with(self.kube.clone(), &K::DynamicType::default())
    }

    /// Makes the requests for objects of a cluster-scoped kind.
    pub fn cluster<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = ClusterResourceScope>,
        K::DynamicType: Default,
    {
        Api::all_with(self.kube.clone(), &K::DynamicType::default())
    }
}
