use super::*;

fn refused(text: &str) -> String {
    check(&api::yaml::parse(text.as_bytes()).unwrap()).unwrap_err()
}

/// The request would be an anonymous user's, or the certificate be checked after all.
#[test]
fn a_value_of_a_wrong_type_is_refused() {
    for (text, found, field, wanted) in [
        ("users: [{name: u, user: {token: 12345}}]", "number", "AuthInfo.users.user.token", "string"),
        ("users: [{name: u, user: {as-groups: dev}}]", "string", "AuthInfo.users.user.as-groups", "[]string"),
        (
            "users: [{name: u, user: {as-user-extra: {why: test}}}]",
            "string",
            "AuthInfo.users.user.as-user-extra",
            "[]string",
        ),
        (
            "users: [{name: u, user: {exec: {env: [{name: A, value: 1}]}}}]",
            "number",
            "ExecEnvVar.users.user.exec.env.value",
            "string",
        ),
        (
            "clusters: [{name: c, cluster: {insecure-skip-tls-verify: 'true'}}]",
            "string",
            "Cluster.clusters.cluster.insecure-skip-tls-verify",
            "bool",
        ),
        (
            "clusters: [{name: c, cluster: 'https://a'}]",
            "string",
            "NamedCluster.clusters.cluster",
            "v1.Cluster",
        ),
        (
            "contexts: [{name: c, context: {extensions: 5}}]",
            "number",
            "Context.contexts.context.extensions",
            "[]v1.NamedExtension",
        ),
        (
            "users: [{name: u, user: {auth-provider: {name: a, config: {id: 5}}}}]",
            "number",
            "AuthProviderConfig.users.user.auth-provider.config",
            "string",
        ),
        ("contexts: {name: c}", "object", "Config.contexts", "[]v1.NamedContext"),
        ("contexts: [{name: 1}]", "number", "NamedContext.contexts.name", "string"),
        ("current-context: true", "bool", "Config.current-context", "string"),
        (
            "users: [{name: u, user: {token: 5, exec: {env: [x]}}}]",
            "string",
            "ExecConfig.users.user.exec.env",
            "v1.ExecEnvVar",
        ),
    ] {
        let why = format!("json: cannot unmarshal {found} into Go struct field {field} of type {wanted}");
        assert_eq!(refused(text), why, "{text}");
    }
}

/// What kubectl 1.32 says of the same texts. Nothing is read of a file that has one of them.
#[test]
fn data_that_are_no_base64_are_refused_wherever_they_stand() {
    let user = |data: &str| format!("users: [{{name: u, user: {{client-key-data: \"{data}\"}}}}]");
    for (data, at) in [
        ("Zm-9v", 2),
        ("Zm9", 0),
        ("Zm9v Z", 4),
        ("Z===", 1),
        ("Zm=", 3),
        ("Zm=v", 2),
        ("Zm==x", 4),
        ("Zm9vé", 4),
        ("=", 0),
        ("Zm9vZ", 4),
        ("Zm9vZm9vZm9vZm9vZm9v-m9v", 20),
    ] {
        assert_eq!(refused(&user(data)), format!("illegal base64 data at input byte {at}"), "{data}");
    }
    for data in ["", "Zm9v", "Zg==", "Zm8=", "Zm\\n9v\\n", "Ym\\r\\nFy", "Zg=\\n=\\n", "Zm9=", "+/+/"] {
        assert_eq!(check(&api::yaml::parse(user(data).as_bytes()).unwrap()), Ok(()), "{data}");
    }
}

#[test]
fn a_kubeconfig_is_written_again_as_by_go() {
    for (text, list, want) in [
        (
            "clusters: [{name: c, cluster: {other: 5, insecure-skip-tls-verify: false, proxy-url: ''}}]",
            "clusters",
            r#"[{"name":"c","cluster":{"server":""}}]"#,
        ),
        (
            "users: [{name: u, user: {exec: {apiVersion: v, command: c}, username: a, token: ''}}]",
            "users",
            r#"[{"name":"u","user":{"username":"a","exec":{"command":"c","args":null,"env":null,"apiVersion":"v","provideClusterInfo":false}}}]"#,
        ),
        (
            "users: [{name: u, user: {as-user-extra: {b: [x], a: [z]}, as-groups: [], client-key-data: \"Zm\\n9v\"}}]",
            "users",
            r#"[{"name":"u","user":{"client-key-data":"Zm9v","as-user-extra":{"a":["z"],"b":["x"]}}}]"#,
        ),
        (
            "users: [{name: u, user: {exec: {command: c, apiVersion: client.authentication.k8s.io/v1beta1}}}]",
            "users",
            r#"[{"name":"u","user":{"exec":{"command":"c","args":null,"env":null,"apiVersion":"client.authentication.k8s.io/v1beta1","provideClusterInfo":false,"interactiveMode":"IfAvailable"}}}]"#,
        ),
        ("contexts: [{name: c}]", "contexts", r#"[{"name":"c","context":{"cluster":"","user":""}}]"#),
        ("{}", "users", "null"),
    ] {
        let written = as_written(&api::yaml::parse(text.as_bytes()).unwrap());
        assert_eq!(written[list].to_string(), want);
    }
    let order = as_written(&serde_json::json!({"contexts": [], "kind": "Config", "preferences": {}}));
    let order: Vec<&String> = order.as_object().unwrap().keys().collect();
    assert_eq!(order, ["kind", "clusters", "users", "contexts", "current-context"]);
}

#[test]
fn two_entries_of_one_name_are_refused_without_their_secrets() {
    let why = refused("users: [{name: u, user: {token: t1}}, {name: u, user: {token: t2}}]");
    let expected =
        "error converting *[]NamedAuthInfo into *map[string]*api.AuthInfo: duplicate name \"u\" in list";
    assert_eq!(why, expected);
}

#[test]
fn what_is_absent_null_or_unknown_is_accepted() {
    for text in [
        "",
        "clusters: null",
        "users: [{name: u, user: {token: null, exec: null, other: 5}}, {name: v}]",
        "clusters: [{name: c, cluster: {extensions: [{name: x, extension: {a: 1}}]}}]",
        "preferences: {colors: true}",
    ] {
        assert_eq!(check(&api::yaml::parse(text.as_bytes()).unwrap()), Ok(()), "{text}");
    }
}
