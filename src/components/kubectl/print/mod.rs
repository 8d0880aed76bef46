//! Objects as text: tables, YAML, JSON, names, and what a template picks.

pub mod columns;
pub mod formats;
pub mod scalar;
pub mod tab;
pub mod table;
pub mod template;
pub mod yaml;

pub use api::gojson as json;
pub use api::jsonpath;
