use super::{Env, Kubeconfig, Overrides, Target};
use serde_json::json;

#[test]
fn the_first_file_wins_and_the_command_line_wins_over_files() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    std::fs::write(&a, "preferences: {}\ncurrent-context: one\ncontexts:\n- {name: one, context: {cluster: c, namespace: n1}}\nclusters:\n- {name: c, cluster: {server: 'https://a:1/x/'}}\n").unwrap();
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

/// As Go's `os.IsNotExist` tells the two apart.
#[test]
fn a_file_that_is_absent_differs_from_one_that_cannot_be_reached() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config"), "").unwrap();
    let env = Env { cwd: dir.path().into(), ..Env::default() };
    let why = |explicit: &str| Kubeconfig::load(&env, explicit).unwrap_err().to_string();
    assert_eq!(why("none"), "stat none: no such file or directory");
    let loading = "error loading config file \"config/x\": open config/x: not a directory";
    assert_eq!(why("config/x"), loading);
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
    std::fs::write(&config, "current-context: c\ncontexts:\n- {name: c, context: {cluster: c, user: u}}\nclusters:\n- {name: c, cluster: {server: 'https://a:1'}}\nusers:\n- {name: u, user: {tokenFile: token, as: jane, as-uid: \"7\", as-groups: [dev, ops], as-user-extra: {why: [test]}}}\n").unwrap();
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
}

/// What kubectl 1.32 says, in its order.
#[test]
fn groups_are_impersonated_with_a_user_only() {
    let refused = |user: &str, given: &Overrides| of_user(user, given).map(drop);
    let fault = "requesting uid, groups or user-extra for u without impersonating a user";
    let (none, groups) = (Overrides::default(), vec!["dev".to_string()]);
    let of_line = Overrides { impersonate_groups: groups, ..Overrides::default() };
    for (user, given) in [
        ("as-groups: [dev]", &none),
        ("as-user-extra: {why: []}", &none),
        ("token: t", &of_line),
        ("token: t", &Overrides { impersonate_uid: "7".into(), ..Overrides::default() }),
    ] {
        assert_eq!(refused(user, given).unwrap_err(), fault, "{user}");
    }
    let with_user = Overrides { impersonate: "jane".into(), ..of_line.clone() };
    assert_eq!([refused("as: jane", &of_line), refused("as-uid: '7'", &with_user)], [Ok(()), Ok(())]);
    let both = refused("as-groups: [dev], token: t, username: a", &none).unwrap_err();
    let expected = "Error in configuration: \n\
                * more than one authentication method found for u; found [token basicAuth], only one is allowed\n";
    assert_eq!(both, format!("{expected}* {fault}"));
}

/// The user of a context whose entry is missing keeps its name.
#[test]
fn a_fault_of_the_command_line_is_reported_under_the_name_that_the_context_has() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    std::fs::write(&config, "current-context: c\ncontexts:\n- {name: c, context: {cluster: c, user: gone}}\nclusters:\n- {name: c, cluster: {server: 'https://a:1'}}\n").unwrap();
    let env = Env { kubeconfig: Some(config), ..Env::default() };
    let given = Overrides { impersonate_uid: "7".into(), ..Overrides::default() };
    let why = Kubeconfig::load(&env, "").unwrap().target(&env, &given).unwrap_err().to_string();
    assert_eq!(why, "requesting uid, groups or user-extra for gone without impersonating a user");
}

/// Returns the target of a user `u` whose entry this is, in a folder with a file `token`.
fn of_user(user: &str, given: &Overrides) -> Result<Target, String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "of-file\n").unwrap();
    std::fs::write(dir.path().join("empty"), "\n").unwrap();
    let config = dir.path().join("config");
    let text = format!(
        "current-context: c\ncontexts:\n- {{name: c, context: {{cluster: c, user: u}}}}\nclusters:\n- {{name: c, cluster: {{server: 'https://a:1'}}}}\nusers:\n- {{name: u, user: {{{user}}}}}\n"
    );
    std::fs::write(&config, text).unwrap();
    let env = Env { kubeconfig: Some(config), ..Env::default() };
    Kubeconfig::load(&env, "").and_then(|files| files.target(&env, given)).map_err(|error| error.to_string())
}

