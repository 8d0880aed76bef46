//! Objects as text: tables, YAML, JSON, names and templates.

pub(crate) mod columns;
pub(crate) mod formats;
pub(crate) mod kyaml;
pub(crate) mod tab;
pub(crate) mod table;
pub(crate) mod template;

pub(crate) use api::gojson as json;
pub(crate) use api::jsonpath;
pub(crate) use api::yaml::write as yaml;
