//! The verbs.

pub mod common;
pub mod create;
pub mod delete;
pub mod describe;
pub mod exec;
pub mod explain;
pub mod expose;
pub mod get;
pub mod info;
pub mod logs;
pub mod nodes;
pub mod rollout;
pub mod run;
pub mod scale;
pub mod set;
pub mod wait;