/// The kubectl of a pod whose kubeconfig names another cluster.
#[test]
fn in_a_pod_the_namespace_that_no_context_names_is_the_pods_own() {
    let dir = tempfile::tempdir().unwrap();
    let account = dir.path().join("account");
    std::fs::create_dir(&account).unwrap();
    std::fs::write(account.join("namespace"), "own\n").unwrap();
    let config = dir.path().join("config");
    std::fs::write(&config, "current-context: a\ncontexts:\n- {name: a, context: {cluster: c}}\n- {name: b, context: {cluster: c, namespace: default}}\nclusters:\n- {name: c, cluster: {server: 'https://a:1'}}\n").unwrap();
    let mut env = Env::default();
    env.vars.insert("KUBECONFIG".into(), config.display().to_string());
    env.vars.insert("KUBERNETES_SERVICE_HOST".into(), "10.96.0.1".into());
    env.vars.insert("KUBERNETES_SERVICE_PORT".into(), "443".into());
    let of = |env: &Env, context: &str| {
        let given = Overrides { context: context.into(), ..Overrides::default() };
        let target = Kubeconfig::load(env, "").unwrap().target_with(env, &given, &account).unwrap();
        (target.url(), target.namespace)
    };
    let other = |namespace: &str| ("https://a:1".to_string(), namespace.to_string());
    assert_eq!(of(&env, "a"), other("default"), "the pod has no token");
    std::fs::write(account.join("token"), "t").unwrap();
    assert_eq!(of(&env, "a"), other("own"));
    assert_eq!(of(&env, "b"), other("default"), "the context names it");
    env.vars.insert("POD_NAMESPACE".into(), "pod".into());
    assert_eq!(of(&env, "a"), other("pod"));
    let own = Env { kubeconfig: Some(config), ..env.clone() };
    assert_eq!(of(&own, "a"), other("default"), "a cluster that runs in the pod");
    env.vars.remove("KUBERNETES_SERVICE_HOST");
    assert_eq!(of(&env, "a"), other("default"), "this is no pod");
}

/// Old kubeconfigs of cloud providers have it, and no mode: it needs none.
#[test]
fn a_plugin_of_a_version_that_was_removed_is_refused_by_its_version() {
    let exec = "exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: p}";
    let why = of_user(exec, &Overrides::default()).unwrap_err();
    assert_eq!(why, "exec plugin: invalid apiVersion \"client.authentication.k8s.io/v1alpha1\"");
    let why = of_user(&exec.replace("v1alpha1", "v1"), &Overrides::default()).unwrap_err();
    assert_eq!(why, "interactiveMode must be specified for u to use exec authentication plugin");
}

/// `kubectl config view` shows it.
#[test]
fn a_plugin_of_an_old_version_has_a_mode_by_default() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    let exec = |version: &str, rest: &str| {
        format!("{{apiVersion: client.authentication.k8s.io/{version}, command: p{rest}}}")
    };
    for (exec, mode) in [
        (exec("v1beta1", ""), json!("IfAvailable")),
        (exec("v1beta1", ", interactiveMode: Never"), json!("Never")),
        (exec("v1", ""), json!(null)),
        ("null".into(), json!(null)),
    ] {
        std::fs::write(&config, format!("users: [{{name: u, user: {{exec: {exec}}}}}]")).unwrap();
        let env = Env { kubeconfig: Some(config.clone()), ..Env::default() };
        let shown = Kubeconfig::load(&env, "").unwrap().to_value();
        assert_eq!(shown["users"][0]["user"]["exec"]["interactiveMode"], mode, "{exec}");
    }
}

