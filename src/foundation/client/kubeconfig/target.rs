//! Where to connect and as whom.

use super::entries;
use super::env::Env;
use super::error::{Error, PluginError};
use super::exec::{Credential, Plugin};
use super::overrides::Overrides;
use api::value;
use serde_json::Value;
use std::path::PathBuf;

/// A server and a user of it.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// `https` or `http`.
    pub scheme: String,
    /// Host and port: `127.0.0.1:6443`; the scheme's port if it names none.
    pub host: String,
    /// Path before `/api`, without a slash at its end.
    pub base: String,
    /// Authorities that may have signed the server's certificate, as PEM; `None`: the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// The server's certificate is not checked (`--insecure-skip-tls-verify`).
    pub insecure: bool,
    /// The name that the server's certificate must have, if it is not the host's.
    pub server_name: Option<String>,
    /// The user's certificate and its key, as PEM.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
    /// The value of the header `Authorization`: `Bearer …` or `Basic …`.
    pub authorization: Option<String>,
    /// The file that `authorization` was read from. It is read again for later requests: tokens of
    /// service accounts expire, and the kubelet writes a new one before that.
    pub token_file: Option<PathBuf>,
    /// Headers `Impersonate-…` with their values (`--as`, `--as-group`).
    pub impersonate: Vec<(String, String)>,
    /// The namespace of a command that names none.
    pub namespace: String,
    /// The credential plugin that knows who the user is; [`Target::authenticated`] asks it.
    pub plugin: Option<Plugin>,
}

/// Returns a key of `as-user-extra` as a part of a header's name, in which not every character may
/// stand.
fn extra_header(key: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const TOKEN: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'!')
        .remove(b'#')
        .remove(b'$')
        .remove(b'&')
        .remove(b'\'')
        .remove(b'*')
        .remove(b'+')
        .remove(b'-')
        .remove(b'.')
        .remove(b'^')
        .remove(b'_')
        .remove(b'`')
        .remove(b'|')
        .remove(b'~');
    format!("Impersonate-Extra-{}", utf8_percent_encode(key, TOKEN))
}

/// Returns the header `Authorization` for the name and the password of a URL, `ann:secret`.
fn in_url(user: &str) -> Option<String> {
    let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    (!user.is_empty()).then(|| entries::basic(&plain(name), &plain(password)))
}

impl Target {
    /// Makes the target of some server, without a user; `host` with or without a port.
    pub fn anybody(scheme: &str, host: &str) -> Target {
        Target { scheme: scheme.into(), host: host.into(), ..Target::default() }
    }

