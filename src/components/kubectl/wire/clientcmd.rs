//! The server and the user that flags, kubeconfig files and environment name.
//!
//! Source: client-go, `tools/clientcmd`.

use super::config::{Entry, Kubeconfig};
use super::credential::Plugin;
use super::target::Target;
use super::{entries, in_pod};
use crate::Env;
use crate::error::{Fail, text};
use crate::flag::Flags;
use api::value;
use serde_json::json;
use std::path::{Path, PathBuf};

/// The server and the user that flags, files and environment name; in a pod without a
/// kubeconfig the pod's own cluster. Certificates and keys are read, nothing is connected.
///
/// # Errors
/// [`Fail::Plain`] or [`Fail::Text`] in kubectl's words: there is no such context, cluster or
/// user, their entries are incomplete or contradict each other, one of their files cannot be
/// read, the address is no URL, or the cluster is behind a proxy, which this kubectl cannot
/// use. The user has to correct the kubeconfig or the flags.
pub fn target(env: &Env, flags: &Flags, files: &Kubeconfig) -> Result<Target, Fail> {
    let empty = Entry { name: String::new(), value: json!({}), file: PathBuf::new() };
    let context_name = match flags.global("context") {
        "" => files.current.as_str(),
        named => named,
    };
    let context = match Kubeconfig::find(&files.contexts, context_name) {
        Some(context) => context.clone(),
        None if context_name.is_empty() => empty.clone(),
        None => {
            return Err(Fail::Plain(format!(
                "Error in configuration: context was not found for specified context: {context_name}"
            )));
        }
    };
    let pick = |list: &[Entry], flag: &str, key: &str, what: &str| -> Result<Entry, Fail> {
        let name = match flags.global(flag) {
            "" => value::text(&context.value, key),
            named => named,
        };
        match Kubeconfig::find(list, name) {
            Some(entry) => Ok(entry.clone()),
            None if !flags.global(flag).is_empty() && what == "cluster" => {
                text(format!("no server found for cluster {}", api::gostr::quote(name)))
            }
            None if !flags.global(flag).is_empty() => Err(missing(what, name)),
            None => Ok(empty.clone()),
        }
    };
    let cluster = entries::cluster(&pick(&files.clusters, "cluster", "cluster", "cluster")?, flags);
    let user = entries::user(&pick(&files.users, "user", "user", "auth info")?, flags);
    let server = value::text(&cluster.value, "server");
    let proxy = value::text(&cluster.value, "proxy-url");
    if !proxy.is_empty() {
        return text(format!(
            "cluster {} is reached through the proxy {proxy} (proxy-url), which ropewalk's built-in kubectl cannot do; remove it with `kubectl config unset clusters.{}.proxy-url`, or use another kubectl",
            api::gostr::quote(&cluster.name),
            cluster.name
        ));
    }
    entries::check(env, &user, &cluster)?;
    if server.is_empty()
        && value::empty(&user.value, "as")
        && let Some(target) = in_pod::target(env, flags, &context.value, Path::new(in_pod::SERVICE_ACCOUNT))?
    {
        return Ok(target);
    }
    let default = env.vars.get("KUBERNETES_MASTER").filter(|server| !server.is_empty());
    let default = default.map_or("http://localhost:8080", String::as_str);
    let mut target = Target::at(if server.is_empty() { default } else { server })?;
    target.namespace = match value::text(&context.value, "namespace") {
        "" => "default".into(),
        named => named.into(),
    };
    target.impersonate(flags, &user.value);
    let whom = |(name, _): &(String, String)| name == "Impersonate-User";
    if !target.impersonate.is_empty() && !target.impersonate.iter().any(whom) {
        return text(format!(
            "requesting uid, groups or user-extra for {} without impersonating a user",
            user.name
        ));
    }
    if target.scheme == "https" {
        secure(&mut target, env, &user, &cluster)?;
    }
    Ok(target)
}

