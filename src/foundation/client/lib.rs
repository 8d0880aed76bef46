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
//! [`Api`], which escapes the names in the paths of requests; [`Reflector`], the one loop that
//! lists and watches, typed kinds or any resource; [`Informer`], a cache with handlers over a
//! reflector; [`WorkQueue`], [`Recorder`] and [`LeaderElection`].
//!
//! Programs that are not components know a cluster by a kubeconfig. [`kubeconfig`] merges the files
//! and says which server and user they name; credential plugins are asked there, too. [`remote`]
//! connects to that server and asks it as that user, and [`discovery`] reads which resources it
//! has. The built-in kubectl, lessons on a cluster of others and the bench use these parts.
//!
//! A reflector says a [`Delta`]: a complete list, an object that was written, one that was deleted.
//! An informer knows the old version too, so its handlers get a [`Change`]: added, updated from
//! this to that, deleted. Most components have informers. The garbage collector, the lessons and
//! the map keep a picture of their own (a graph, what checks see, a few fields), so each of them
//! reads a reflector and no object is kept twice.
//!
//! What led to a write travels with it: a queue's item is (key, cause), and [`Client::caused_by`]
//! sends the cause as a header that the API server believes from components only. One object never
//! stops a component: an informer skips and reports what it cannot decode ([`Item`]), and a panic
//! on one key of a queue costs that key a pause. client-go's informers fail as a whole on such a
//! list.
//!
//! Requests are made, and watches read, without a type (`raw`, `watch`); the type comes in at the
//! end ([`Codec`]). A generic request would be compiled for each kind in each room that makes it.
//! ## Left out
//! Client-side throttling (QPS and burst): the server is on the same machine. Clusters behind a
//! proxy (`proxy-url` is refused, `HTTPS_PROXY` is not read); auth providers (`auth-provider` is
//! refused); redirects to another server; the cache of discovery on disk. An Event's message ends
//! after 1024 bytes, and none is written when a leader loses its Lease (`stopped leading`). Of
//! several kubeconfigs that cannot be read the first is named, and `extensions` of a whole
//! kubeconfig are not kept. Errors of connections do not name both ends (`read tcp A->B`), those of
//! lookups not the name server (`lookup A on B`), those of HTTP/2 and of broken HTTP/1.1 are in the
//! words of h2 and hyper, and what answers no TLS is said to speak HTTP. Servers that permit fewer
//! than 100 streams on a connection of HTTP/2: a request above their bound waits for a free one.
//! ## Read next
//! `controllers`, which are made of these parts.

#![warn(missing_docs)]

mod answers;
mod api_client;
mod codec;
mod conn;
mod connections;
pub mod discovery;
mod election;
mod informer;
mod item;
pub mod kubeconfig;
mod objects;
mod paths;
mod queue;
mod raw;
mod recorder;
mod reflector;
pub mod remote;
#[cfg(any(test, feature = "testing"))]
pub mod simulated;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transport;
mod watch;

pub use answers::{is_code, is_unanswered, optional};
pub use api_client::{Client, Error};
pub use codec::Codec;
pub use election::LeaderElection;
pub use informer::{Change, Informer, Lists};
pub use item::{Item, Key, Undecodable};
pub use kube;
pub use objects::Api;
pub use paths::{ESCAPED_IN_PATHS, segment};
#[cfg(any(test, feature = "testing"))]
pub use queue::spin;
pub use queue::{BACKOFF, Backoff, Outcome, WorkQueue};
pub use recorder::{Recorder, reference};
pub use reflector::{Delta, Reflector};
pub use transport::{CAUSE_HEADER, Dialer, Endpoint, direct};

/// Sessions with kubelets (logs, exec, attach, port-forward, proxy) that one API server has at a
/// time. A kubelet has places for as many from each API server: none is refused there that was let
/// in before.
pub const KUBELET_STREAMS_MAX: usize = 1000;

/// Handshakes that one API server has with one kubelet at a time. A kubelet has places for twice as
/// many of one address: there a handshake counts a moment longer than here, until the kubelet has
/// read the certificate.
pub const KUBELET_HANDSHAKES_MAX: usize = 16;
