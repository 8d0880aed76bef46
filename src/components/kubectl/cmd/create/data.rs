//! create configmap, secret generic, secret tls, secret docker-registry.

use super::super::common::{enforced, metadata, one_name};
use super::super::set_env::check_variable;
use super::{submit, within};
use crate::ctx::Ctx;
use crate::error::{Fail, go_io, text};
use api::gostr::quote;
use api::validate::names::config_key;
use base64::Engine as _;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Keys and values of `--from-file`, `--from-literal`, `--from-env-file`.
fn collect(ctx: &Ctx, name: &str, what: &str) -> Result<BTreeMap<String, Vec<u8>>, Fail> {
    let env_files = ctx.flags.list("from-env-file");
    if !env_files.is_empty() && (ctx.flags.changed("from-file") || ctx.flags.changed("from-literal")) {
        return text("from-env-file cannot be combined with from-file or from-literal");
    }
    let mut found = from_files(ctx, ctx.flags.list("from-file"), (name, what))?;
    for literal in ctx.flags.list("from-literal") {
        let Some((key, text_of)) = literal.split_once('=').filter(|(k, _)| !k.is_empty()) else {
            return text(format!("invalid literal source {literal}, expected key=value"));
        };
        add(&mut found, key.to_string(), text_of.as_bytes().to_vec(), (name, what))?;
    }
    for path in env_files {
        if stat(ctx, &path)?.is_dir() {
            return text("env config file cannot be a directory");
        }
        let bytes = read(ctx, &path)?;
        for (at, line) in bytes.split(|b| *b == b'\n').enumerate() {
            if let Some((key, given)) = env_pair(ctx, &path, at, line)? {
                add(&mut found, key, given.into_bytes(), (name, what))?;
            }
        }
    }
    Ok(found)
}

/// Returns what the values of `--from-file` name: files, or the files of a folder.
fn from_files(
    ctx: &Ctx,
    sources: Vec<String>,
    owner: (&str, &str),
) -> Result<BTreeMap<String, Vec<u8>>, Fail> {
    let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for source in sources {
        let (key, path) = file_source(&source)?;
        if !stat(ctx, &path)?.is_dir() {
            add(&mut found, key, read(ctx, &path)?, owner)?;
            continue;
        }
        if source.contains('=') {
            return text("cannot give a key name for a directory path");
        }
        let full = ctx.path(&path);
        for file in files_of(&full)
            .map_err(|e| Fail::Text(format!("error listing files in {path}: open {path}: {}", go_io(&e))))?
        {
            let bytes = std::fs::read(full.join(&file))?;
            add(&mut found, file.to_string_lossy().into_owned(), bytes, owner)?;
        }
    }
    Ok(found)
}

fn stat(ctx: &Ctx, path: &str) -> Result<std::fs::Metadata, Fail> {
    std::fs::metadata(ctx.path(path)).map_err(|e| Fail::Text(format!("error reading {path}: {}", go_io(&e))))
}

/// Reads line `at` of an env file, counted from 0. A name without a value has that of this
/// process' environment; an empty line and a comment are nothing. Source: kubectl's
/// `pkg/cmd/util/env_file.go`.
fn env_pair(ctx: &Ctx, path: &str, at: usize, line: &[u8]) -> Result<Option<(String, String)>, Fail> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Ok(line) = std::str::from_utf8(line) else {
        let bytes: Vec<String> = line.iter().map(u8::to_string).collect();
        return text(format!(
            "env file {path} contains invalid utf8 bytes at line {}: [{}]",
            at + 1,
            bytes.join(" ")
        ));
    };
    // A byte order mark counts as none at the beginning of the file only.
    let line = if at == 0 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
    let line = line.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (key, given) = match line.split_once('=') {
        Some((key, given)) => (key, given.to_string()),
        None => (line, ctx.env.vars.get(line).cloned().unwrap_or_default()),
    };
    check_variable(key)?;
    Ok(Some((key.to_string(), given)))
}

/// The names of the regular files in a folder, in order. As with kubectl a link is left out, also
/// one to a regular file: it would bring in a file from elsewhere.
fn files_of(folder: &Path) -> std::io::Result<Vec<OsString>> {
    let mut names = vec![];
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name());
        }
    }
    names.sort();
    Ok(names)
}