/// `KUBECONFIG=~/.kube`
#[test]
fn a_directory_can_be_opened_and_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().display();
    let env = Env { kubeconfig: Some(dir.path().into()), ..Env::default() };
    let why = Kubeconfig::load(&env, "").unwrap_err().to_string();
    assert_eq!(why, format!("error loading config file \"{place}\": read {place}: is a directory"));
    let why = of_user(&format!("tokenFile: {place}"), &Overrides::default()).unwrap_err();
    assert_eq!(why, format!("read {place}: is a directory"));
}

/// A plugin may open a browser or ask for a password, in vain if the user is known already.
#[test]
fn a_plugin_is_asked_only_if_nothing_else_says_who_the_user_is() {
    let exec = "exec: {apiVersion: client.authentication.k8s.io/v1, command: p, interactiveMode: Never}";
    let asked = |rest: &str| {
        let target = of_user(&format!("{exec}{rest}"), &Overrides::default()).unwrap();
        target.plugin.is_some()
    };
    assert!(asked(""));
    assert!(asked(", client-key-data: Zm9v"), "a key alone says nothing");
    assert!(!asked(", client-certificate-data: Zm9v, client-key-data: Zm9v"));
    assert!(!asked(", token: t"));
    assert!(!asked(", username: ann, password: p"));
}

/// As client-go, where `--token` changes nothing for a user whose token is in a file.
#[test]
fn a_file_with_a_token_counts_before_the_command_line_and_that_before_the_entrys_token() {
    let sent = |user: &str, token: &str| {
        let given = Overrides { token: token.into(), ..Overrides::default() };
        of_user(user, &given).map(|target| target.authorization.unwrap_or_default())
    };
    assert_eq!(sent("token: t, tokenFile: token", "").unwrap(), "Bearer of-file");
    assert_eq!(sent("token: t, tokenFile: token", "given").unwrap(), "Bearer of-file");
    assert_eq!(sent("tokenFile: gone", "given").unwrap(), "Bearer given");
    assert_eq!(sent("tokenFile: empty", "given").unwrap(), "Bearer given");
    assert_eq!(sent("token: t", "given").unwrap(), "Bearer given");
    assert_eq!(sent("token: t, tokenFile: gone", "").unwrap(), "Bearer t");
    assert_eq!(sent("token: t, tokenFile: empty", "").unwrap(), "Bearer t");
    assert!(sent("tokenFile: gone", "").is_err());
    let why = sent("tokenFile: empty", "").unwrap_err();
    assert!(why.starts_with("read empty token from file \"/") && why.ends_with("/empty\""), "{why}");
    let why = sent("tokenFile: token, username: ann, password: p", "").unwrap_err();
    assert_eq!(why, "username/password or bearer token may be set, but not both");
}

#[test]
fn a_key_without_a_certificate_is_not_read() {
    let target = of_user("token: t, client-key: gone", &Overrides::default()).unwrap();
    assert_eq!(target.authorization.as_deref(), Some("Bearer t"));
    assert!(target.certificate.is_none());
    assert!(of_user("client-certificate: token, client-key: gone", &Overrides::default()).is_err());
}

#[test]
fn faults_of_a_certificate_and_its_key_come_in_client_gos_order() {
    let user = "client-certificate: /gone, client-key: /lost, client-key-data: Zm9v";
    let expected = "Error in configuration: \n\
                * client-key-data and client-key are both specified for u; client-key-data will override\n\
                * unable to read client-cert /gone for u due to open /gone: no such file or directory\n\
                * unable to read client-key /lost for u due to open /lost: no such file or directory";
    assert_eq!(of_user(user, &Overrides::default()).unwrap_err(), expected);
}

