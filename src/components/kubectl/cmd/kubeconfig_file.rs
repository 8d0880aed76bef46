//! Changes of kubeconfig files: which file a change goes to, and how it is written.

use crate::error::{Fail, go_io, text};
use crate::manifest;
use crate::print::yaml;
use api::value;
use client::kubeconfig::{ConfigLock, Kubeconfig, LOCK_WITHIN, LockError, as_written};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The file that holds an entry, or else the one new entries go to.
pub(super) fn home_of(files: &Kubeconfig, found: Option<&Path>) -> PathBuf {
    match found {
        Some(path) => path.to_path_buf(),
        None => files.files.iter().find(|f| f.exists()).or(files.files.last()).cloned().unwrap_or_default(),
    }
}

/// The file in which the current context is unset: the first that names one, since it counts; if
/// none does, the one that a new entry goes to. It is set where new entries go, so that the files
/// behind that one stay as they are. Source: client-go's `writeCurrentContext`.
pub(super) fn file_of_current(files: &Kubeconfig) -> PathBuf {
    let holds = |file: &&PathBuf| {
        let parsed = std::fs::read(file).ok().and_then(|b| manifest::parse_yaml(&b).ok());
        parsed.is_some_and(|c| !value::text(&c, "current-context").is_empty())
    };
    home_of(files, files.files.iter().find(holds).map(PathBuf::as_path))
}

/// Changes one file and writes it back, if there was anything to change.
pub(super) fn rewrite(path: &Path, change: impl FnOnce(&mut Value) -> Result<(), Fail>) -> Result<(), Fail> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    // Of two changes at a time the later one sees the earlier one's result.
    let _lock = ConfigLock::take(path, LOCK_WITHIN).map_err(|error| match error {
        LockError::Taken { config, lock } => Fail::Text(format!(
            "open {0}: file exists; another command is changing {1}, or one was killed: then remove {0}",
            lock.display(),
            config.display()
        )),
        LockError::Io { path, cause } => Fail::Text(format!("open {}: {}", path.display(), go_io(&cause))),
    })?;
    let mut config = match std::fs::read(path) {
        Ok(bytes) => manifest::parse_yaml(&bytes).map_err(Fail::Text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Value::Null,
        Err(error) => return text(format!("open {}: {}", path.display(), go_io(&error))),
    };
    if !config.is_object() {
        config = json!({});
    }
    for (key, default) in [
        ("apiVersion", json!("v1")),
        ("kind", json!("Config")),
        ("clusters", Value::Null),
        ("contexts", Value::Null),
        ("users", Value::Null),
        ("current-context", json!("")),
    ] {
        if config.get(key).is_none() {
            value::put(&mut config, key, default);
        }
    }
    let old = sorted(&mut config);
    change(&mut config)?;
    let new = sorted(&mut config);
    // As with client-go's `ModifyConfig`, a file that says the same stays, with its comments.
    if new == old {
        return Ok(());
    }
    let written = client::kubeconfig::replace(path, &yaml::to_string(&new));
    written.map_err(|error| Fail::Text(format!("open {}: {}", path.display(), go_io(&error))))
}

/// Sorts the lists of a file. Returns it as client-go writes it.
fn sorted(config: &mut Value) -> Value {
    ["clusters", "users", "contexts"].iter().for_each(|list| in_order(&mut config[list]));
    as_written(config)
}

/// Sorts a list of a file by its names, as Go writes the map that it keeps; an empty one is null.
fn in_order(list: &mut Value) {
    match list {
        Value::Array(entries) if entries.is_empty() => *list = Value::Null,
        Value::Array(entries) => entries.sort_by(|a, b| value::text(a, "name").cmp(value::text(b, "name"))),
        _ => {}
    }
}

/// The entry of a list by its name, made if it is not there.
pub(super) fn entry<'a>(
    config: &'a mut Value,
    list: &str,
    key: &str,
    name: &str,
) -> &'a mut Map<String, Value> {
    if !config[list].is_array() {
        value::put(config, list, json!([]));
    }
    let at = value::list(config, list).iter().position(|e| value::text(e, "name") == name);
    let at = at.unwrap_or_else(|| {
        if let Some(Value::Array(entries)) = config.get_mut(list) {
            entries.push(json!({"name": name, key: {}}));
        }
        value::list(config, list).len() - 1
    });
    value::as_map(&mut config[list][at][key])
}
