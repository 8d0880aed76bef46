//! What is between a verb and the API server: configuration, connections, requests, discovery.

pub(crate) mod api;
pub mod clientcmd;
pub mod config;
pub(crate) mod credential;
pub(crate) mod discovery;
mod entries;
pub mod http;
mod in_pod;
mod outcome;
pub mod paths;
pub(crate) mod stream;
pub mod target;
pub(crate) mod tls;
pub mod upstream;
pub(crate) mod url;
