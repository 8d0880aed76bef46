use super::*;

fn plugin(command: &str) -> Plugin {
    Plugin {
        api_version: VERSIONS[0].into(),
        command: command.into(),
        mode: "Never".into(),
        ..Plugin::default()
    }
}

#[tokio::test]
async fn what_a_plugin_says_counts_until_it_expires() {
    let dir = tempfile::tempdir().unwrap();
    let count = dir.path().join("count");
    let mut asked = plugin("sh");
    let script = format!(
        "echo x >> {}; printf '{{\"kind\":\"ExecCredential\",\"apiVersion\":\"{}\",\"status\":{{\"token\":\"t\",\"expirationTimestamp\":\"%s\"}}}}' $END",
        count.display(),
        VERSIONS[0]
    );
    asked.args = vec!["-c".into(), script];
    let env = Env { cwd: dir.path().into(), ..Env::of_process() };
    for (end, times) in [("2999-01-01T00:00:00Z", 1), ("2001-01-01T00:00:00Z", 2)] {
        asked.env = vec![("END".into(), end.into())];
        std::fs::write(&count, "").unwrap();
        for _ in 0..2 {
            assert_eq!(asked.credential(&env, |_| false).await.unwrap().token.as_deref(), Some("t"));
        }
        assert_eq!(std::fs::read_to_string(&count).unwrap().lines().count(), times, "{end}");
    }
}

/// An entry that gives the plugin a `PATH` does not hide the plugin itself.
#[tokio::test]
async fn a_plugin_is_looked_for_in_the_path_of_this_program() {
    let dir = tempfile::tempdir().unwrap();
    let said = json!({"kind": "ExecCredential", "apiVersion": VERSIONS[0], "status": {"token": "t"}});
    let mut asked = plugin("sh");
    asked.args = vec!["-c".into(), format!("echo '{said}'")];
    asked.env = vec![("PATH".into(), dir.path().display().to_string())];
    let env = Env { cwd: dir.path().into(), ..Env::of_process() };
    assert_eq!(asked.credential(&env, |_| false).await.unwrap().token.as_deref(), Some("t"));
    let own = dir.path().join("own");
    std::fs::write(&own, "").unwrap();
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
    let of = |path: &str| {
        let vars = [("PATH".to_string(), path.to_string())].into();
        plugin("own").program(&Env { vars, ..env.clone() })
    };
    assert_eq!(of(&format!("/nonexistent:{}", dir.path().display())), Some(own.clone()));
    assert_eq!(of("."), None, "the working directory may be anybody's");
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(of(&dir.path().display().to_string()), None, "it cannot be executed");
}

#[test]
fn a_plugin_learns_the_authority_also_from_a_file() {
    let entry = |value: Value| Entry { name: "e".into(), value, file: "/f/config".into() };
    let exec = json!({"apiVersion": VERSIONS[1], "command": "./p", "provideClusterInfo": true});
    let user = entry(json!({"exec": exec}));
    assert!(Plugin::faults(&user).is_empty());
    let cluster = entry(json!({"server": "https://s", "certificate-authority": "ca.pem"}));
    let plugin = Plugin::of(&user, &cluster, Some(b"foo")).unwrap().unwrap();
    assert_eq!(plugin.cluster.unwrap()["certificate-authority-data"], "Zm9v");
    let cluster = entry(json!({"server": "https://s", "tls-server-name": "",
            "insecure-skip-tls-verify": false, "disable-compression": true}));
    let plugin = Plugin::of(&user, &cluster, None).unwrap().unwrap();
    let expected = json!({"server": "https://s", "disable-compression": true, "config": null});
    assert_eq!(plugin.cluster.unwrap(), expected);
}

