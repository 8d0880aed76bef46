//! The cluster and the user of a kubeconfig after the command line, and what client-go refuses of
//! them.
//!
//! Source: client-go, `tools/clientcmd`: `getCluster`, `getAuthInfo` and `validation.go`.

use super::env::Env;
use super::error::Error;
use super::exec::Plugin;
use super::merged::Entry;
use super::overrides::Overrides;
use api::gostr::io_error;
use api::value;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;
use std::path::{Component, Path, PathBuf};

/// Base64 as Go's `StdEncoding` reads it: bits of the last character that stand for no byte may be
/// set.
const AS_GO: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Overwrites a field, if the command line has a value for it.
fn put_given(entry: &mut Value, key: &str, given: &str) {
    if !given.is_empty() {
        value::put(entry, key, given);
    }
}

/// Takes `.` and `..` from the text of a path, as Go's `filepath.Clean`, which does not ask where a
/// link leads.
///
/// Example: `/home/ann/.kube/../ca.pem` is `/home/ann/ca.pem`, also if `.kube` is a link.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if cleaned.file_name().is_some() => {
                cleaned.pop();
            }
            Component::ParentDir if cleaned.has_root() => {}
            part => cleaned.push(part),
        }
    }
    cleaned
}

/// Returns the same entry with files that are named from where its kubeconfig stands.
fn with_files(entry: &Entry, keys: &[&str]) -> Entry {
    let mut entry = entry.clone();
    let folder = entry.file.parent().unwrap_or(Path::new("/"));
    for key in keys {
        let named = value::text(&entry.value, key);
        if !named.is_empty() && Path::new(named).is_relative() {
            let path = clean(&folder.join(named)).to_string_lossy().into_owned();
            value::put(&mut entry.value, key, path);
        }
    }
    entry
}

/// Returns the cluster. A certificate authority on the command line replaces the one of the file
/// and turns verification on again; `insecure` drops the file's authority; another server does not
/// go by the name of the file's.
pub(super) fn cluster(entry: &Entry, overrides: &Overrides) -> Entry {
    const AUTHORITY: &str = "certificate-authority";
    const SKIP: &str = "insecure-skip-tls-verify";
    let mut cluster = with_files(entry, &[AUTHORITY]);
    let value = &mut cluster.value;
    let authority = overrides.certificate_authority.as_str();
    if overrides.insecure || !authority.is_empty() {
        value::put(value, SKIP, overrides.insecure);
        value::put(value, AUTHORITY, authority);
        value::remove(value, "certificate-authority-data");
    }
    if !overrides.server.is_empty() || !overrides.tls_server_name.is_empty() {
        value::put(value, "tls-server-name", overrides.tls_server_name.as_str());
    }
    put_given(value, "server", &overrides.server);
    cluster
}

/// Returns the user. A file on the command line takes the place of the entry's file and data, a
/// token that of the entry's token. A file with a token stays, as in client-go's `getAuthInfo`, and
/// counts before the token.
pub(super) fn user(entry: &Entry, overrides: &Overrides) -> Entry {
    let files =
        [("client-certificate", &overrides.client_certificate), ("client-key", &overrides.client_key)];
    let mut user = with_files(entry, &[files[0].0, files[1].0, "tokenFile"]);
    for (key, given) in files {
        if !given.is_empty() {
            value::remove(&mut user.value, &format!("{key}-data"));
        }
        put_given(&mut user.value, key, given);
    }
    put_given(&mut user.value, "token", &overrides.token);
    put_given(&mut user.value, "username", &overrides.username);
    put_given(&mut user.value, "password", &overrides.password);
    user
}

/// Complains about a file beside data.
fn doubled(entry: &Entry, key: &str, shown: &str, both: &str) -> Option<String> {
    let has = |key: &str| !value::empty(&entry.value, key);
    let name = &entry.name;
    (has(key) && has(&format!("{key}-data")))
        .then(|| format!("{shown}-data and {shown} are both specified for {name}{both}"))
}

/// Complains about a file that cannot be opened.
fn unopened(env: &Env, entry: &Entry, key: &str, shown: &str) -> Option<String> {
    let (file, name) = (value::text(&entry.value, key), &entry.name);
    if file.is_empty() {
        return None;
    }
    let why = io_error(&std::fs::File::open(env.cwd.join(file)).err()?);
    Some(format!("unable to read {shown} {file} for {name} due to open {file}: {why}"))
}

