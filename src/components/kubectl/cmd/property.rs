//! config set and unset: one value of a kubeconfig file, by its path.

use super::kubeconfig::unexpected;
use super::kubeconfig_file::{entry, file_of_current, home_of, rewrite};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use api::gostr::{self, quote};
use api::value;
use base64::Engine as _;
use client::kubeconfig::{Entry, Kubeconfig};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Text,
    Flag,
    /// base64
    Bytes,
    /// Cannot be set as a whole.
    Struct,
}
use Kind::{Bytes, Flag, Struct, Text};

/// Fields by their names in a path.
type Fields = &'static [(&'static str, Kind)];

const CLUSTER: Fields = &[
    ("server", Text),
    ("tls-server-name", Text),
    ("insecure-skip-tls-verify", Flag),
    ("certificate-authority", Text),
    ("certificate-authority-data", Bytes),
    ("proxy-url", Text),
    ("disable-compression", Flag),
    ("extensions", Struct),
];
const USER: Fields = &[
    ("client-certificate", Text),
    ("client-certificate-data", Bytes),
    ("client-key", Text),
    ("client-key-data", Bytes),
    ("token", Text),
    ("tokenFile", Text),
    ("act-as", Text),
    ("act-as-uid", Text),
    ("act-as-groups", Struct),
    ("act-as-user-extra", Struct),
    ("username", Text),
    ("password", Text),
    ("auth-provider", Struct),
    ("exec", Struct),
    ("extensions", Struct),
];
const CONTEXT: Fields = &[("cluster", Text), ("user", Text), ("namespace", Text), ("extensions", Struct)];

