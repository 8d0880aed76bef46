//! Servers that a kubeconfig names: how they are connected to, verified and asked as its user.
//!
//! [`Client`](crate::Client) is for components of our own cluster. What is here takes any server,
//! over HTTP/2 or HTTP/1.1, with TLS or without, and says what failed in Go's words, as kubectl
//! prints it.

mod addresses;
mod alert;
mod body;
mod dial;
mod ending;
mod error;
mod header;
mod location;
mod pool;
mod retry;
mod tls;
mod upstream;

pub use crate::conn::Conn;
pub use body::Body;
pub use dial::{Dial, Duplex};
pub use error::{Error, error_of};
pub use header::identity;
pub use location::resolve_location;
pub use pool::Http;
pub use upstream::Upstream;