/// A plugin that was killed while it wrote, one that writes a flow mapping, and one that writes
/// neither JSON nor YAML.
#[test]
fn what_cannot_be_parsed_is_refused_in_the_words_of_its_format() {
    let json = "couldn't get version/kind; json parse error: ";
    let key = "invalid character 'k' looking for beginning of object key string";
    let flow = format!("{{kind: ExecCredential, apiVersion: {}, status: {{token: t}}}}", VERSIONS[0]);
    for (text, why) in [
        (r#"{"kind":"ExecCredential","status":{"tok"#, format!("{json}unexpected end of JSON input")),
        (" \n{", format!("{json}unexpected end of JSON input")),
        (flow.as_str(), format!("{json}{key}")),
        ("a: [", "yaml: line 1: did not find expected node content".to_string()),
    ] {
        let refused = plugin("x").read(text.as_bytes()).unwrap_err();
        assert_eq!(refused, format!("decoding stdout: {why}"), "{text}");
    }
}

/// Go's decoder reads the time before client-go looks whether there is a token.
#[test]
fn a_wrong_time_is_refused_before_an_answer_without_a_token() {
    let status = json!({"expirationTimestamp": "soon"});
    let answer = json!({"kind": "ExecCredential", "apiVersion": VERSIONS[1], "status": status});
    let refused = plugin("x").read(answer.to_string().as_bytes()).unwrap_err();
    assert!(refused.starts_with("decoding stdout: parsing time \"soon\""), "{refused}");
}

/// Plugins whose credential has no end name the last second of the year 9999.
#[test]
fn an_expiry_at_the_end_of_all_years_is_taken() {
    assert_eq!(expiry(&json!("9999-12-31T23:59:59Z")), Ok(Some(Timestamp::MAX)));
}

#[tokio::test]
async fn what_is_wrong_is_said_in_client_gos_words() {
    let env = Env { cwd: "/".into(), ..Env::of_process() };
    let missing = plugin("no-such-plugin").credential(&env, |_| false).await.unwrap_err().to_string();
    assert!(
        missing.starts_with("getting credentials: exec: executable no-such-plugin not found\n"),
        "{missing}"
    );
    let hint = "\u{1b}[31mget it\tat\n\u{202e}a\u{a0}b\u{85}".to_string();
    let missing = Plugin { hint, ..plugin("no-such-plugin") }.credential(&env, |_| false).await;
    let missing = missing.unwrap_err().to_string();
    assert!(missing.ends_with("\n\nU+001B[31mget it\tat\nU+202Ea\u{a0}bU+0085"), "{missing:?}");
    let read = |text: &str| plugin("x").read(text.as_bytes()).unwrap_err();
    let answer = |rest: &str| format!(r#"{{"kind":"ExecCredential","apiVersion":"{}"{rest}}}"#, VERSIONS[0]);
    assert_eq!(read(&answer("")), "exec plugin didn't return a status field");
    let unversioned = format!(
        "exec plugin is configured to use API version {}, plugin returned version {UNVERSIONED}",
        VERSIONS[0]
    );
    assert_eq!([read(""), read("{}")], [unversioned.clone(), unversioned]);
    let why = "decoding stdout: couldn't get version/kind; json parse error: json: cannot unmarshal string";
    assert!(read("please log in").starts_with(why), "{}", read("please log in"));
    let token = |kind: &str| format!(r#"{{{kind}"apiVersion":"{}","status":{{"token":"t"}}}}"#, VERSIONS[0]);
    assert_eq!(plugin("x").read(token("").as_bytes()).unwrap().token.as_deref(), Some("t"));
    assert!(read(&token(r#""kind":"Pod","#)).starts_with("decoding stdout: no kind \"Pod\" is registered"));
    let why = "decoding stdout: couldn't get version/kind; json parse error: invalid character 'l' after";
    assert!(read(&(token("") + "\nlogged in")).starts_with(why));
    assert_eq!(
        read(&answer(r#","status":{"token":5}"#)),
        "decoding stdout: json: cannot unmarshal number into Go struct field ExecCredentialStatus.status.token of type string"
    );
    assert_eq!(read(&answer(r#","status":{}"#)), "exec plugin didn't return a token or cert/key pair");
    assert_eq!(
        read(&answer(r#","status":{"clientKeyData":"k"}"#)),
        "exec plugin returned only certificate or key, not both"
    );
    let dir = tempfile::tempdir().unwrap();
    let ca = pki::Ca::load_or_create(dir.path(), "ca").unwrap();
    let issue = || ca.issue(&pki::Subject::client("jane", "")).unwrap();
    let (own, other) = (issue(), issue());
    let pair = json!({"clientCertificateData": own.cert_pem, "clientKeyData": other.key_pem});
    assert_eq!(
        read(&answer(&format!(r#","status":{pair}"#))),
        "failed parsing client key/certificate: tls: private key does not match public key"
    );
    let said = answer(r#","status":{"token":"t","expirationTimestamp":"soon"}"#);
    let why = "decoding stdout: parsing time \"soon\" as \"2006-01-02T15:04:05Z07:00\": ";
    assert!(read(&said).starts_with(why), "{}", read(&said));
    let said = answer(r#","status":{"token":"t","expirationTimestamp":"2026-13-02T03:04:05Z"}"#);
    let why = "decoding stdout: parsing time \"2026-13-02T03:04:05Z\": month out of range";
    assert_eq!(read(&said), why);
    let wrong = |found: &str, field: &str, wanted: &str| {
        format!(
            "decoding stdout: json: cannot unmarshal {found} into Go struct field {field} of type {wanted}"
        )
    };
    let said = answer(r#","status":{"token":"t","expirationTimestamp":5}"#);
    let field = "ExecCredentialStatus.status.expirationTimestamp";
    assert_eq!(read(&said), wrong("number", field, "string"));
    let said = answer(r#","spec":{"interactive":"no"},"status":{"token":"t"}"#);
    assert_eq!(read(&said), wrong("string", "ExecCredentialSpec.spec.interactive", "bool"));
}
