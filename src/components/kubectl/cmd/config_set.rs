//! config set-cluster and set-credentials: entries of a kubeconfig from flags.

use super::kubeconfig::single_argument;
use super::kubeconfig_file::{entry, home_of, rewrite};
use crate::ctx::Ctx;
use crate::error::{Fail, go_io, text};
use crate::go_path;
use api::gostr::quote;
use api::value;
use base64::Engine as _;
use client::kubeconfig::Kubeconfig;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Copies the flags that were given into an entry of the kubeconfig, each under its own name; an
/// empty one removes its key.
fn fill(ctx: &Ctx, entry: &mut Map<String, Value>, keys: &[&str]) {
    for key in keys.iter().filter(|key| ctx.flags.changed(key)) {
        match ctx.flags.text(key) {
            "" => drop(entry.shift_remove(*key)),
            given => drop(entry.insert(key.to_string(), given.into())),
        }
    }
}

/// Names files in an entry of the kubeconfig at `config`, or embeds them.
fn fill_files(ctx: &Ctx, config: &Path, entry: &mut Map<String, Value>, keys: &[&str]) -> Result<(), Fail> {
    for key in keys.iter().filter(|key| ctx.flags.changed(key)) {
        let given = ctx.flags.text(key);
        let path = ctx.path(given);
        if ctx.flags.is("embed-certs") {
            let bytes = std::fs::read(&path).map_err(|e| {
                Fail::Text(format!("could not stat {key} file {given}: stat {given}: {}", go_io(&e)))
            })?;
            let data = base64::engine::general_purpose::STANDARD.encode(bytes);
            entry.shift_remove(*key);
            entry.insert(format!("{key}-data"), data.into());
        } else {
            entry.shift_remove(&format!("{key}-data"));
            entry.insert(key.to_string(), path_from(config, &path).into());
        }
    }
    Ok(())
}

/// The path of a file as a kubeconfig names it: what lies below the kubeconfig's folder is named
/// from there, so that both can be moved together. Source: client-go's
/// `RelativizePathWithNoBacksteps`.
fn path_from(config: &Path, path: &Path) -> String {
    let clean = |path: &Path| PathBuf::from(go_path::clean(&path.display().to_string()));
    let path = clean(path);
    let below = config.parent().and_then(|folder| path.strip_prefix(clean(folder)).ok());
    let named = below.filter(|below| !below.as_os_str().is_empty()).unwrap_or(&path);
    named.display().to_string()
}

/// Sets the fields of a cluster from flags. A certificate authority and the insecure mode exclude
/// each other, and a new server drops the name by which the last one was verified.
///
/// # Errors
/// Both are given, or a file cannot be read or written.
pub(crate) async fn cluster(ctx: &Ctx) -> Result<(), Fail> {
    const AUTHORITY: &str = "certificate-authority";
    const INSECURE: &str = "insecure-skip-tls-verify";
    let name = single_argument(ctx)?;
    if name.is_empty() {
        return text("you must specify a non-empty cluster name");
    }
    let authority = !ctx.flags.text(AUTHORITY).is_empty();
    if ctx.flags.is(INSECURE) && authority {
        return text("you cannot specify a certificate authority and insecure mode at the same time");
    }
    if ctx.flags.is("embed-certs") && !authority {
        return text("you must specify a --certificate-authority to embed");
    }
    let files = ctx.kubeconfig_or_new()?;
    let path = home_of(&files, Kubeconfig::find(&files.clusters, &name).map(|e| e.file.as_path()));
    rewrite(&path, |config| {
        let cluster = entry(config, "clusters", "cluster", &name);
        if ctx.flags.changed("server") {
            cluster.shift_remove("tls-server-name");
        }
        fill(ctx, cluster, &["server", "tls-server-name", "proxy-url"]);
        // As in kubectl `insecure-skip-tls-verify` is removed where the flag is not given: a server
        // is trusted blindly only as long as each change of its entry says so.
        cluster.shift_remove(INSECURE);
        if ctx.flags.is(INSECURE) {
            cluster.insert(INSECURE.into(), true.into());
            cluster.shift_remove(AUTHORITY);
            cluster.shift_remove("certificate-authority-data");
        }
        fill_files(ctx, &path, cluster, &[AUTHORITY])
    })?;
    ctx.line(format!("Cluster {} set.", quote(&name)));
    Ok(())
}

/// Variables for a credential plugin, `KEY=VALUE`, and names of those to remove, `KEY-`.
fn variables(words: &[String]) -> Result<Vec<(String, Option<String>)>, Fail> {
    let pairs = words.iter().map(|word| match (word.split_once('='), word.strip_suffix('-')) {
        (Some((key, given)), _) if !key.is_empty() => Ok((key.to_string(), Some(given.to_string()))),
        (None, Some(key)) if !key.is_empty() => Ok((key.to_string(), None)),
        _ => text(format!("invalid exec-env format: {word}")),
    });
    pairs.collect()
}

