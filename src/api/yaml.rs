//! YAML bodies (server-side apply, curl): the one place that knows the YAML library.

use serde_json::Value;

/// The first document as JSON. The error has line and column.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    let value: serde_yaml::Value =
        serde_yaml::from_slice(bytes).map_err(|e| format!("error converting YAML to JSON: yaml: {e}"))?;
    serde_json::to_value(value).map_err(|e| format!("error converting YAML to JSON: {e}"))
}
