//! etcd's messages on the wire: packages `mvccpb`, `etcdserverpb`, `v3lockpb` and `v3electionpb`.
//!
//! Names and numbers are those of etcd's `.proto` files; the table is written out because a build
//! must not need `protoc`. As JSON the messages look like those of etcd's own client: unset fields
//! are left out, bytes are base64.

pub mod auth;
pub mod cluster;
pub mod header;
pub mod health;
pub mod kv;
pub mod lease;
pub mod lock;
pub mod maintenance;
mod messages;
pub mod watch;

pub use auth::*;
pub use cluster::*;
pub use header::*;
pub use health::*;
pub use kv::*;
pub use lease::*;
pub use lock::*;
pub use maintenance::*;
pub use watch::*;
