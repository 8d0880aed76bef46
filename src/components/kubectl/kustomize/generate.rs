//! ConfigMaps and Secrets from literals and files, and the hash that is a part of their names.

use super::load;
use super::resource::Resource;
use super::types::{GeneratorOptions, Kustomization, SecretArgs};
use crate::error::{Fail, text};
use crate::print::json;
use api::value;
use base64::Engine as _;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Columns of a line of base64 text; a longer text has several lines.
const LINE: usize = 70;

pub(super) fn run(kustomization: &Kustomization, root: &Path, all: &mut Vec<Resource>) -> Result<(), Fail> {
    let general = kustomization.generator_options.clone().unwrap_or_default();
    for args in kustomization.config_map_generator.iter().map(SecretArgs::from) {
        absorb(&args, generate("ConfigMap", &args, &general, root)?, all)?;
    }
    for args in &kustomization.secret_generator {
        absorb(args, generate("Secret", args, &general, root)?, all)?;
    }
    Ok(())
}

/// Makes the object of one generator. `general` are the options of all generators.
fn generate(
    kind: &str,
    args: &SecretArgs,
    general: &GeneratorOptions,
    root: &Path,
) -> Result<Resource, Fail> {
    if args.name.is_empty() {
        return text("a configmap must have a name");
    }
    let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": args.name}});
    if !args.namespace.is_empty() {
        value::put(&mut object, "metadata.namespace", args.namespace.as_str());
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
        // A Secret has a field `data` even if it is empty.
        if !map.is_empty() || (kind == "Secret" && field == "data") {
            value::put(&mut object, field, map);
        }
    }
    if kind == "Secret" {
        let kind = if args.secret_type.is_empty() { "Opaque" } else { &args.secret_type };
        value::put(&mut object, "type", kind);
    }
    let mut hashed = true;
    for options in [general].into_iter().chain(&args.options) {
        for (field, map) in [("labels", &options.labels), ("annotations", &options.annotations)] {
            for (key, text) in map {
                let path = format!("metadata.{field}");
                value::slot_map(&mut object, &path).insert(key.clone(), text.as_str().into());
            }
        }
        if options.immutable {
            value::put(&mut object, "immutable", true);
        }
        hashed &= !options.disable_name_suffix_hash;
    }
    Ok(Resource { generated: true, hashed, ..Resource::new(object) })
}

/// Adds a generated object, or puts it in the place of the one that it merges with or replaces.
/// Source: kustomize, `resWrangler.appendReplaceOrMerge`.
fn absorb(args: &SecretArgs, made: Resource, all: &mut Vec<Resource>) -> Result<(), Fail> {
    let found: Vec<usize> = (0..all.len()).filter(|i| all[*i].is_known_as(&made)).collect();
    let merges = args.behavior == "merge";
    // Every other word means `create`.
    let creates = !merges && args.behavior != "replace";
    let id = made.go_id();
    match found.as_slice() {
        [] if creates => all.push(made),
        [] => {
            return text(format!("merging from generator: id {id} does not exist; cannot merge or replace"));
        }
        [_] if creates => {
            return text(format!(
                "merging from generator: id {id} exists; behavior must be merge or replace"
            ));
        }
        [index] => all[*index] = put_over(&all[*index], made, merges),
        _ => {
            return text(format!(
                "merging from generator: found multiple objects that could accept merge of {}",
                made.id()
            ));
        }
    }
    Ok(())
}

/// Returns the new object at the place of the old one, with the labels and annotations of both, and
/// with the data of both if they are merged. All other fields are the new object's.
fn put_over(old: &Resource, new: Resource, merges: bool) -> Resource {
    let mut object = new.object;
    let both = ["metadata.labels", "metadata.annotations"];
    let data = ["data", "binaryData"].iter().filter(|_| merges);
    for field in both.iter().chain(data) {
        let of_old = value::pairs(&old.object, field).map(|(key, text)| (key.to_string(), text.into()));
        let mut map: Map<String, Value> = of_old.collect();
        map.extend(value::map(&object, field).cloned().unwrap_or_default());
        value::remove(&mut object, field);
        if !map.is_empty() {
            value::put(&mut object, field, map);
        }
    }
    for field in ["metadata.name", "metadata.namespace"] {
        value::remove(&mut object, field);
        value::copy(&old.object, &mut object, field);
    }
    Resource { object, hashed: old.hashed && new.hashed, ..old.clone() }
}