/// How the server is verified and who the user is. As in client-go nothing of it counts over
/// plain HTTP, where everybody on the way could read it.
fn secure(target: &mut Target, env: &Env, user: &Entry, cluster: &Entry) -> Result<(), Fail> {
    target.insecure = value::flag(&cluster.value, "insecure-skip-tls-verify");
    target.ca_pem = entries::material(env, cluster, "certificate-authority")?;
    if target.insecure && target.ca_pem.is_some() {
        return text("specifying a root certificates file with the insecure flag is not allowed");
    }
    let name = value::text(&cluster.value, "tls-server-name");
    target.server_name = Some(name.to_string()).filter(|name| !name.is_empty());
    let certificate = entries::material(env, user, "client-certificate")?;
    let key = entries::material(env, user, "client-key")?;
    target.certificate = certificate.zip(key);
    target.plugin = Plugin::of(user, cluster, target.ca_pem.as_deref())?;
    target.authorization = entries::authorization(env, user)?;
    Ok(())
}

fn missing(what: &str, name: &str) -> Fail {
    Fail::Text(format!("{what} {} does not exist", api::gostr::quote(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn flags(line: &str) -> Flags {
        parse::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>()).unwrap().flags
    }

    #[test]
    fn the_first_file_wins_and_flags_win_over_files() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "current-context: one\ncontexts:\n- {name: one, context: {cluster: c, namespace: n1}}\nclusters:\n- {name: c, cluster: {server: 'https://a:1/x/'}}\n").unwrap();
        std::fs::write(&b, "preferences: {colors: true}\ncurrent-context: two\ncontexts:\n- {name: two, context: {cluster: c, user: u}}\nclusters:\n- {name: c, cluster: {server: 'https://b:2'}}\nusers:\n- {name: u, user: {token: t}}\n").unwrap();
        let mut env = Env::default();
        env.vars.insert("KUBECONFIG".into(), format!("{}:{}:/nowhere", a.display(), b.display()));
        let of = |line: &str| target(&env, &flags(line), &Kubeconfig::load(&env, &flags(line)).unwrap());
        let one = of("get po").unwrap();
        assert_eq!((one.url().as_str(), one.namespace.as_str()), ("https://a:1/x", "n1"));
        let two = of("get po --context=two").unwrap();
        assert_eq!((two.authorization.as_deref(), two.namespace.as_str()), (Some("Bearer t"), "default"));
        assert!(of("get po --context=no").unwrap_err().message().ends_with("context: no"));
        assert_eq!(of("get po -s localhost:9").unwrap().url(), "http://localhost:9");
        let shown = Kubeconfig::load(&env, &flags("get po")).unwrap().to_value();
        assert_eq!(shown["preferences"], json!({"colors": true}));
    }

    #[test]
    fn a_cluster_behind_a_proxy_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        std::fs::write(&config, "current-context: x\ncontexts:\n- {name: x, context: {cluster: c}}\nclusters:\n- {name: c, cluster: {server: 'https://a:1', proxy-url: 'http://p:3128'}}\n").unwrap();
        let env = Env { kubeconfig: Some(config), ..Env::default() };
        let refused = target(&env, &flags("get po"), &Kubeconfig::load(&env, &flags("get po")).unwrap());
        let why = refused.unwrap_err().message();
        assert!(why.contains("\"c\"") && why.contains("http://p:3128"), "{why}");
    }

    #[test]
    fn an_entry_may_act_as_somebody_and_keep_its_token_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "secret\n").unwrap();
        let config = dir.path().join("config");
        std::fs::write(&config, "current-context: c\ncontexts:\n- {name: c, context: {cluster: c, user: u}}\nclusters:\n- {name: c, cluster: {server: 'https://a:1'}}\nusers:\n- {name: u, user: {tokenFile: token, as: jane, as-uid: \"7\", as-groups: [dev, ops], as-user-extra: {why: [test]}}}\n- {name: v, user: {as-groups: [dev]}}\n").unwrap();
        let env = Env { kubeconfig: Some(config), ..Env::default() };
        let of = |line: &str| target(&env, &flags(line), &Kubeconfig::load(&env, &flags(line)).unwrap());
        let target = of("get po").unwrap();
        assert_eq!(target.authorization.as_deref(), Some("Bearer secret"));
        let told: Vec<String> = target.impersonate.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            told,
            [
                "Impersonate-User=jane",
                "Impersonate-Uid=7",
                "Impersonate-Group=dev",
                "Impersonate-Group=ops",
                "Impersonate-Extra-why=test"
            ]
        );
        let nobody = of("get po --user=v").unwrap_err().message();
        assert_eq!(nobody, "requesting uid, groups or user-extra for v without impersonating a user");
    }
}
