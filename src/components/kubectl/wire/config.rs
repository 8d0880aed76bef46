//! Kubeconfig files, merged.

use crate::Env;
use crate::error::{Fail, go_io};
use crate::flag::Flags;
use api::value;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// One named entry and the file it stands in.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub name: String,
    pub value: Value,
    pub file: PathBuf,
}

/// All kubeconfig files, merged: of entries with one name the first counts.
#[derive(Clone, Debug, Default)]
pub struct Kubeconfig {
    pub(crate) clusters: Vec<Entry>,
    pub(crate) users: Vec<Entry>,
    pub(crate) contexts: Vec<Entry>,
    pub(crate) current: String,
    /// Null if no file has any.
    pub(crate) preferences: Value,
    /// The files that were asked for, whether they exist or not.
    pub(crate) files: Vec<PathBuf>,
    /// One file was named with `--kubeconfig`.
    pub(crate) explicit: bool,
}

impl Kubeconfig {
    /// Reads `--kubeconfig`, else `$KUBECONFIG`, else `~/.kube/config`. Files that are absent are
    /// left out, other than that of `--kubeconfig`.
    ///
    /// # Errors
    /// [`Fail::Text`]: the file of `--kubeconfig` is absent, or a file cannot be read or is no
    /// YAML.
    pub fn load(env: &Env, flags: &Flags) -> Result<Kubeconfig, Fail> {
        let explicit = flags.global("kubeconfig");
        if !explicit.is_empty() && !env.cwd.join(explicit).exists() {
            return Err(Fail::Text(format!("stat {explicit}: no such file or directory")));
        }
        Kubeconfig::load_or_new(env, flags)
    }

    /// As [`Kubeconfig::load`], for commands that are going to write it: a file that is named need
    /// not be there yet.
    pub(crate) fn load_or_new(env: &Env, flags: &Flags) -> Result<Kubeconfig, Fail> {
        let explicit = flags.global("kubeconfig");
        let given = env.vars.get("KUBECONFIG").filter(|v| !v.is_empty());
        let mut all = Kubeconfig::default();
        if !explicit.is_empty() {
            all.files = vec![env.cwd.join(explicit)];
            all.explicit = true;
        } else if let Some(file) = &env.kubeconfig {
            all.files = vec![file.clone()];
        } else if let Some(list) = given {
            all.files = list.split(':').filter(|p| !p.is_empty()).map(|p| env.cwd.join(p)).collect();
        } else if let Some(home) = env.vars.get("HOME") {
            all.files = vec![Path::new(home).join(".kube/config")];
        }
        for file in all.files.clone() {
            let text = match std::fs::read(&file) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(Fail::Text(format!(
                        "error loading config file \"{0}\": open {0}: {1}",
                        file.display(),
                        go_io(&error)
                    )));
                }
            };
            let parsed = crate::manifest::parse_yaml(&text).map_err(|why| {
                Fail::Text(format!("error loading config file \"{}\": {why}", file.display()))
            })?;
            all.merge(&parsed, &file);
        }
        Ok(all)
    }

    fn merge(&mut self, config: &Value, file: &Path) {
        let add = |into: &mut Vec<Entry>, list: &str, key: &str| {
            for item in value::list(config, list) {
                let name = value::text(item, "name").to_string();
                if !into.iter().any(|e| e.name == name) {
                    into.push(Entry { name, value: value::at(item, key).clone(), file: file.into() });
                }
            }
        };
        add(&mut self.clusters, "clusters", "cluster");
        add(&mut self.users, "users", "user");
        add(&mut self.contexts, "contexts", "context");
        if self.preferences.is_null() {
            self.preferences = value::at(config, "preferences").clone();
        }
        if self.current.is_empty() {
            self.current = value::text(config, "current-context").to_string();
        }
    }

    /// True if no file has a cluster, a user or a context.
    pub(crate) fn is_empty(&self) -> bool {
        self.clusters.is_empty() && self.contexts.is_empty() && self.users.is_empty()
    }

    /// The entry of this name.
    pub(crate) fn find<'a>(list: &'a [Entry], name: &str) -> Option<&'a Entry> {
        list.iter().find(|e| e.name == name)
    }

    /// The whole as one `v1.Config`, entries sorted by name.
    pub(crate) fn to_value(&self) -> Value {
        let list = |entries: &[Entry], key: &str| -> Value {
            let mut sorted: Vec<&Entry> = entries.iter().collect();
            sorted.sort_by(|a, b| a.name.cmp(&b.name));
            if sorted.is_empty() {
                return Value::Null;
            }
            sorted
                .iter()
                .map(|e| {
                    let mut map = Map::new();
                    map.insert("name".into(), e.name.clone().into());
                    map.insert(key.into(), e.value.clone());
                    Value::Object(map)
                })
                .collect()
        };
        let mut config = json!({
            "kind": "Config", "apiVersion": "v1",
            "clusters": list(&self.clusters, "cluster"),
            "users": list(&self.users, "user"),
            "contexts": list(&self.contexts, "context"),
            "current-context": self.current,
        });
        if self.preferences.as_object().is_some_and(|p| !p.is_empty()) {
            config["preferences"] = self.preferences.clone();
        }
        config
    }
}