/// The data of a generator: from env files, literals and files, in this order.
fn pairs(root: &Path, args: &SecretArgs) -> Result<Vec<(String, Vec<u8>)>, Fail> {
    let mut found: Vec<(String, Vec<u8>)> = vec![];
    let broken = |why: String| Fail::Text(format!("loading KV pairs: {why}"));
    let read = |path: &str| load::file(root, path).map_err(|fail| fail.message());
    for name in args.envs.iter().chain([&args.env].into_iter().filter(|env| !env.is_empty())) {
        let lines = read(name).and_then(|bytes| env_lines(&bytes));
        found.extend(lines.map_err(|why| broken(format!("env source files: [{name}]: {why}")))?);
    }
    for literal in &args.literals {
        let Some((key, text)) = literal.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(broken(format!(
                "literal sources [{literal}]: invalid literal source {literal}, expected key=value"
            )));
        };
        found.push((key.to_string(), unquoted(text).as_bytes().to_vec()));
    }
    for source in &args.files {
        let content = file_source(source).and_then(|(key, path)| Ok((key.to_string(), read(path)?)));
        found.push(content.map_err(|why| broken(format!("file sources: [{source}]: {why}")))?);
    }
    for (i, (key, _)) in found.iter().enumerate() {
        if found[..i].iter().any(|(other, _)| other == key) {
            return text(format!("configmap {} illegally repeats the key `{key}`", args.name));
        }
    }
    Ok(found)
}

/// Splits `[key=]path`. Neither may have a `=`.
fn file_source(source: &str) -> Result<(&str, &str), String> {
    match source.split('=').collect::<Vec<_>>().as_slice() {
        [path] => Ok((path.rsplit('/').next().unwrap_or(path), path)),
        ["", path] => Err(format!("missing key name for file path {path:?} in source {source:?}")),
        [key, ""] => Err(format!("missing file path for key name {key:?} in source {source:?}")),
        [key, path] => Ok((key, path)),
        _ => Err(format!("source {source:?} key name or file path contains '='")),
    }
}

/// The keys and values of an env file. A byte order mark in front is left out.
fn env_lines(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut found = vec![];
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for line in bytes.split(|b| *b == b'\n') {
        let line = std::str::from_utf8(line)
            .map_err(|_| format!("a line has invalid utf8 bytes : {}", String::from_utf8_lossy(line)))?;
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        let (key, text) = line.split_once('=').unwrap_or((line, ""));
        if !key.is_empty() && !key.starts_with('#') {
            found.push((key.to_string(), text.as_bytes().to_vec()));
        }
    }
    Ok(found)
}

/// Removes the pair of quotes around a literal; other quotes are a part of it.
fn unquoted(text: &str) -> &str {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

/// Base64 text in kustomize's form: long text in several lines.
fn base64(bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    if text.len() <= LINE {
        return text;
    }
    text.as_bytes().chunks(LINE).flat_map(|line| line.iter().chain(b"\n")).map(|b| *b as char).collect()
}

/// Ten letters that are the hash of a content: SHA-256, without letters that spell words. Source:
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
    use super::{env_lines, file_source, unquoted};

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

    #[test]
    fn an_env_file_may_begin_with_a_byte_order_mark_and_is_text() {
        let found = env_lines(b"\xef\xbb\xbfA=1\r\n # c\n\n  b c=2=3\nD\n=x").unwrap();
        let pairs: Vec<(&str, &[u8])> = found.iter().map(|(k, v)| (k.as_str(), v.as_slice())).collect();
        assert_eq!(pairs, [("A", b"1" as &[u8]), ("b c", b"2=3"), ("D", b"")]);
        let message = env_lines(b"A=1\nB=\xff").unwrap_err();
        assert!(message.contains("has invalid utf8 bytes"), "{message}");
    }

    #[test]
    fn a_file_source_has_one_equals_sign_at_most() {
        assert_eq!(file_source("a/b.txt"), Ok(("b.txt", "a/b.txt")));
        assert_eq!(file_source("k=a/b.txt"), Ok(("k", "a/b.txt")));
        for (source, why) in [
            ("a=b=e.env", "key name or file path contains '='"),
            ("=e.env", "missing key name"),
            ("k=", "missing file path"),
        ] {
            let message = file_source(source).unwrap_err();
            assert!(message.contains(why), "{source}: {message}");
        }
    }
}
