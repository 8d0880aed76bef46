//! What is between a verb and the API server: requests, their paths, and streams. Kubeconfigs,
//! connections and discovery are the client room's.

pub(crate) mod api;
pub(crate) mod discovery;
mod http;
mod outcome;
mod overrides;
pub(crate) mod paths;
mod refusal;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod url;

pub(crate) use overrides::overrides;
