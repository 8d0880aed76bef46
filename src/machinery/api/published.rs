//! The schemas that Kubernetes publishes for its types, as `scripts/schemas` made and packed them.

use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::LazyLock;

/// What a custom kind consists of besides its own schema.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const PACKED: &[u8] = include_bytes!("schemas.json.gz");

#[derive(Deserialize)]
struct Published {
    /// group/version/kind → name
    kinds: HashMap<String, String>,
    /// name → schema; references read `#/components/schemas/<name>`.
    schemas: Map<String, Value>,
}

static PUBLISHED: LazyLock<Published> =
    LazyLock::new(|| unpack(PACKED).expect("scripts/schemas packs what is read here"));

/// Unpacks schemas. The text is unpacked as a whole before it is parsed: `serde_json` reads a
/// stream byte by byte, and each process that needs the schemas would wait for that.
///
/// # Errors
/// These are not the bytes of a gzip file, or not those of [`Published`] in JSON.
fn unpack(packed: &[u8]) -> io::Result<Published> {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Returns all schemas by their names: `io.k8s.api.core.v1.Pod`.
pub(crate) fn schemas() -> &'static Map<String, Value> {
    &PUBLISHED.schemas
}

/// Returns the name of a kind's schema; empty if scripts/schemas has not packed the kind.
pub(crate) fn name(group: &str, version: &str, kind: &str) -> &'static str {
    PUBLISHED.kinds.get(&format!("{group}/{version}/{kind}")).map(String::as_str).unwrap_or_default()
}

/// Returns these schemas and all that they refer to, in the order of their names.
pub(crate) fn with_parts<'a>(roots: impl Iterator<Item = &'a str>) -> Map<String, Value> {
    let mut found = std::collections::BTreeMap::new();
    let mut wanted: Vec<&str> = roots.collect();
    while let Some(name) = wanted.pop() {
        if let Some((name, schema)) = schemas().get_key_value(name)
            && found.insert(name.as_str(), schema).is_none()
        {
            references(schema, &mut wanted);
        }
    }
    found.into_iter().map(|(name, schema)| (name.to_string(), schema.clone())).collect()
}

fn references<'a>(schema: &'a Value, found: &mut Vec<&'a str>) {
    match schema {
        Value::Object(map) => {
            let reference = map.get("$ref").and_then(Value::as_str);
            found.extend(reference.and_then(|r| r.rsplit('/').next()));
            map.values().for_each(|v| references(v, found));
        }
        Value::Array(list) => list.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    #[test]
    fn every_kind_and_every_reference_is_known() {
        for kind in kinds::all() {
            assert!(
                schemas().contains_key(kind.schema_name),
                "{}: name its type in the `mod.rs` of its group and run scripts/schemas/make",
                kind.kind
            );
        }
        let mut named = Vec::new();
        schemas().values().for_each(|s| references(s, &mut named));
        assert!(named.len() > schemas().len() && named.iter().all(|n| schemas().contains_key(*n)));
    }

    #[test]
    fn the_schemas_are_those_of_the_k8s_openapi_in_use() {
        let lock = include_str!("../../../Cargo.lock");
        let (_, after) = lock.split_once("name = \"k8s-openapi\"\nversion = \"").unwrap();
        let in_use = after.split('"').next().unwrap();
        let packed: Value = serde_json::from_reader(flate2::read::GzDecoder::new(PACKED)).unwrap();
        assert_eq!(packed["madeWith"], in_use, "run scripts/schemas/make");
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        assert!(unpack(PACKED).is_ok());
        assert!(unpack(&PACKED[..PACKED.len() / 2]).is_err() && unpack(b"{}").is_err());
    }

    #[test]
    fn a_schema_comes_with_its_parts_and_no_others() {
        let lease = with_parts([name("coordination.k8s.io", "v1", "Lease")].into_iter());
        assert!(
            lease.contains_key("io.k8s.api.coordination.v1.LeaseSpec") && lease.contains_key(OBJECT_META)
        );
        assert!(!lease.keys().any(|n| n.contains(".core.")), "{:?}", lease.keys());
    }
}
