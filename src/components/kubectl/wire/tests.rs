//! kubectl's flags and words over what the client room does.

use super::overrides;
use crate::error::Fail;
use crate::testing::{Server, at, config_map, refusal};
use crate::{Env, parse};
use client::kubeconfig::{Kubeconfig, Target};
use client::remote::Dial;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// The API version of the protocol of credential plugins.
const VERSION: &str = "client.authentication.k8s.io/v1";

const CONFIG: &str = r#"
current-context: x
contexts:
- {name: x, context: {cluster: c, user: t}}
clusters:
- {name: c, cluster: {server: 'https://127.0.0.1:1', insecure-skip-tls-verify: true, tls-server-name: own}}
- {name: both, cluster: {server: 'https://127.0.0.1:1', insecure-skip-tls-verify: true, certificate-authority-data: Zm9v}}
- {name: ca, cluster: {server: 'https://127.0.0.1:1', certificate-authority-data: Zm9v}}
- {name: twice, cluster: {server: 'https://127.0.0.1:1', certificate-authority: ca.pem, certificate-authority-data: Zm9v}}
users:
- {name: t, user: {token: tok}}
- {name: half, user: {client-certificate-data: Zm9v}}
- {name: key, user: {client-key-data: Zm9v}}
- {name: data, user: {client-certificate-data: Zm9v, client-key-data: Zm9v}}
- {name: gone, user: {client-certificate: /nonexistent/a, client-key: /nonexistent/b}}
- {name: file, user: {tokenFile: /nonexistent/a}}
"#;

fn target(dir: &Path, words: &str) -> Result<Target, String> {
    std::fs::write(dir.join("config"), CONFIG).unwrap();
    for file in ["ca.pem", "cert", "key"] {
        std::fs::write(dir.join(file), file).unwrap();
    }
    let env = Env { kubeconfig: Some(dir.join("config")), cwd: dir.into(), ..Env::default() };
    let line: Vec<String> = format!("get po {words}").split_whitespace().map(String::from).collect();
    let flags = parse::parse(&line).unwrap().flags;
    let files = Kubeconfig::load(&env, flags.global("kubeconfig")).unwrap();
    files.target(&env, &overrides(&flags)).map_err(|error| Fail::from(error).report().0)
}

#[test]
fn flags_decide_what_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let of = |words: &str| target(dir.path(), words).unwrap();
    let file = of("");
    assert!(file.insecure && file.ca_pem.is_none());
    assert_eq!(file.server_name.as_deref(), Some("own"));
    let verified = of("--certificate-authority=ca.pem");
    assert_eq!((verified.insecure, verified.ca_pem.as_deref()), (false, Some(&b"ca.pem"[..])));
    let skipped = of("--cluster=ca --insecure-skip-tls-verify");
    assert_eq!((skipped.insecure, skipped.ca_pem), (true, None));
    assert_eq!(of("--server=https://other:1").server_name, None);
    let named = of("--server=https://other:1 --tls-server-name=n");
    assert_eq!(named.server_name.as_deref(), Some("n"));
    assert_eq!(of("--cluster=ca").ca_pem.as_deref(), Some(&b"foo"[..]));
}

#[test]
fn flags_decide_who_the_user_is() {
    let dir = tempfile::tempdir().unwrap();
    let of = |words: &str| target(dir.path(), words).unwrap();
    let pair = Some((b"cert".to_vec(), b"key".to_vec()));
    assert_eq!(of("--user=data --client-certificate=cert --client-key=key").certificate, pair);
    assert_eq!(of("--user=key --client-certificate=cert --client-key=key").certificate, pair);
    assert_eq!(of("--user=key").certificate, None, "a key alone says nothing");
    assert_eq!(of("--token=mine").authorization.as_deref(), Some("Bearer mine"));
    assert_eq!(of("--user=file --token=mine").authorization.as_deref(), Some("Bearer mine"));
    let basic = of("--user=key --username=a --password=b");
    assert_eq!(basic.authorization.as_deref(), Some("Basic YTpi"));
    // Nothing secret goes over a connection that everybody can read.
    let plain = of("--server=http://127.0.0.1:1 --token=mine --user=data");
    assert_eq!((plain.authorization, plain.certificate, plain.insecure), (None, None, false));
}

