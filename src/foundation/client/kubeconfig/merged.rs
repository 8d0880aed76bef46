//! Kubeconfig files, merged.

use super::env::Env;
use super::error::Error;
use super::exec::fill_modes;
use super::types;
use api::gostr::quote;
use api::value;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// One named entry and the file it stands in.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name that contexts and the command line use.
    pub name: String,
    /// What the file says under `cluster`, `user` or `context`.
    pub value: Value,
    /// The kubeconfig. Relative paths of the entry start from its folder.
    pub file: PathBuf,
}

/// All kubeconfig files, merged: of entries with one name the first counts.
#[derive(Clone, Debug, Default)]
pub struct Kubeconfig {
    /// Servers and how they are verified.
    pub clusters: Vec<Entry>,
    /// Users and their credentials.
    pub users: Vec<Entry>,
    /// Pairs of a cluster and a user, with a namespace.
    pub contexts: Vec<Entry>,
    /// The name of the current context; empty if no file has one.
    pub current: String,
    /// Null if no file has any.
    pub preferences: Value,
    /// The kubeconfigs that were read, and those among them that do not exist.
    pub files: Vec<PathBuf>,
    /// True if the command line named the kubeconfig (`--kubeconfig`).
    pub explicit: bool,
}

/// Returns where a kubeconfig is looked for if nothing names another: `~/.kube/config`.
pub fn default_path(home: &Path) -> PathBuf {
    home.join(".kube/config")
}

/// Reads YAML as upstream's serializer does. Its errors are the parser's own words, without those
/// that `yaml.Unmarshal` puts before them for a manifest.
///
/// # Errors
/// The text is no YAML.
pub(super) fn parse_yaml(text: &[u8]) -> Result<Value, String> {
    api::yaml::parse(text)
        .map_err(|why| why.strip_prefix("error converting YAML to JSON: ").unwrap_or(&why).to_string())
}

/// Returns Go's message for a file that has a list or a scalar where a kubeconfig has a mapping. If
/// it counted as an empty kubeconfig, `kubectl config` would write over it.
pub(super) fn no_mapping(found: &Value) -> String {
    let found = types::kind_of(found);
    format!(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
    )
}

/// Returns Go's message for a file whose `kind` or `apiVersion` is no string.
fn odd_kind(file: &Value) -> Option<String> {
    let is_odd = |key: &&str| !matches!(value::at(file, key), Value::Null | Value::String(_));
    let key = ["kind", "apiVersion"].into_iter().find(is_odd)?;
    let found = types::kind_of(value::at(file, key));
    Some(format!(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go struct field .{key} of type string"
    ))
}

/// Returns Go's message for a file with an object of another kind, e.g. a manifest. If it counted
/// as an empty kubeconfig, `kubectl config` would add its own fields to it. `None`: it is a
/// kubeconfig, or does not say what it is.
fn other_kind(found: &Value) -> Option<String> {
    let (kind, version) = (value::text(found, "kind"), value::text(found, "apiVersion"));
    let kind = if kind.is_empty() { "Config" } else { kind };
    let version = if version.is_empty() { "v1" } else { version };
    ((kind, version) != ("Config", "v1")).then(|| {
        let (kind, version) = (quote(kind), quote(version));
        let scheme = "k8s.io/client-go/tools/clientcmd/api/latest/latest.go:50";
        format!("no kind {kind} is registered for version {version} in scheme \"{scheme}\"")
    })
}

/// Returns the path of a kubeconfig as the command line or `$KUBECONFIG` names it, for errors.
fn as_named(env: &Env, explicit: Option<&str>, file: &Path) -> PathBuf {
    let listed = env.vars.get("KUBECONFIG").into_iter().flat_map(|list| list.split(':'));
    let mut names = explicit.into_iter().chain(listed).filter(|name| !name.is_empty());
    let found = names.find(|name| env.cwd.join(name) == file);
    found.map_or_else(|| file.to_path_buf(), PathBuf::from)
}

impl Kubeconfig {
    /// Reads the file `explicit` (`--kubeconfig`) if that is not empty, else the one of the
    /// environment, else those of `$KUBECONFIG`, else `~/.kube/config`. Files that are absent are
    /// left out, other than the explicit one.
    ///
    /// # Errors
    /// [`Error::Absent`]: the explicit file is not there. [`Error::Unreadable`] and
    /// [`Error::Malformed`]: a file cannot be read, is no YAML or an object of another kind, or has
    /// a value of a wrong type or two entries of one name.
    pub fn load(env: &Env, explicit: &str) -> Result<Kubeconfig, Error> {
        if !explicit.is_empty() && matches!(env.cwd.join(explicit).try_exists(), Ok(false)) {
            return Err(Error::Absent(explicit.into()));
        }
        Kubeconfig::load_or_new(env, explicit)
    }

    /// As [`Kubeconfig::load`], for commands that show or change files: one that is named need not
    /// be there yet.
    ///
    /// # Errors
    /// As [`Kubeconfig::load`], but never [`Error::Absent`].
    pub fn load_or_new(env: &Env, explicit: &str) -> Result<Kubeconfig, Error> {
        let explicit = Some(explicit).filter(|file| !file.is_empty());
        let files = explicit.map_or_else(|| Kubeconfig::files_of(env), |file| vec![env.cwd.join(file)]);
        let mut all = Kubeconfig { files, explicit: explicit.is_some(), ..Kubeconfig::default() };
        for file in all.files.clone() {
            let named = || as_named(env, explicit, &file);
            let text = match std::fs::read(&file) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(cause) => return Err(Error::Unreadable { path: named(), cause }),
            };
            let mut parsed = parse_yaml(&text).map_err(|why| Error::Malformed { path: named(), why })?;
            if !(parsed.is_object() || parsed.is_null()) {
                return Err(Error::Malformed { path: named(), why: no_mapping(&parsed) });
            }
            if let Some(why) = odd_kind(&parsed).or_else(|| other_kind(&parsed)) {
                return Err(Error::Malformed { path: named(), why });
            }
            types::check(&parsed).map_err(|why| Error::Malformed { path: named(), why })?;
            fill_modes(&mut parsed);
            all.merge(&parsed, &file);
        }
        Ok(all)
    }

    /// Returns the files that are read unless one is named on the command line, whether they exist
    /// or not.
    pub fn files_of(env: &Env) -> Vec<PathBuf> {
        let given = env.vars.get("KUBECONFIG").filter(|v| !v.is_empty());
        match (&env.kubeconfig, given, env.vars.get("HOME")) {
            (Some(file), ..) => vec![file.clone()],
            (_, Some(list), _) => {
                list.split(':').filter(|p| !p.is_empty()).map(|p| env.cwd.join(p)).collect()
            }
            (.., Some(home)) => vec![default_path(Path::new(home))],
            (None, None, None) => vec![],
        }
    }

    /// Adds what one file says. Of what is known already nothing changes.
    pub fn merge(&mut self, config: &Value, file: &Path) {
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
        if self.preferences.as_object().is_none_or(Map::is_empty) {
            self.preferences = value::at(config, "preferences").clone();
        }
        if self.current.is_empty() {
            self.current = value::text(config, "current-context").to_string();
        }
    }

    /// Returns true if no file has a cluster, a user or a context.
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty() && self.contexts.is_empty() && self.users.is_empty()
    }

    /// Returns the entry of this name.
    pub fn find<'a>(list: &'a [Entry], name: &str) -> Option<&'a Entry> {
        list.iter().find(|e| e.name == name)
    }

    /// Returns the whole as one `v1.Config`, entries sorted by name.
    pub fn to_value(&self) -> Value {
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
