//! ConfigMaps and Secrets from literals and files, and the hash that is a part of their names.

use super::Resource;
use super::load::{self, Kustomization};
use crate::error::{Fail, text};
use crate::print::json;
use api::value;
use base64::Engine as _;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Longer base64 text goes over several lines.
const LINE: usize = 70;

pub(super) fn run(kustomization: &Kustomization, root: &Path, all: &mut Vec<Resource>) -> Result<(), Fail> {
    for (field, kind) in [("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")] {
        for args in kustomization.list(field) {
            let made = one(kustomization, root, kind, args)?;
            merge(args, made, all)?;
        }
    }
    Ok(())
}

fn one(kustomization: &Kustomization, root: &Path, kind: &str, args: &Value) -> Result<Resource, Fail> {
    let mut object =
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": value::text(args, "name")}});
    if !value::empty(args, "namespace") {
        value::put(&mut object, "metadata.namespace", value::text(args, "namespace"));
    }
    let (mut data, mut binary) = (Map::new(), Map::new());
    for (key, bytes) in pairs(root, args)? {
        if kind == "Secret" {
            data.insert(key, base64(&bytes).into());
        } else {
            match String::from_utf8(bytes) {
                Ok(text) => data.insert(key, text.into()),
                Err(not_text) => binary.insert(key, base64(not_text.as_bytes()).into()),
            };
        }
    }
    for (field, map) in [("data", data), ("binaryData", binary)] {
        if !map.is_empty() {
            value::put(&mut object, field, map);
        }
    }
    if kind == "Secret" {
        let kind = if value::empty(args, "type") { "Opaque" } else { value::text(args, "type") };
        value::put(&mut object, "type", kind);
    }
    let mut hashed = true;
    for options in [kustomization.at("generatorOptions"), value::at(args, "options")] {
        for map in ["labels", "annotations"] {
            for (key, text) in value::pairs(options, map) {
                value::slot_map(&mut object, &format!("metadata.{map}")).insert(key.into(), text.into());
            }
        }
        if value::flag(options, "immutable") {
            value::put(&mut object, "immutable", true);
        }
        hashed &= !value::flag(options, "disableNameSuffixHash");
    }
    Ok(Resource { hashed, ..Resource::new(object) })
}

/// `create` adds it, `merge` and `replace` change the one that was made below.
fn merge(args: &Value, made: Resource, all: &mut Vec<Resource>) -> Result<(), Fail> {
    let namespace = value::text(args, "namespace");
    let found = all.iter_mut().find(|r| r.kind() == made.kind() && r.is_known_as(namespace, made.name()));
    let behavior = value::text(args, "behavior");
    match (behavior, found) {
        ("" | "create" | "unspecified", None) => all.push(made),
        ("" | "create" | "unspecified", Some(_)) => {
            return text(format!(
                "merging from generator: may not add resource with an already registered id: {}",
                made.id()
            ));
        }
        ("merge" | "replace", None) => {
            return text(format!(
                "merging from generator: id {} does not exist; cannot merge or replace",
                made.id()
            ));
        }
        ("merge", Some(old)) => {
            for map in ["data", "binaryData", "metadata.labels", "metadata.annotations"] {
                for (key, text) in value::pairs(&made.object, map) {
                    value::slot_map(&mut old.object, map).insert(key.into(), text.into());
                }
            }
        }
        ("replace", Some(old)) => {
            for field in ["data", "binaryData", "type"] {
                value::copy(&made.object, &mut old.object, field);
            }
        }
        (other, _) => return text(format!("unknown generation behavior {other:?}")),
    }
    Ok(())
}

fn pairs(root: &Path, args: &Value) -> Result<Vec<(String, Vec<u8>)>, Fail> {
    let mut found: Vec<(String, Vec<u8>)> = vec![];
    let words = |field: &str| value::list(args, field).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let mut envs = words("envs");
    envs.extend(value::at(args, "env").as_str());
    for name in envs {
        let bytes = load::file(root, name)?;
        for line in String::from_utf8_lossy(&bytes).lines() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, text) = line.split_once('=').unwrap_or((line, ""));
            found.push((key.to_string(), text.as_bytes().to_vec()));
        }
    }
    for literal in words("literals") {
        let Some((key, text)) = literal.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return crate::error::text(format!("invalid literal source {literal}, expected key=value"));
        };
        found.push((key.to_string(), unquoted(text).as_bytes().to_vec()));
    }
    for source in words("files") {
        let (key, path) = match source.split_once('=') {
            Some((key, path)) => (key, path),
            None => (source.rsplit('/').next().unwrap_or(source), source),
        };
        found.push((key.to_string(), load::file(root, path)?));
    }
    for (i, (key, _)) in found.iter().enumerate() {
        if found[..i].iter().any(|(other, _)| other == key) {
            return text(format!("configmap generator {}: duplicate key: {key}", value::text(args, "name")));
        }
    }
    Ok(found)
}

/// Removes the pair of quotes around a literal; other quotes are a part of it.
fn unquoted(text: &str) -> &str {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

/// As kustomize writes it: long text in lines.
fn base64(bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    if text.len() <= LINE {
        return text;
    }
    text.as_bytes().chunks(LINE).flat_map(|line| line.iter().chain(b"\n")).map(|b| *b as char).collect()
}

/// Ten letters that stand for a content: SHA-256, without letters that spell words. Source:
/// kubectl's `pkg/util/hash`.
pub(crate) fn hash(content: &Value) -> String {
    let digest = Sha256::digest(json::compact(content).as_bytes());
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    hex.chars()
        .take(10)
        .map(|c| match c {
            '0' => 'g',
            '1' => 'h',
            '3' => 'k',
            'a' => 'm',
            'e' => 't',
            other => other,
        })
        .collect()
}

/// The hash of a generated object; kustomize leaves its name out.
fn content_hash(object: &Value) -> String {
    let or_empty = |field: &str| match value::at(object, field) {
        Value::Null => json!(""),
        there => there.clone(),
    };
    let mut content = json!({"data": or_empty("data"), "kind": value::text(object, "kind"), "name": ""});
    if value::text(object, "kind") == "Secret" {
        content["type"] = or_empty("type");
    } else if value::at(object, "binaryData").is_object() {
        content["binaryData"] = value::at(object, "binaryData").clone();
    }
    hash(&content)
}

/// Puts hashes behind the names of generated objects.
pub(super) fn add_hashes(all: &mut [Resource]) {
    for resource in all.iter_mut().filter(|r| r.hashed) {
        let name = format!("{}-{}", resource.name(), content_hash(&resource.object));
        resource.remember_place();
        value::put(&mut resource.object, "metadata.name", name);
    }
}

#[cfg(test)]
mod tests {
    use super::unquoted;

    #[test]
    fn only_a_pair_of_quotes_around_a_literal_is_removed() {
        for (given, want) in [
            ("'x'", "x"),
            ("\"x\"", "x"),
            ("say \"hi\"", "say \"hi\""),
            ("'x\"", "'x\""),
            ("\"'x'\"", "'x'"),
            ("\"", "\""),
            ("", ""),
        ] {
            assert_eq!(unquoted(given), want, "{given}");
        }
    }
}
