//! The server as a whole, through its doors.

mod admission;
mod blocking_store;
mod bounds;
mod contention;
mod deletes;
mod escapes;
mod evictions;
mod identity;
mod lagging_server;
mod lifecycle;
mod node_restriction;
mod nodes;
mod numbers;
mod paths;
mod requests;
mod server;
mod services;
mod slow_clients;
mod subresources;
mod tables;
mod undecodable;
mod undo;
