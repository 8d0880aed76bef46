use super::{Env, Kubeconfig, Overrides};
use serde_json::json;

#[test]
fn the_first_file_wins_and_the_command_line_wins_over_files() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    std::fs::write(&a, "current-context: one\ncontexts:\n- {name: one, context: {cluster: c, namespace: n1}}\nclusters:\n- {name: c, cluster: {server: 'https://a:1/x/'}}\n").unwrap();
    std::fs::write(&b, "preferences: {colors: true}\ncurrent-context: two\ncontexts:\n- {name: two, context: {cluster: c, user: u}}\nclusters:\n- {name: c, cluster: {server: 'https://b:2'}}\nusers:\n- {name: u, user: {token: t}}\n").unwrap();
    let mut env = Env::default();
    env.vars.insert("KUBECONFIG".into(), format!("{}:{}:/nowhere", a.display(), b.display()));
    let of = |given: &Overrides| Kubeconfig::load(&env, "").unwrap().target(&env, given);
    let one = of(&Overrides::default()).unwrap();
    assert_eq!((one.url().as_str(), one.namespace.as_str()), ("https://a:1/x", "n1"));
    let two = of(&Overrides { context: "two".into(), ..Overrides::default() }).unwrap();
    assert_eq!((two.authorization.as_deref(), two.namespace.as_str()), (Some("Bearer t"), "default"));
    let unknown = of(&Overrides { context: "no".into(), ..Overrides::default() });
    assert!(unknown.unwrap_err().to_string().ends_with("context: no"));
    let other = of(&Overrides { server: "localhost:9".into(), ..Overrides::default() });
    assert_eq!(other.unwrap().url(), "http://localhost:9");
    let shown = Kubeconfig::load(&env, "").unwrap().to_value();
    assert_eq!(shown["preferences"], json!({"colors": true}));
}

#[test]
fn a_cluster_behind_a_proxy_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    std::fs::write(&config, "current-context: x\ncontexts:\n- {name: x, context: {cluster: c}}\nclusters:\n- {name: c, cluster: {server: 'https://a:1', proxy-url: 'http://p:3128'}}\n").unwrap();
    let env = Env { kubeconfig: Some(config), ..Env::default() };
    let refused = Kubeconfig::load(&env, "").unwrap().target(&env, &Overrides::default());
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("\"c\"") && why.contains("http://p:3128"), "{why}");
}

#[test]
fn an_entry_may_act_as_another_user_and_keep_its_token_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "secret\n").unwrap();
    let config = dir.path().join("config");
    std::fs::write(&config, "current-context: c\ncontexts:\n- {name: c, context: {cluster: c, user: u}}\nclusters:\n- {name: c, cluster: {server: 'https://a:1'}}\nusers:\n- {name: u, user: {tokenFile: token, as: jane, as-uid: \"7\", as-groups: [dev, ops], as-user-extra: {why: [test]}}}\n- {name: v, user: {as-groups: [dev]}}\n").unwrap();
    let env = Env { kubeconfig: Some(config), ..Env::default() };
    let of = |given: &Overrides| Kubeconfig::load(&env, "").unwrap().target(&env, given);
    let target = of(&Overrides::default()).unwrap();
    assert_eq!(target.authorization.as_deref(), Some("Bearer secret"));
    let headers: Vec<String> = target.impersonate.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        headers,
        [
            "Impersonate-User=jane",
            "Impersonate-Uid=7",
            "Impersonate-Group=dev",
            "Impersonate-Group=ops",
            "Impersonate-Extra-why=test"
        ]
    );
    let other = of(&Overrides { user: "v".into(), ..Overrides::default() }).unwrap_err().to_string();
    assert_eq!(other, "requesting uid, groups or user-extra for v without impersonating a user");
}
