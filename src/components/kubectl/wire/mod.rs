//! What is between a verb and the API server: configuration, connections, requests, discovery.

pub mod api;
pub mod clientcmd;
pub mod config;
pub mod credential;
pub mod discovery;
mod entries;
pub mod http;
mod in_pod;
mod outcome;
pub mod paths;
pub mod resource;
pub mod stream;
pub mod target;
pub mod tls;
pub mod upstream;
pub mod url;