/// Returns what is wrong with a user, in client-go's words.
fn user_faults(env: &Env, user: &Entry, overrides: &Overrides) -> Vec<String> {
    let name = &user.name;
    let has = |key: &str| !value::empty(&user.value, key);
    let mut faults = vec![];
    if has("client-certificate") || has("client-certificate-data") {
        let by = ". client-cert-data will override.";
        faults.extend(doubled(user, "client-certificate", "client-cert", by));
        faults.extend(doubled(user, "client-key", "client-key", "; client-key-data will override"));
        if !has("client-key") && !has("client-key-data") {
            faults.push(format!(
                "client-key-data or client-key must be specified for {name} to use the clientCert authentication method."
            ));
        }
        faults.extend(unopened(env, user, "client-certificate", "client-cert"));
        faults.extend(unopened(env, user, "client-key", "client-key"));
    }
    if !value::at(&user.value, "exec").is_null() && !value::at(&user.value, "auth-provider").is_null() {
        faults.push(format!("authProvider cannot be provided in combination with an exec plugin for {name}"));
    }
    faults.extend(Plugin::faults(user));
    if has("token") && (has("username") || has("password")) {
        faults.push(format!(
            "more than one authentication method found for {name}; found [token basicAuth], only one is allowed"
        ));
    }
    let asks_for_more = !overrides.impersonate_uid.is_empty()
        || !overrides.impersonate_groups.is_empty()
        || ["as-uid", "as-groups", "as-user-extra"].into_iter().any(has);
    if asks_for_more && overrides.impersonate.is_empty() && !has("as") {
        faults.push(format!("requesting uid, groups or user-extra for {name} without impersonating a user"));
    }
    faults
}

/// Checks the entries of the user and of the cluster for what client-go refuses, and what the
/// command line says of impersonation.
///
/// # Errors
/// [`Error::Invalid`] with everything that is wrong.
pub(super) fn check(env: &Env, user: &Entry, cluster: &Entry, overrides: &Overrides) -> Result<(), Error> {
    let mut faults = user_faults(env, user, overrides);
    let by = ". certificate-authority-data will override.";
    let authority = "certificate-authority";
    faults.extend(doubled(cluster, authority, authority, by));
    faults.extend(unopened(env, cluster, authority, authority));
    if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
}

/// Reads PEM from `KEY-data`, or from the file that `KEY` names.
///
/// # Errors
/// The data is no base64, or the file cannot be read.
pub(super) fn material(env: &Env, entry: &Entry, key: &str) -> Result<Option<Vec<u8>>, Error> {
    let data = value::text(&entry.value, &format!("{key}-data"));
    if !data.is_empty() {
        // A block of YAML (`|`) has line breaks, which Go's decoder skips.
        let data = data.replace(['\r', '\n'], "");
        return AS_GO
            .decode(data)
            .map(Some)
            .map_err(|e| Error::Base64 { key: key.into(), why: e.to_string() });
    }
    match value::text(&entry.value, key) {
        "" => Ok(None),
        path => {
            let read = std::fs::read(env.cwd.join(path));
            read.map(Some).map_err(|cause| Error::File { file: path.into(), cause })
        }
    }
}

/// Returns the header `Authorization`: a token, else a name and its password. Of a token and a file
/// with one the file counts, as long as it can be read and has a token.
///
/// # Errors
/// The file that holds the token cannot be read or is empty, and there is no other token; or there
/// is a name beside the file.
pub(super) fn authorization(env: &Env, user: &Entry) -> Result<Option<String>, Error> {
    let text = |key: &str| value::text(&user.value, key);
    let token = match (text("token"), text("tokenFile")) {
        (token, "") => token.to_string(),
        (token, path) => match std::fs::read_to_string(env.cwd.join(path)) {
            Ok(read) if !read.trim().is_empty() => read.trim().to_string(),
            _ if !token.is_empty() => token.to_string(),
            // Without a token the request would be an anonymous user's.
            Ok(_) => return Err(Error::EmptyToken(path.into())),
            Err(cause) => return Err(Error::File { file: path.into(), cause }),
        },
    };
    let (name, password) = (text("username"), text("password"));
    if !token.is_empty() {
        let both = !name.is_empty();
        return if both { Err(Error::TokenAndName) } else { Ok(Some(format!("Bearer {token}"))) };
    }
    if name.is_empty() {
        return Ok(None);
    }
    Ok(Some(basic(name, password)))
}

/// Returns the header `Authorization` of a name and its password.
pub(super) fn basic(name: &str, password: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    format!("Basic {pair}")
}
