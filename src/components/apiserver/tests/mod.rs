//! The server as a whole, through its doors.

mod admission;
mod blocking_store;
mod bounds;
mod contention;
mod deletes;
mod lifecycle;
mod nodes;
mod requests;
mod server;
mod services;
mod slow_clients;
mod subresources;
mod undo;