/// `~/.kube` may be a link into a folder of settings.
#[test]
fn a_path_starts_from_the_folder_by_which_the_kubeconfig_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("settings/kube")).unwrap();
    std::os::unix::fs::symlink("settings/kube", at(".kube")).unwrap();
    std::fs::write(at("ca.pem"), "ca").unwrap();
    std::fs::write(at(".kube/config"), "current-context: c\ncontexts:\n- {name: c, context: {cluster: c}}\nclusters:\n- {name: c, cluster: {server: 'https://a:1', certificate-authority: ./../ca.pem}}\nusers:\n- {name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: ../p, interactiveMode: Never}}}\n- {name: v, user: {client-certificate: ../gone, client-key: ../ca.pem}}\n").unwrap();
    let env = Env { kubeconfig: Some(at(".kube/config")), ..Env::default() };
    let of = |user: &str| {
        let given = Overrides { user: user.into(), ..Overrides::default() };
        Kubeconfig::load(&env, "").unwrap().target(&env, &given)
    };
    let target = of("u").unwrap();
    assert_eq!(target.ca_pem.as_deref(), Some(&b"ca"[..]));
    let plugin = format!("{:?}", target.plugin);
    assert!(plugin.contains(&format!("command: {:?}", at("p"))), "{plugin}");
    let why = of("v").unwrap_err().to_string();
    let gone = at("gone").display().to_string();
    let expected =
        format!("unable to read client-cert {gone} for v due to open {gone}: no such file or directory");
    assert_eq!(why, expected);
}

/// Otherwise the password would be looked up as a part of the host's name, and shown in the error.
#[test]
fn a_name_and_a_password_in_the_address_are_sent_as_such() {
    let of = |server: &str| {
        let given = Overrides { server: server.into(), ..Overrides::default() };
        let target = of_user("token: t, tokenFile: token", &given).unwrap();
        (target.url(), target.authorization.unwrap_or_default(), target.token_file.is_some())
    };
    let basic = "Basic YW5uOmE6Yg==".to_string(); // ann:a:b
    let plain = "https://10.0.0.1:6443".to_string();
    assert_eq!(of("https://ann:a%3Ab@10.0.0.1:6443/"), (plain.clone(), basic.clone(), false));
    assert_eq!(of("http://ann:a%3Ab@h:1"), ("http://h:1".into(), basic, false));
    assert_eq!(of("https://10.0.0.1:6443"), (plain, "Bearer of-file".into(), true));
}

#[test]
fn a_port_is_a_number() {
    let of = |server: &str| {
        let given = Overrides { server: server.into(), ..Overrides::default() };
        of_user("token: t", &given).map(|target| target.url())
    };
    for server in ["https://10.0.0.1:abc", "https://[fd00::1]:6a", "10.0.0.1:6443x"] {
        assert_eq!(of(server), Err(format!("host must be a URL or a host:port pair: \"{server}\"")));
    }
    for server in ["https://10.0.0.1:6443", "https://[fd00::1]", "https://[fd00::1]:6443", "https://a.test"] {
        assert_eq!(of(server).as_deref(), Ok(server));
    }
}

/// Go's message for a broken manifest begins otherwise.
#[test]
fn a_kubeconfig_that_is_no_yaml_is_refused_in_its_parsers_words() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    std::fs::write(&file, "a: [").unwrap();
    let env = Env { kubeconfig: Some(file.clone()), ..Env::default() };
    let why = Kubeconfig::load(&env, "").unwrap_err().to_string();
    let place = file.display();
    let expected = "yaml: line 1: did not find expected node content";
    assert_eq!(why, format!("error loading config file \"{place}\": {expected}"));
    let env = Env { cwd: dir.path().into(), ..Env::default() };
    let why = Kubeconfig::load(&env, "config").unwrap_err().to_string();
    assert_eq!(why, format!("error loading config file \"config\": {expected}"), "as it was named");
    let vars = [("KUBECONFIG".to_string(), "/nowhere:config".to_string())].into();
    let why = Kubeconfig::load(&Env { vars, ..env }, "").unwrap_err().to_string();
    assert_eq!(why, format!("error loading config file \"config\": {expected}"), "as it was listed");
}

