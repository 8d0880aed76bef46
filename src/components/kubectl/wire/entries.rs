//! The cluster and the user of a kubeconfig after the flags, and what client-go refuses of them.
//!
//! Source: client-go, `tools/clientcmd`: `getCluster`, `getAuthInfo` and `validation.go`.

use super::config::Entry;
use super::credential::Plugin;
use crate::Env;
use crate::error::{Fail, go_io};
use crate::flag::Flags;
use api::value;
use base64::Engine as _;
use serde_json::Value;
use std::path::Path;

/// Overwrites a field with a flag, if the flag was given.
fn put_flag(entry: &mut Value, key: &str, flags: &Flags) {
    if !flags.global(key).is_empty() {
        value::put(entry, key, flags.global(key));
    }
}

/// The same entry with files that are named from where its kubeconfig stands.
fn with_files(entry: &Entry, keys: &[&str]) -> Entry {
    let mut entry = entry.clone();
    let folder = entry.file.parent().unwrap_or(Path::new("/"));
    for key in keys {
        let named = value::text(&entry.value, key);
        if !named.is_empty() {
            let path = folder.join(named).to_string_lossy().into_owned();
            value::put(&mut entry.value, key, path);
        }
    }
    entry
}

/// The cluster. A certificate authority on the command line replaces the one of the file and turns
/// verification on again; `--insecure-skip-tls-verify` drops the file's authority; another server
/// does not go by the name of the file's.
pub(super) fn cluster(entry: &Entry, flags: &Flags) -> Entry {
    const AUTHORITY: &str = "certificate-authority";
    const SKIP: &str = "insecure-skip-tls-verify";
    let mut cluster = with_files(entry, &[AUTHORITY]);
    let value = &mut cluster.value;
    let skip = flags.is_global(SKIP);
    if skip || !flags.global(AUTHORITY).is_empty() {
        value::put(value, SKIP, skip);
        value::put(value, AUTHORITY, flags.global(AUTHORITY));
        value::remove(value, "certificate-authority-data");
    }
    if !flags.global("server").is_empty() || !flags.global("tls-server-name").is_empty() {
        value::put(value, "tls-server-name", flags.global("tls-server-name"));
    }
    put_flag(value, "server", flags);
    cluster
}

/// The user. A file on the command line takes the place of the entry's file and data.
pub(super) fn user(entry: &Entry, flags: &Flags) -> Entry {
    let files = ["client-certificate", "client-key"];
    let mut user = with_files(entry, &[files[0], files[1], "tokenFile"]);
    for key in files {
        if !flags.global(key).is_empty() {
            value::remove(&mut user.value, &format!("{key}-data"));
        }
        put_flag(&mut user.value, key, flags);
    }
    for key in ["token", "username", "password"] {
        put_flag(&mut user.value, key, flags);
    }
    user
}

/// Complains about a file that cannot be opened, and about a file beside data.
fn file_faults(env: &Env, entry: &Entry, key: &str, shown: &str, both: &str) -> Vec<String> {
    let (file, name) = (value::text(&entry.value, key), &entry.name);
    let mut faults = vec![];
    if file.is_empty() {
        return faults;
    }
    if !value::empty(&entry.value, &format!("{key}-data")) {
        faults.push(format!("{shown}-data and {shown} are both specified for {name}{both}"));
    }
    if let Err(error) = std::fs::File::open(env.cwd.join(file)) {
        let why = go_io(&error);
        faults.push(format!("unable to read {shown} {file} for {name} due to open {file}: {why}"));
    }
    faults
}

/// What is wrong with a user, in client-go's words.
fn user_faults(env: &Env, user: &Entry) -> Vec<String> {
    let name = &user.name;
    let has = |key: &str| !value::empty(&user.value, key);
    let mut faults = vec![];
    if has("client-certificate") || has("client-certificate-data") {
        let by = ". client-cert-data will override.";
        faults.extend(file_faults(env, user, "client-certificate", "client-cert", by));
        if !has("client-key") && !has("client-key-data") {
            faults.push(format!(
                "client-key-data or client-key must be specified for {name} to use the clientCert authentication method."
            ));
        }
        let by = "; client-key-data will override";
        faults.extend(file_faults(env, user, "client-key", "client-key", by));
    }
    faults.extend(Plugin::faults(user));
    if has("token") && (has("username") || has("password")) {
        faults.push(format!(
            "more than one authentication method found for {name}; found [token basicAuth], only one is allowed"
        ));
    }
    faults
}