#[test]
fn what_cannot_be_meant_is_refused_in_kubectls_words() {
    let dir = tempfile::tempdir().unwrap();
    let error = |words: &str| target(dir.path(), words).unwrap_err();
    let key = "client-key-data or client-key must be specified for half to use the clientCert authentication method.";
    assert_eq!(error("--user=half"), format!("error: {key}\n"));
    assert_eq!(
        error("--username=x"),
        "error: more than one authentication method found for t; found [token basicAuth], only one is allowed\n"
    );
    let both = "error: specifying a root certificates file with the insecure flag is not allowed\n";
    assert_eq!(error("--cluster=both"), both);
    assert_eq!(error("--certificate-authority=ca.pem --insecure-skip-tls-verify"), both);
    assert_eq!(
        error("--user=gone"),
        "Error in configuration: \n* unable to read client-cert /nonexistent/a for gone due to open /nonexistent/a: no such file or directory\n* unable to read client-key /nonexistent/b for gone due to open /nonexistent/b: no such file or directory\n"
    );
    assert_eq!(
        error("--certificate-authority=no.pem"),
        "error: unable to read certificate-authority no.pem for c due to open no.pem: no such file or directory\n"
    );
    let named = "error: certificate-authority-data and certificate-authority are both specified for twice. certificate-authority-data will override.\n";
    assert_eq!(error("--cluster=twice"), named);
    assert_eq!(error("--user=file"), "error: open /nonexistent/a: no such file or directory\n");
    assert_eq!(
        error("--server=localhost:9/x"),
        "error: host must be a URL or a host:port pair: \"localhost:9/x\"\n"
    );
    let broken = target(dir.path(), "--user=data --insecure-skip-tls-verify").unwrap();
    let refused = Dial::new(Arc::new(broken), &[]).err().unwrap();
    let why = Fail::from(refused).report().0;
    assert_eq!(why, "error: tls: failed to find any PEM data in certificate input\n");
}

#[test]
fn a_cluster_behind_a_proxy_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    std::fs::write(&config, "current-context: x\ncontexts:\n- {name: x, context: {cluster: c}}\nclusters:\n- {name: c, cluster: {server: 'https://a:1', proxy-url: 'http://p:3128'}}\n").unwrap();
    let env = Env { kubeconfig: Some(config), ..Env::default() };
    let refused = Kubeconfig::load(&env, "").unwrap().target(&env, &Default::default()).unwrap_err();
    assert_eq!(
        Fail::from(refused).report().0,
        "error: cluster \"c\" is reached through the proxy http://p:3128 (proxy-url), which ropewalk's built-in kubectl cannot do; remove it with `kubectl config unset clusters.c.proxy-url`, or use another kubectl\n"
    );
}

#[tokio::test]
async fn a_plugin_is_asked_once_more_after_a_401() {
    let dir = tempfile::tempdir().unwrap();
    // The plugin gives a token with the next number at each run.
    let script = format!(
        r#"echo x >> count; printf '{{"kind":"ExecCredential","apiVersion":"{}","status":{{"token":"t%s"}}}}' $(grep -c x count)"#,
        VERSION
    );
    let exec =
        json!({"apiVersion": VERSION, "command": "sh", "args": ["-c", script], "interactiveMode": "Never"});
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": true}}],
        "users": [{"name": "u", "user": {"exec": exec}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
    let file = dir.path().join("config");
    std::fs::write(&file, config.to_string()).unwrap();
    let env = || Env { cwd: dir.path().into(), kubeconfig: Some(file.clone()), ..Env::of_process() };
    let server = Server::start_tls(|request| {
        (request.user != "Bearer t2").then(|| refusal(401, "Unauthorized", "Unauthorized"))
    })
    .await;
    server.hold(&at("a"), config_map("a", json!({})));
    let refused = server.kubectl_in(&["get", "--raw", &at("a")], "", env()).await;
    assert!(refused.code == 1 && refused.err.contains("Unauthorized"), "{refused:?}");
    assert_eq!(server.requests().len(), 1, "what was refused is not sent again");
    let count = || std::fs::read_to_string(dir.path().join("count")).unwrap().lines().count();
    assert_eq!(count(), 2);
    for _ in 0..2 {
        let accepted = server.kubectl_in(&["get", "--raw", &at("a")], "", env()).await;
        assert_eq!(accepted.code, 0, "{accepted:?}");
    }
    assert_eq!(count(), 2, "a token that the server accepts is kept");
}
