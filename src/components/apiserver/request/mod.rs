//! Connections, and what becomes of the bytes of one request.
//!
//! | file | part |
//! |---|---|
//! | `serve`, `handshake` | listeners: TCP, TLS, HTTP/1.1 and HTTP/2 |
//! | `connections`, `idle`, `http_head`, `heads` | bounds of connections: their number, their time, the memory of incomplete heads |
//! | `sources`, `forwarded` | what is known of the address that a connection comes from, and for whom the balancer makes its own |
//! | `http` | bodies, queries and answers |
//! | `unread` | bodies that are still coming when their requests are answered |
//! | `refused_body` | what was sent for an impersonated user who may not write it |
//! | `info` | what a method and a path ask for (upstream: `RequestInfo`) |
//! | `context` | one request on its way, and its records in the tap |
//! | `time_limit` | how long the client of a request waits |
//! | `lifecycle` | how a request is let in, and what its answer says of it |
//! | `router`, `pages` | from a path to the function that answers it: resources, and the paths that name none |
//! | `list_options` | which options of a list or watch may stand together |
//! | `decode`, `duplicates` | from a body to an object |
//! | `accept`, `negotiate`, `list_writer`, `pretty` | from an object, or many, to the answer that the client accepts |
//! | `websocket` | watches over WebSocket, for browsers |
//! | `etag` | documents that the client has already |
//! | `readiness` | `/livez`, `/readyz` and `/healthz` |

pub(crate) mod accept;
pub(crate) mod connections;
pub(crate) mod context;
pub(crate) mod decode;
pub(crate) mod duplicates;
pub(crate) mod etag;
pub(crate) mod forwarded;
mod handshake;
pub(crate) mod heads;
pub mod http;
pub(crate) mod http_head;
pub(crate) mod idle;
pub(crate) mod info;
pub(crate) mod lifecycle;
pub(crate) mod list_options;
pub(crate) mod list_writer;
pub(crate) mod negotiate;
mod pages;
pub(crate) mod pretty;
pub(crate) mod readiness;
pub(crate) mod refused_body;
pub(crate) mod router;
pub(crate) mod serve;
pub(crate) mod sources;
pub(crate) mod time_limit;
pub(crate) mod unread;
pub(crate) mod websocket;