/// Sets the fields of a user's credential plugin from flags. Another command has other arguments;
/// the flags beside `--exec-command` change a plugin that is there, and make none.
fn fill_plugin(ctx: &Ctx, user: &mut Map<String, Value>, variables: &[(String, Option<String>)]) {
    if ctx.flags.changed("exec-command") {
        let none = json!({"args": null, "env": null, "provideClusterInfo": false});
        let plugin = user.entry("exec").or_insert(none);
        value::put(plugin, "command", ctx.flags.text("exec-command"));
        value::put(plugin, "args", Value::Null);
    }
    let Some(plugin) = user.get_mut("exec").filter(|plugin| plugin.is_object()) else { return };
    for (flag, key) in [("exec-api-version", "apiVersion"), ("exec-interactive-mode", "interactiveMode")] {
        if ctx.flags.changed(flag) {
            value::put(plugin, key, ctx.flags.text(flag));
        }
    }
    if ctx.flags.changed("exec-provide-cluster-info") {
        value::put(plugin, "provideClusterInfo", ctx.flags.is("exec-provide-cluster-info"));
    }
    let args = ctx.flags.list("exec-arg");
    if !args.is_empty() {
        value::put(plugin, "args", json!(args));
    }
    if variables.is_empty() {
        return;
    }
    let mut env = value::list(plugin, "env").to_vec();
    for (key, given) in variables {
        let there = env.iter().position(|v| value::text(v, "name") == key);
        match (there, given) {
            (Some(at), Some(given)) => value::put(&mut env[at], "value", given.as_str()),
            (None, Some(given)) => env.push(json!({"name": key, "value": given})),
            (Some(at), None) => drop(env.remove(at)),
            (None, None) => {}
        }
    }
    value::put(plugin, "env", env);
}