#[test]
fn data_may_have_line_breaks_as_a_block_of_yaml_has_them() {
    let user = r#"client-certificate-data: "Zm\n9v\n", client-key-data: "Ym\r\nFy""#;
    let target = of_user(user, &Overrides::default()).unwrap();
    assert_eq!(target.certificate, Some((b"foo".to_vec(), b"bar".to_vec())));
    let user = "client-certificate-data: Zm-9v, client-key-data: Zm9v";
    let why = of_user(user, &Overrides::default()).unwrap_err();
    assert!(why.ends_with(": illegal base64 data at input byte 2"), "{why}");
    let user = "client-certificate-data: Zm9=, client-key-data: Zm9v"; // Go takes it, too
    let target = of_user(user, &Overrides::default()).unwrap();
    assert_eq!(target.certificate, Some((b"fo".to_vec(), b"foo".to_vec())));
}

#[test]
fn an_auth_provider_is_refused_by_name() {
    let refused = |user: &str| of_user(user, &Overrides::default()).unwrap_err();
    assert_eq!(refused("auth-provider: {name: oidc}"), "no Auth Provider found for name \"oidc\"");
    assert_eq!(refused("auth-provider: {}"), "no Auth Provider found for name \"\"");
    for (name, instead) in
        [("gcp", "\"gke-gcloud-auth-plugin\""), ("azure", "https://github.com/Azure/kubelogin")]
    {
        let why = refused(&format!("auth-provider: {{name: {name}}}"));
        let expected =
            format!("The {name} auth plugin has been removed.\nPlease use the {instead} kubectl/client-go");
        assert!(why.starts_with(&expected) && why.ends_with(" for further details"), "{why}");
    }
    let exec = "exec: {apiVersion: client.authentication.k8s.io/v1, command: p, interactiveMode: Never}";
    let both = refused(&format!("auth-provider: {{name: oidc}}, {exec}"));
    assert_eq!(both, "authProvider cannot be provided in combination with an exec plugin for u");
}

/// `kubectl config` would write over a file that it took for an empty kubeconfig.
#[test]
fn a_file_without_a_mapping_is_no_kubeconfig() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    let env = Env { kubeconfig: Some(config.clone()), ..Env::default() };
    for (text, found) in [("just a note", "string"), ("- a", "array"), ("5", "number"), ("true", "bool")] {
        std::fs::write(&config, text).unwrap();
        let why = Kubeconfig::load_or_new(&env, "").unwrap_err().to_string();
        assert!(why.contains(&format!("cannot unmarshal {found} into Go value")), "{why}");
    }
    for text in ["", "# nothing yet\n"] {
        std::fs::write(&config, text).unwrap();
        assert!(Kubeconfig::load_or_new(&env, "").unwrap().is_empty(), "{text:?}");
    }
}

/// `KUBECONFIG=pod.yaml`: `kubectl config` would add clusters and users to the manifest.
#[test]
fn a_manifest_is_no_kubeconfig() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let env = Env { kubeconfig: Some(file.clone()), ..Env::default() };
    let read = |text: &str| {
        std::fs::write(&file, text).unwrap();
        Kubeconfig::load_or_new(&env, "").map(drop).map_err(|error| error.to_string())
    };
    for (text, kind, version) in [
        ("apiVersion: v1\nkind: Pod\n", "Pod", "v1"),
        ("apiVersion: apps/v1\nkind: Deployment\n", "Deployment", "apps/v1"),
        ("kind: List\n", "List", "v1"),
        ("apiVersion: v2\n", "Config", "v2"),
    ] {
        let why = read(text).unwrap_err();
        let expected = format!("no kind \"{kind}\" is registered for version \"{version}\" in scheme ");
        assert!(why.starts_with("error loading config file \"") && why.contains(&expected), "{why}");
    }
    let why = read("kind: 5\n").unwrap_err();
    assert!(why.ends_with("cannot unmarshal number into Go struct field .kind of type string"), "{why}");
    for text in ["apiVersion: v1\nkind: Config\n", "kind: Config\n", "clusters: []\n"] {
        assert_eq!(read(text), Ok(()), "{text}");
    }
}