fn read(ctx: &Ctx, path: &str) -> Result<Vec<u8>, Fail> {
    std::fs::read(ctx.path(path)).map_err(|e| Fail::Text(format!("open {path}: {}", go_io(&e))))
}

/// `key=path`, or a path whose last part is the key.
fn file_source(source: &str) -> Result<(String, String), Fail> {
    match source.split('=').collect::<Vec<_>>().as_slice() {
        [path] => {
            let key = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
            Ok((key.to_string(), path.to_string()))
        }
        ["", path] => text(format!("key name for file path {path} missing")),
        [key, ""] => text(format!("file path for key name {key} missing")),
        [key, path] => Ok((key.to_string(), path.to_string())),
        _ => text("key names or file paths cannot contain '='"),
    }
}

fn add(
    found: &mut BTreeMap<String, Vec<u8>>,
    key: String,
    bytes: Vec<u8>,
    (name, what): (&str, &str),
) -> Result<(), Fail> {
    let problems = config_key(&key);
    if !problems.is_empty() {
        let key = quote(&key);
        return text(match what {
            "ConfigMap" => {
                format!("{key} is not a valid key name for a ConfigMap: {}", problems.join(","))
            }
            _ => format!("{key} is not valid key name for a Secret {}", problems.join(";")),
        });
    }
    if found.contains_key(&key) {
        return text(match what {
            "ConfigMap" => format!(
                "cannot add key {}, another key by that name already exists in Data for ConfigMap {}",
                quote(&key),
                quote(name)
            ),
            _ => format!("cannot add key {key}, another key by that name already exists"),
        });
    }
    found.insert(key, bytes);
    Ok(())
}

pub(crate) async fn config_map(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let (mut data, mut binary) = (Map::new(), Map::new());
    for (key, bytes) in collect(ctx, &name, "ConfigMap")? {
        match String::from_utf8(bytes) {
            Ok(text) => data.insert(key, text.into()),
            Err(not_text) => binary.insert(key, base64(not_text.as_bytes()).into()),
        };
    }
    let mut object = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata(&name, enforced(ctx)?.as_deref(), &[])});
    if !data.is_empty() {
        api::value::put(&mut object, "data", data);
    }
    if !binary.is_empty() {
        api::value::put(&mut object, "binaryData", binary);
    }
    append_hash(ctx, &mut object);
    submit(ctx, &within(ctx, "api/v1", "configmaps")?, object, "configmap: ").await
}

/// `--append-hash`: the name gets a hash of the content, so that another content is another object.
/// Without data that is the hash of an empty map, as kubectl makes one for every object.
fn append_hash(ctx: &Ctx, object: &mut Value) {
    if !ctx.flags.is("append-hash") {
        return;
    }
    use api::value::{at, put, text};
    let data = match at(object, "data") {
        Value::Null => json!({}),
        data => data.clone(),
    };
    let mut content =
        json!({"kind": text(object, "kind"), "name": text(object, "metadata.name"), "data": data});
    if text(object, "kind") == "Secret" {
        content["type"] = text(object, "type").into();
    } else if at(object, "binaryData").is_object() {
        content["binaryData"] = at(object, "binaryData").clone();
    }
    let name = format!("{}-{}", text(object, "metadata.name"), crate::kustomize::hash(&content));
    put(object, "metadata.name", name);
}

fn secret(ctx: &Ctx, name: &str, data: BTreeMap<String, Vec<u8>>, kind: &str) -> Result<Value, Fail> {
    let mut object = json!({"kind": "Secret", "apiVersion": "v1", "metadata": metadata(name, enforced(ctx)?.as_deref(), &[])});
    let data: Map<String, Value> = data.into_iter().map(|(k, v)| (k, base64(&v).into())).collect();
    if !data.is_empty() {
        api::value::put(&mut object, "data", data);
    }
    if !kind.is_empty() {
        api::value::put(&mut object, "type", kind);
    }
    append_hash(ctx, &mut object);
    Ok(object)
}

pub(crate) async fn secret_generic(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let object = secret(ctx, &name, collect(ctx, &name, "Secret")?, ctx.flags.text("type"))?;
    submit(ctx, &within(ctx, "api/v1", "secrets")?, object, "secret ").await
}