/// A place in a kubeconfig.
#[derive(Debug, PartialEq)]
enum Place {
    CurrentContext,
    Colors,
    /// List, key of an entry's content, name; and the field of it, if it is not the whole entry.
    Entry(&'static str, &'static str, String, Option<(&'static str, Kind)>),
}

const LISTS: [(&str, &str, Fields); 3] =
    [("clusters", "cluster", CLUSTER), ("users", "user", USER), ("contexts", "context", CONTEXT)];

/// Reads `users.a.b.token`: names may have dots, so a field is known by its name at the end.
fn place(path: &str) -> Result<Place, String> {
    match path {
        "current-context" => return Ok(Place::CurrentContext),
        "preferences.colors" => return Ok(Place::Colors),
        _ => {}
    }
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let Some((list, key, fields)) = LISTS.into_iter().find(|(list, ..)| *list == first) else {
        return Err(format!("unable to parse {path} after [] at api.Config"));
    };
    if rest.is_empty() {
        return Ok(Place::Entry(list, key, String::new(), None));
    }
    for (field, kind) in fields {
        if let Some(name) = rest.strip_suffix(field).and_then(|n| n.strip_suffix('.')) {
            return Ok(Place::Entry(list, key, name.to_string(), Some((field, *kind))));
        }
    }
    Ok(Place::Entry(list, key, rest.to_string(), None))
}

fn parse_flag(given: &str) -> Result<Value, Fail> {
    match given {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(json!(true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(json!(false)),
        other => text(format!("strconv.ParseBool: parsing {}: invalid syntax", quote(other))),
    }
}

/// The name in the file of a field that a path names.
fn stored(field: &str) -> &str {
    match field {
        "act-as" => "as",
        "act-as-uid" => "as-uid",
        "act-as-groups" => "as-groups",
        "act-as-user-extra" => "as-user-extra",
        other => other,
    }
}

/// The entries of a list, each with its file.
fn entries_of<'a>(files: &'a Kubeconfig, list: &str) -> &'a [Entry] {
    match list {
        "clusters" => &files.clusters,
        "users" => &files.users,
        _ => &files.contexts,
    }
}

/// The file in which something stands, or is to stand.
fn file_of(files: &Kubeconfig, place: &Place) -> PathBuf {
    let found = match place {
        Place::Entry(list, _, name, _) => {
            Kubeconfig::find(entries_of(files, list), name).map(|e| e.file.as_path())
        }
        _ => None,
    };
    home_of(files, found)
}

/// A change that cannot fail.
fn done(change: impl FnOnce(&mut Value)) -> impl FnOnce(&mut Value) -> Result<(), Fail> {
    |config| {
        change(config);
        Ok(())
    }
}

pub(crate) async fn set(ctx: &Ctx) -> Result<(), Fail> {
    let [path, given] = ctx.args.as_slice() else {
        return unexpected(ctx);
    };
    if given.is_empty() {
        return text("you cannot use set to unset a property");
    }
    if path.is_empty() {
        return text("you must specify a property");
    }
    let place = place(path).map_err(Fail::Text)?;
    let new = match &place {
        Place::CurrentContext => json!(given),
        Place::Colors => parse_flag(given)?,
        Place::Entry(_, _, _, None | Some((_, Struct))) => {
            return text(format!("unrecognized type {path}: only a single value can be set"));
        }
        Place::Entry(_, _, _, Some((_, Text))) => json!(given),
        Place::Entry(_, _, _, Some((_, Flag))) => parse_flag(given)?,
        Place::Entry(_, _, _, Some((_, Bytes))) if ctx.flags.is("set-raw-bytes") => {
            json!(base64::engine::general_purpose::STANDARD.encode(given))
        }
        Place::Entry(_, _, _, Some((_, Bytes))) => {
            let bytes = gostr::decode_base64(given)
                .map_err(|why| Fail::Text(format!("error decoding input value: {why}")))?;
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
    };
    let files = ctx.kubeconfig_or_new()?;
    rewrite(
        &file_of(&files, &place),
        done(|config| match &place {
            Place::CurrentContext => value::put(config, "current-context", new),
            Place::Colors => value::put(config, "preferences.colors", new),
            Place::Entry(list, key, name, field) => {
                let entry = entry(config, list, key, name);
                if *key == "context" {
                    for needed in ["cluster", "user"] {
                        entry.entry(needed).or_insert("".into());
                    }
                }
                if let Some((field, _)) = field {
                    entry.insert(stored(field).into(), new);
                }
            }
        }),
    )?;
    ctx.line(format!("Property {} set.", quote(path)));
    Ok(())
}

pub(crate) async fn unset(ctx: &Ctx) -> Result<(), Fail> {
    let [path] = ctx.args.as_slice() else {
        return unexpected(ctx);
    };
    if path.is_empty() {
        return text("you must specify a property");
    }
    let place = place(path).map_err(Fail::Text)?;
    let files = ctx.kubeconfig_or_new()?;
    match &place {
        Place::Entry(list, _, name, None) if name.is_empty() => {
            unset_list(&files, list)?;
            ctx.line(format!("Property {} unset.", quote(path)));
            return Ok(());
        }
        // An entry that is not there is gone already; a field of one cannot be.
        Place::Entry(list, _, name, Some(_))
            if Kubeconfig::find(entries_of(&files, list), name).is_none() =>
        {
            return text(format!("current map key `{name}` is invalid"));
        }
        _ => {}
    }
    let file = match &place {
        // The first file that sets it counts; in another one there is nothing to unset.
        Place::CurrentContext => file_of_current(&files),
        other => file_of(&files, other),
    };
    rewrite(
        &file,
        done(|config| match &place {
            Place::CurrentContext => value::put(config, "current-context", ""),
            Place::Colors => drop(value::remove(config, "preferences.colors")),
            Place::Entry(list, _, name, None) => {
                if let Some(Value::Array(entries)) = config.get_mut(*list) {
                    entries.retain(|e| value::text(e, "name") != name);
                }
            }
            Place::Entry(list, key, name, Some((field, _))) => {
                let entry = entry(config, list, key, name);
                // These always stand there, be it with nothing.
                match matches!((*key, *field), ("context", "cluster" | "user") | ("cluster", "server")) {
                    true => drop(entry.insert(field.to_string(), "".into())),
                    false => drop(entry.shift_remove(stored(field))),
                }
            }
        }),
    )?;
    ctx.line(format!("Property {} unset.", quote(path)));
    Ok(())
}

/// Removes the entries of a list, each from its own file.
fn unset_list(files: &Kubeconfig, list: &str) -> Result<(), Fail> {
    let entries = entries_of(files, list);
    let holders: BTreeSet<&PathBuf> = entries.iter().map(|entry| &entry.file).collect();
    for file in holders {
        let is_own = |name: &str| entries.iter().any(|entry| entry.file == *file && entry.name == name);
        rewrite(
            file,
            done(|config| {
                if let Some(Value::Array(all)) = config.get_mut(list) {
                    all.retain(|entry| !is_own(value::text(entry, "name")));
                }
            }),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Env;
    use crate::testing::Server;

    /// The first file that sets the current context counts, wherever the context itself stands.
    #[tokio::test]
    async fn the_current_context_is_set_in_the_first_file() {
        let (server, dir) = (Server::away().await, tempfile::tempdir().unwrap());
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let paths = format!("{}:{}", a.display(), b.display());
        let env = || {
            let vars = [("KUBECONFIG".to_string(), paths.clone())].into();
            Env { vars, cwd: dir.path().into(), ..Env::default() }
        };
        let contexts = "contexts: [{name: old, context: {cluster: c, user: u}}]\n";
        for (of_a, of_b) in
            [("current-context: old\n", contexts.to_string()), (contexts, "current-context: old\n".into())]
        {
            let write = || {
                std::fs::write(&a, of_a).unwrap();
                std::fs::write(&b, &of_b).unwrap();
            };
            let current = async || server.kubectl_in(&["config", "current-context"], "", env()).await;
            write();
            let result = server.kubectl_in(&["config", "rename-context", "old", "new"], "", env()).await;
            assert_eq!((result.code, current().await.out.as_str()), (0, "new\n"), "{result:?}");
            write();
            let result = server.kubectl_in(&["config", "use-context", "old"], "", env()).await;
            let first = std::fs::read_to_string(&a).unwrap();
            assert!(result.code == 0 && first.contains("current-context: old"), "{result:?}");
            assert_eq!(std::fs::read_to_string(&b).unwrap(), of_b, "others stay as they are");
            write();
            let result = server.kubectl_in(&["config", "unset", "current-context"], "", env()).await;
            assert_eq!((result.code, current().await.code), (0, 1), "{result:?}");
        }
    }

    #[tokio::test]
    async fn a_list_is_unset_in_all_its_files() {
        let (server, dir) = (Server::away().await, tempfile::tempdir().unwrap());
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "users: [{name: u, user: {token: t}}]\n").unwrap();
        std::fs::write(&b, "users: [{name: v, user: {token: t}}]\ncurrent-context: x\n").unwrap();
        let vars = [("KUBECONFIG".to_string(), format!("{}:{}", a.display(), b.display()))].into();
        let env = Env { vars, cwd: dir.path().into(), ..Env::default() };
        let result = server.kubectl_in(&["config", "unset", "users"], "", env).await;
        assert_eq!((result.code, result.out.as_str()), (0, "Property \"users\" unset.\n"), "{result:?}");
        for file in [&a, &b] {
            assert!(std::fs::read_to_string(file).unwrap().contains("users: null"), "{}", file.display());
        }
    }

    #[tokio::test]
    async fn fields_have_other_names_in_a_file_and_bytes_are_base64() {
        let (server, dir) = (Server::away().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("config");
        let user = "{as: a, as-groups: [g], as-user-extra: {k: [v]}}";
        std::fs::write(&file, format!("users: [{{name: u, user: {user}}}]\n")).unwrap();
        let env = || Env { kubeconfig: Some(file.clone()), cwd: dir.path().into(), ..Env::default() };
        for field in ["act-as", "act-as-groups", "act-as-user-extra"] {
            let path = format!("users.u.{field}");
            let result = server.kubectl_in(&["config", "unset", &path], "", env()).await;
            assert_eq!(result.code, 0, "{field}: {result:?}");
        }
        let left = std::fs::read_to_string(&file).unwrap();
        assert!(!left.contains("as:") && !left.contains("as-"), "{left}");
        let set = ["config", "set", "users.u.client-key-data", "aa!a"];
        let result = server.kubectl_in(&set, "", env()).await;
        let want = "error: error decoding input value: illegal base64 data at input byte 2\n";
        assert_eq!((result.code, result.err.as_str()), (1, want));
    }

    #[test]
    fn names_may_have_dots() {
        let entry = |list, key, name: &str, field| Ok(Place::Entry(list, key, name.into(), field));
        assert_eq!(
            place("clusters.my.cluster.server"),
            entry("clusters", "cluster", "my.cluster", Some(("server", Text)))
        );
        assert_eq!(
            place("users.jane.client-key-data"),
            entry("users", "user", "jane", Some(("client-key-data", Bytes)))
        );
        assert_eq!(place("contexts.dev"), entry("contexts", "context", "dev", None));
        assert_eq!(place("current-context"), Ok(Place::CurrentContext));
        assert!(place("nothing.like.this").is_err());
    }
}