/// # Errors
/// What client-go refuses of the two, all at once.
pub(super) fn check(env: &Env, user: &Entry, cluster: &Entry) -> Result<(), Fail> {
    let mut faults = user_faults(env, user);
    let by = ". certificate-authority-data will override.";
    let authority = "certificate-authority";
    faults.extend(file_faults(env, cluster, authority, authority, by));
    match faults.as_slice() {
        [] => Ok(()),
        [one] => Err(Fail::Text(one.clone())),
        many => {
            let lines: Vec<String> = many.iter().map(|fault| format!("* {fault}")).collect();
            Err(Fail::Plain(format!("Error in configuration: \n{}", lines.join("\n"))))
        }
    }
}

/// PEM from `KEY-data`, or from the file that `KEY` names.
///
/// # Errors
/// The data is no base64, or the file cannot be read.
pub(super) fn material(env: &Env, entry: &Entry, key: &str) -> Result<Option<Vec<u8>>, Fail> {
    let data = value::text(&entry.value, &format!("{key}-data"));
    if !data.is_empty() {
        return match base64::engine::general_purpose::STANDARD.decode(data) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => Err(Fail::Text(format!("illegal base64 data in {key}-data: {error}"))),
        };
    }
    match value::text(&entry.value, key) {
        "" => Ok(None),
        path => std::fs::read(env.cwd.join(path))
            .map(Some)
            .map_err(|e| Fail::Text(format!("open {path}: {}", go_io(&e)))),
    }
}

/// The header `Authorization`: a token, else a name and its password.
///
/// # Errors
/// The file that holds the token cannot be read.
pub(super) fn authorization(env: &Env, user: &Entry) -> Result<Option<String>, Fail> {
    let text = |key: &str| value::text(&user.value, key);
    let token = match (text("token"), text("tokenFile")) {
        ("", "") => String::new(),
        ("", path) => std::fs::read_to_string(env.cwd.join(path))
            .map_err(|e| Fail::Text(format!("open {path}: {}", go_io(&e))))?
            .trim()
            .to_string(),
        (token, _) => token.to_string(),
    };
    if !token.is_empty() {
        return Ok(Some(format!("Bearer {token}")));
    }
    let (name, password) = (text("username"), text("password"));
    if name.is_empty() {
        return Ok(None);
    }
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    Ok(Some(format!("Basic {pair}")))
}

#[cfg(test)]
mod tests {
    use crate::Env;
    use crate::parse;
    use crate::wire::clientcmd;
    use crate::wire::config::Kubeconfig;
    use crate::wire::target::Target;
    use crate::wire::tls;
    use std::path::Path;

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
        let told = |fail: crate::error::Fail| fail.told().0;
        clientcmd::target(&env, &flags, &Kubeconfig::load(&env, &flags).unwrap()).map_err(told)
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
        let told = |words: &str| target(dir.path(), words).unwrap_err();
        let key = "client-key-data or client-key must be specified for half to use the clientCert authentication method.";
        assert_eq!(told("--user=half"), format!("error: {key}\n"));
        assert_eq!(
            told("--username=x"),
            "error: more than one authentication method found for t; found [token basicAuth], only one is allowed\n"
        );
        let both = "error: specifying a root certificates file with the insecure flag is not allowed\n";
        assert_eq!(told("--cluster=both"), both);
        assert_eq!(told("--certificate-authority=ca.pem --insecure-skip-tls-verify"), both);
        assert_eq!(
            told("--user=gone"),
            "Error in configuration: \n* unable to read client-cert /nonexistent/a for gone due to open /nonexistent/a: no such file or directory\n* unable to read client-key /nonexistent/b for gone due to open /nonexistent/b: no such file or directory\n"
        );
        assert_eq!(
            told("--certificate-authority=no.pem"),
            "error: unable to read certificate-authority no.pem for c due to open no.pem: no such file or directory\n"
        );
        let named = "error: certificate-authority-data and certificate-authority are both specified for twice. certificate-authority-data will override.\n";
        assert_eq!(told("--cluster=twice"), named);
        assert_eq!(told("--user=file"), "error: open /nonexistent/a: no such file or directory\n");
        assert_eq!(
            told("--server=localhost:9/x"),
            "error: host must be a URL or a host:port pair: \"localhost:9/x\"\n"
        );
        let broken = target(dir.path(), "--user=data --insecure-skip-tls-verify").unwrap();
        let why = tls::client(&broken, &[]).unwrap_err().told().0;
        assert_eq!(why, "error: tls: failed to find any PEM data in certificate input\n");
    }
}