pub(crate) async fn secret_tls(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    if ctx.flags.text("cert").is_empty() || ctx.flags.text("key").is_empty() {
        return text("key and cert must be specified");
    }
    let mut data = BTreeMap::new();
    for (flag, key) in [("cert", "tls.crt"), ("key", "tls.key")] {
        let path = ctx.flags.text(flag);
        let bytes = std::fs::read(ctx.path(path))
            .map_err(|e| Fail::Text(format!("Cannot read file {path}, open {path}: {}", go_io(&e))))?;
        data.insert(key.to_string(), bytes);
    }
    pki::check_pair(&data["tls.crt"], &data["tls.key"]).map_err(Fail::Text)?;
    let object = secret(ctx, &name, data, "kubernetes.io/tls")?;
    submit(ctx, &within(ctx, "api/v1", "secrets")?, object, "secret ").await
}

pub(crate) async fn secret_docker(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let flag = |name: &str| ctx.flags.text(name).to_string();
    // A Secret of a docker-registry has one key, whatever the name of the file.
    let keyed = |file: String| match file.contains('=') {
        true => file,
        false => format!(".dockerconfigjson={file}"),
    };
    let files: Vec<String> = ctx.flags.list("from-file").into_iter().map(keyed).collect();
    let is_generated = files.is_empty();
    let mut data = from_files(ctx, files, (name.as_str(), "Secret"))?;
    if is_generated {
        let (server, user, password, email) =
            (flag("docker-server"), flag("docker-username"), flag("docker-password"), flag("docker-email"));
        if user.is_empty() || password.is_empty() || server.is_empty() {
            return text(
                "either --from-file or the combination of --docker-username, --docker-password and --docker-server is required",
            );
        }
        let mut entry = Map::new();
        entry.insert("username".into(), user.clone().into());
        entry.insert("password".into(), password.clone().into());
        if !email.is_empty() {
            entry.insert("email".into(), email.into());
        }
        entry.insert("auth".into(), base64(format!("{user}:{password}").as_bytes()).into());
        let auths: Map<String, Value> = [(server, Value::Object(entry))].into_iter().collect();
        let text = crate::print::json::compact_ordered(&json!({"auths": auths}));
        data.insert(".dockerconfigjson".into(), text.into_bytes());
    }
    let object = secret(ctx, &name, data, "kubernetes.io/dockerconfigjson")?;
    submit(ctx, &within(ctx, "api/v1", "secrets")?, object, "secret ").await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;

    #[tokio::test]
    async fn quotes_are_a_part_of_a_literal() {
        let server = Server::start().await;
        let literals = ["--from-literal=a=say \"hi\"", "--from-literal=b='x'"];
        let create = ["create", "configmap", "c", "--dry-run=client", "-o", "json"];
        let result = server.kubectl(&[&create[..], &literals[..]].concat()).await;
        let made: Value = serde_json::from_str(&result.out).unwrap();
        assert_eq!(made["data"], json!({"a": "say \"hi\"", "b": "'x'"}));
    }

    /// The names are those of kubectl.
    #[tokio::test]
    async fn an_object_without_data_has_the_hash_of_an_empty_map() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("f2.bin");
        std::fs::write(&file, b"\xff\xfe").unwrap();
        let from = format!("--from-file={}", file.display());
        for (words, name) in [
            (&["configmap", "c"][..], "configmap/c-94b26g54cg\n"),
            (&["configmap", "c", from.as_str()], "configmap/c-tt7khh2g5c\n"),
            (&["secret", "generic", "c"], "secret/c-g89b49tb77\n"),
        ] {
            let flags = ["--append-hash", "--dry-run=client", "-o", "name"];
            let result = server.kubectl(&[&["create"], words, &flags[..]].concat()).await;
            assert_eq!((result.code, result.out.as_str()), (0, name), "{result:?}");
        }
    }

    #[tokio::test]
    async fn a_docker_secret_has_its_own_key_for_any_file() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("config.json");
        std::fs::write(&file, "{}").unwrap();
        let create = ["create", "secret", "docker-registry", "s", "--dry-run=client", "-o", "json"];
        let keys = |key: &str| format!("--from-file={key}{}", file.display());
        for (from, want) in
            [(keys(""), json!({".dockerconfigjson": "e30="})), (keys("k="), json!({"k": "e30="}))]
        {
            let result = server.kubectl(&[&create[..], &[from.as_str()]].concat()).await;
            let made: Value = serde_json::from_str(&result.out).unwrap();
            assert_eq!(made["data"], want, "{result:?}");
        }
    }

    #[tokio::test]
    async fn keys_are_checked_before_the_server_is_asked() {
        let server = Server::away().await;
        for (what, key, why) in [
            ("configmap", "..", "\"..\" is not a valid key name for a ConfigMap: must not be '..'\n"),
            ("configmap", "..a", "for a ConfigMap: must not start with '..'\n"),
            ("configmap", "a b", "for a ConfigMap: a valid config key must consist of alphanumeric"),
        ] {
            let literal = format!("--from-literal={key}=x");
            let result = server.kubectl(&["create", what, "c", "--dry-run=client", &literal]).await;
            assert!(result.code == 1 && result.err.contains(why), "{result:?}");
        }
        let folder = format!("--from-env-file={}", std::env::temp_dir().display());
        let result = server.kubectl(&["create", "configmap", "c", "--dry-run=client", &folder]).await;
        assert_eq!(result.err, "error: env config file cannot be a directory\n");
    }

    #[tokio::test]
    async fn links_in_a_folder_are_left_out() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let folder = dir.path().join("d");
        std::fs::create_dir_all(folder.join("sub")).unwrap();
        std::fs::write(dir.path().join("id_rsa"), "secret").unwrap();
        std::fs::write(folder.join("a"), "1").unwrap();
        std::os::unix::fs::symlink("../id_rsa", folder.join("key")).unwrap();
        let from = format!("--from-file={}", folder.display());
        for what in [&["configmap"][..], &["secret", "generic"]] {
            let words = [&["create"], what, &["c", "--dry-run=client", "-o", "json", &from]].concat();
            let result = server.kubectl(&words).await;
            let made: Value = serde_json::from_str(&result.out).unwrap();
            let keys: Vec<&String> = made["data"].as_object().unwrap().keys().collect();
            assert_eq!(keys, ["a"], "{result:?}");
        }
        // A link that is named itself is followed, as with kubectl.
        let from = format!("--from-file={}", folder.join("key").display());
        let result =
            server.kubectl(&["create", "configmap", "c", "--dry-run=client", "-o", "json", &from]).await;
        assert!(result.out.contains("secret"), "{result:?}");
    }

    #[tokio::test]
    async fn an_env_file_is_text_and_has_names_of_variables() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("e");
        let from = format!("--from-env-file={}", file.display());
        let create = ["create", "configmap", "c", "--dry-run=client", "-o", "json", from.as_str()];
        std::fs::write(&file, b"\xef\xbb\xbfA=1\r\n  # c\n\n  b.c=2=3\nHOMELESS").unwrap();
        let result = server.kubectl(&create).await;
        let made: Value = serde_json::from_str(&result.out).unwrap();
        assert_eq!(made["data"], json!({"A": "1", "b.c": "2=3", "HOMELESS": ""}));
        let invalid = "invalid utf8 bytes at line 2: [66 61 255]\n";
        for (content, why) in [
            (b"A=1\nB=\xff\r\n" as &[u8], invalid),
            (b"1A=x", "\"1A\" is not a valid key name: a valid environment variable name must"),
            (b"=x", "\"\" is not a valid key name: a valid environment variable name must"),
            (b"A=1\n\xef\xbb\xbfB=1", "\"\\ufeffB\" is not a valid key name: a valid"),
            (b"..a=x", "error: \"..a\" is not a valid key name: must not start with '..'\n"),
        ] {
            std::fs::write(&file, content).unwrap();
            let result = server.kubectl(&create).await;
            assert!(result.code == 1 && result.out.is_empty() && result.err.contains(why), "{result:?}");
        }
    }

    #[tokio::test]
    async fn a_tls_secret_needs_a_certificate() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("x.pem");
        std::fs::write(&file, "no certificate").unwrap();
        let (cert, key) = (format!("--cert={}", file.display()), format!("--key={}", file.display()));
        let result = server.kubectl(&["create", "secret", "tls", "t", &cert, &key]).await;
        let want = "error: tls: failed to find any PEM data in certificate input\n";
        assert_eq!((result.code, result.err.as_str()), (1, want), "{result:?}");
        assert!(server.requests().is_empty(), "nothing was created");
    }
}