    /// Makes a target from the address alone. A name and password in it are sent as Go sends them,
    /// whatever else says who the user is (`https://ann:secret@10.0.0.1`).
    ///
    /// # Errors
    /// [`Error::Address`]: it is neither a URL nor `HOST:PORT`.
    pub(super) fn at(server: &str) -> Result<Target, Error> {
        let has_scheme = server.contains("://");
        let with_scheme = if has_scheme { server.to_string() } else { format!("http://{server}") };
        let uri: Option<http::Uri> = with_scheme.parse().ok();
        let Some(uri) = uri.filter(|uri| has_scheme || matches!(uri.path(), "" | "/")) else {
            return Err(Error::Address(server.into()));
        };
        let scheme = uri.scheme_str().unwrap_or("http").to_string();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        // As in Go a port has digits only; one above 65535 is an error of the connection.
        let port = host.rsplit_once(':').map_or("", |(_, port)| if port.ends_with(']') { "" } else { port });
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::Address(server.into()));
        }
        // Behind a colon without digits Go takes the port of the scheme.
        let host = host.strip_suffix(':').unwrap_or(host);
        Ok(Target {
            host: host.to_string(),
            authorization: in_url(user),
            base: uri.path().trim_end_matches('/').to_string(),
            scheme,
            namespace: "default".into(),
            ..Target::default()
        })
    }

    /// Sets as whom the user acts: as the command line says, else as the user's entry says.
    pub(super) fn impersonate(&mut self, overrides: &Overrides, user: &Value) {
        let given = |named: &str, key: &str| match named {
            "" => value::text(user, key).to_string(),
            named => named.to_string(),
        };
        let name = given(&overrides.impersonate, "as");
        if !name.is_empty() {
            self.impersonate.push(("Impersonate-User".into(), name));
        }
        let uid = given(&overrides.impersonate_uid, "as-uid");
        if !uid.is_empty() {
            self.impersonate.push(("Impersonate-Uid".into(), uid));
        }
        let mut groups = overrides.impersonate_groups.clone();
        if groups.is_empty() {
            let known = value::list(user, "as-groups").iter();
            groups = known.filter_map(|g| g.as_str().map(String::from)).collect();
        }
        self.impersonate.extend(groups.into_iter().map(|group| ("Impersonate-Group".into(), group)));
        for (key, values) in value::map(user, "as-user-extra").into_iter().flatten() {
            for text in values.as_array().into_iter().flatten().filter_map(|v| v.as_str()) {
                self.impersonate.push((extra_header(key), text.into()));
            }
        }
    }

    /// Returns the same with what its plugin says, if it has one and nothing else says who the user
    /// is, or with the token that is in its file now.
    ///
    /// # Errors
    /// The plugin is not installed, fails, or answers no usable `ExecCredential`. The next call
    /// asks it again.
    pub async fn authenticated(self, env: &Env) -> Result<Target, PluginError> {
        match (&self.plugin, &self.authorization) {
            (Some(plugin), None) => {
                let credential = plugin.credential(env, |_| false).await?;
                Ok(self.with(credential))
            }
            _ => Ok(self.with_current_token()),
        }
    }

    /// Returns the same with the token that is in its file now. If the file cannot be read or is
    /// empty, the token that it had when the kubeconfig was read counts.
    fn with_current_token(mut self) -> Target {
        let read = self.token_file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        if let Some(token) = read.as_deref().map(str::trim).filter(|token| !token.is_empty()) {
            self.authorization = Some(format!("Bearer {token}"));
        }
        self
    }

    /// Returns the same after a 401 to what was sent as `refused`: the plugin is asked once more,
    /// or the token's file read again. `None`: neither says who the user is. As in client-go the
    /// request that was refused is not sent again; those that follow carry what the plugin or the
    /// file says now.
    ///
    /// # Errors
    /// As [`Target::authenticated`].
    pub async fn reauthenticated(&self, env: &Env, refused: &Target) -> Result<Option<Target>, PluginError> {
        let (Some(plugin), None) = (&self.plugin, &self.authorization) else {
            return Ok(self.token_file.is_some().then(|| self.clone().with_current_token()));
        };
        let same = |known: &Credential| {
            let sent = self.clone().with(known.clone());
            (sent.authorization, sent.certificate)
                == (refused.authorization.clone(), refused.certificate.clone())
        };
        let credential = plugin.credential(env, same).await?;
        Ok(Some(self.clone().with(credential)))
    }

    fn with(mut self, credential: Credential) -> Target {
        self.authorization = credential.token.map(|token| format!("Bearer {token}"));
        self.certificate = credential.certificate.or(self.certificate);
        self
    }

    /// `https://127.0.0.1:6443`
    pub fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_any_letters_is_a_part_of_a_header() {
        assert_eq!(extra_header("example.org/a b%"), "Impersonate-Extra-example.org%2Fa%20b%25");
    }

    #[test]
    fn a_server_without_a_port_has_that_of_its_scheme() {
        for (server, host) in [
            ("https://10.0.0.1", "10.0.0.1"),
            ("https://10.0.0.1:/base", "10.0.0.1"),
            ("https://[::1]:", "[::1]"),
            ("localhost:", "localhost"),
            ("https://10.0.0.1:6443", "10.0.0.1:6443"),
        ] {
            assert_eq!(Target::at(server).unwrap().host, host, "{server}");
        }
    }

    #[tokio::test]
    async fn a_token_is_read_from_its_file_again() {
        let dir = tempfile::tempdir().unwrap();
        let (file, env) = (dir.path().join("token"), Env::default());
        let authorization = Some("Bearer first".to_string());
        let target = Target { authorization, token_file: Some(file.clone()), ..Target::default() };
        let sent = async || target.clone().authenticated(&env).await.unwrap().authorization.unwrap();
        assert_eq!(sent().await, "Bearer first", "the file is not there");
        std::fs::write(&file, "second\n").unwrap();
        assert_eq!(sent().await, "Bearer second");
        std::fs::write(&file, "").unwrap();
        assert_eq!(sent().await, "Bearer first");
        std::fs::write(&file, "third").unwrap();
        let again = target.reauthenticated(&env, &target).await.unwrap().unwrap();
        assert_eq!(again.authorization.as_deref(), Some("Bearer third"));
    }
}