/// Sets the fields of a user from flags. A token and a password exclude each other.
///
/// # Errors
/// Both are given, or a file cannot be read or written.
pub(crate) async fn credentials(ctx: &Ctx) -> Result<(), Fail> {
    let name = single_argument(ctx)?;
    if name.is_empty() {
        return text("you must specify a non-empty user name");
    }
    let given = |key: &str| !ctx.flags.text(key).is_empty();
    let (token, basic) = (given("token"), given("username") || given("password"));
    if token && basic {
        return text(
            "you cannot specify more than one authentication method at the same time: --token, --username/--password",
        );
    }
    if ctx.flags.is("embed-certs") && !given("client-certificate") && !given("client-key") {
        return text("you must specify a --client-certificate or --client-key to embed");
    }
    if ctx.flags.changed("auth-provider") {
        return text("--auth-provider is not implemented");
    }
    let mode = ctx.flags.text("exec-interactive-mode");
    if !matches!(mode, "" | "IfAvailable" | "Never" | "Always") {
        return text("invalid interactive mode type, can be only IfAvailable, Never, Always");
    }
    let variables = variables(&ctx.flags.list("exec-env"))?;
    let files = ctx.kubeconfig_or_new()?;
    let path = home_of(&files, Kubeconfig::find(&files.users, &name).map(|e| e.file.as_path()));
    rewrite(&path, |config| {
        let user = entry(config, "users", "user", &name);
        fill(ctx, user, &["token", "username", "password"]);
        let others: &[&str] = match (token, basic) {
            (true, _) => &["username", "password"],
            (_, true) => &["token"],
            _ => &[],
        };
        for other in others {
            user.shift_remove(*other);
        }
        fill_plugin(ctx, user, &variables);
        fill_files(ctx, &path, user, &["client-certificate", "client-key"])
    })?;
    ctx.line(format!("User {} set.", quote(&name)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::Env;
    use crate::testing::Server;
    use serde_json::json;
    use std::path::Path;

    #[tokio::test]
    async fn a_credential_plugin_is_set_and_changed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        let server = Server::away().await;
        let env = || Env { kubeconfig: Some(file.clone()), cwd: dir.path().into(), ..Env::default() };
        let set = async |flags: &str| {
            let words: Vec<&str> =
                ["config", "set-credentials", "u"].into_iter().chain(flags.split(' ')).collect();
            let result = server.kubectl_in(&words, "", env()).await;
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let config = crate::manifest::parse_yaml(text.as_bytes()).unwrap_or_default();
            (result, config["users"][0]["user"]["exec"].clone())
        };
        let (_, none) = set("--exec-api-version=v").await;
        assert!(none.is_null(), "without a command there is no plugin");
        let (result, plugin) = set(
            "--exec-command=x --exec-api-version=client.authentication.k8s.io/v1 --exec-arg=a,b --exec-env=A=1,2 --exec-interactive-mode=Never --exec-provide-cluster-info",
        )
        .await;
        let want = json!({"apiVersion": "client.authentication.k8s.io/v1", "args": ["a", "b"], "command": "x",
            "env": [{"name": "A", "value": "1,2"}], "interactiveMode": "Never", "provideClusterInfo": true});
        assert_eq!(plugin, want, "{result:?}");
        let (_, plugin) = set("--exec-command=y --exec-env=A- --exec-env=B=3").await;
        assert_eq!((&plugin["args"], &plugin["command"]), (&json!(null), &json!("y")));
        assert_eq!(plugin["env"], json!([{"name": "B", "value": "3"}]));
        for (flags, why) in [
            ("--exec-interactive-mode=Maybe", "invalid interactive mode type"),
            ("--exec-env=A", "invalid exec-env format: A"),
        ] {
            let (result, _) = set(flags).await;
            assert!(result.code == 1 && result.err.contains(why), "{result:?}");
        }
    }

    #[test]
    fn a_file_below_the_kubeconfig_is_named_from_there() {
        for (path, named) in [
            ("/home/me/.kube/ca.crt", "ca.crt"),
            ("/home/me/.kube/x/../pki/ca.crt", "pki/ca.crt"),
            ("/home/me/ca.crt", "/home/me/ca.crt"),
            ("/home/me/.kube/../ca.crt", "/home/me/ca.crt"),
            ("/home/me/.kube2/ca.crt", "/home/me/.kube2/ca.crt"),
        ] {
            assert_eq!(super::path_from(Path::new("/home/me/.kube/config"), Path::new(path)), named);
        }
    }

    #[tokio::test]
    async fn a_file_that_is_named_need_not_be_there() {
        let (server, dir) = (Server::away().await, tempfile::tempdir().unwrap());
        let flag = format!("--kubeconfig={}", dir.path().join("none").display());
        for (line, code, out, err) in [
            ("get-contexts", 0, "CURRENT   NAME   CLUSTER   AUTHINFO   NAMESPACE\n", ""),
            ("get-users", 0, "NAME\n", ""),
            ("current-context", 1, "", "error: current-context is not set\n"),
            ("use-context x", 1, "", "error: no context exists with the name: \"x\"\n"),
        ] {
            let words: Vec<&str> = ["config"].into_iter().chain(line.split(' ')).chain([&*flag]).collect();
            let result = server.kubectl(&words).await;
            assert_eq!((result.code, result.out.as_str(), result.err.as_str()), (code, out, err), "{line}");
        }
        let result = server.kubectl(&["config", "view", &flag]).await;
        assert!(result.code == 0 && result.out.starts_with("apiVersion: v1\nclusters: null\n"), "{result:?}");
        let result = server.kubectl(&["config", "view", "--merge=false", &flag]).await;
        assert!(result.code == 1 && result.err.ends_with("no such file or directory\n"), "{result:?}");
    }

    #[tokio::test]
    async fn what_excludes_each_other_does_not_stay_in_an_entry() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        std::fs::write(dir.path().join("ca"), "x").unwrap();
        let server = Server::away().await;
        let env = || Env { kubeconfig: Some(file.clone()), cwd: dir.path().into(), ..Env::default() };
        for (line, want, gone) in [
            (
                "set-cluster c --certificate-authority=ca --tls-server-name=n",
                "tls-server-name: \"n\"",
                "insecure",
            ),
            ("set-cluster c --insecure-skip-tls-verify", "insecure-skip-tls-verify: true", "authority"),
            ("set-cluster c --proxy-url=http://p", "proxy-url: http://p", "insecure"),
            ("set-cluster c --insecure-skip-tls-verify", "insecure-skip-tls-verify: true", "authority"),
            ("set-cluster c --certificate-authority=ca", "certificate-authority: ca", "insecure"),
            ("set-credentials u --token=t", "token: t", "username"),
            ("set-credentials u --username=a --password=b", "username: a", "token"),
            ("set-credentials u --token=t", "token: t", "password"),
        ] {
            let words: Vec<&str> = ["config"].into_iter().chain(line.split(' ')).collect();
            let result = server.kubectl_in(&words, "", env()).await;
            assert_eq!(result.code, 0, "{result:?}");
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.contains(want) && !text.contains(gone), "{line}: {text}");
        }
        for (line, why) in [
            ("set-cluster ", "you must specify a non-empty cluster name"),
            ("set-credentials ", "you must specify a non-empty user name"),
            ("set-context ", "you must specify a non-empty context name or --current"),
            ("set users.u.token ", "you cannot use set to unset a property"),
            ("set  x", "you must specify a property"),
            ("unset ", "you must specify a property"),
            ("set-cluster c --certificate-authority=ca --insecure-skip-tls-verify", "insecure mode"),
            ("set-credentials u --token=t --username=a", "more than one authentication method"),
            (
                "set-credentials u --embed-certs",
                "you must specify a --client-certificate or --client-key to embed",
            ),
        ] {
            let words: Vec<&str> = ["config"].into_iter().chain(line.split(' ')).collect();
            let result = server.kubectl_in(&words, "", env()).await;
            assert!(result.code == 1 && result.err.contains(why), "{result:?}");
        }
    }
}
