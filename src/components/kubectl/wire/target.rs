//! Where to connect and as whom.

use super::credential::{Credential, Plugin};
use crate::Env;
use crate::error::{Fail, text};
use crate::flag::Flags;
use api::value;
use http::{HeaderName, HeaderValue};
use serde_json::Value;

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
    /// Headers `Impersonate-…` with their values (`--as`, `--as-group`).
    pub impersonate: Vec<(String, String)>,
    /// The namespace of a command that names none.
    pub namespace: String,
    /// Whom to ask who the user is: [`Target::authenticated`].
    pub plugin: Option<Plugin>,
}

/// A header that says who the user is, or as whom the user acts.
///
/// # Errors
/// It cannot be sent. Without it the request would be another user's, so it must not be left out.
pub(crate) fn identity(name: &str, text: &str) -> Result<(HeaderName, HeaderValue), Fail> {
    let quote = api::gostr::quote;
    let Ok(header) = HeaderName::try_from(name) else {
        return crate::error::text(format!("net/http: invalid header field name {}", quote(name)));
    };
    // Names may have letters of any script: the bytes are sent as they are.
    match HeaderValue::from_bytes(text.as_bytes()) {
        Ok(value) => Ok((header, value)),
        Err(_) => crate::error::text(format!("net/http: invalid header field value for {}", quote(name))),
    }
}

/// A key of `as-user-extra` as a part of a header's name, in which not every character may stand.
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

impl Target {
    /// Some server, as nobody in particular; `host` with or without a port.
    pub(crate) fn anybody(scheme: &str, host: &str) -> Target {
        Target { scheme: scheme.into(), host: host.into(), ..Target::default() }
    }

    /// From the address alone.
    pub(super) fn at(server: &str) -> Result<Target, Fail> {
        let has_scheme = server.contains("://");
        let with_scheme = if has_scheme { server.to_string() } else { format!("http://{server}") };
        let uri: Option<http::Uri> = with_scheme.parse().ok();
        let Some(uri) = uri.filter(|uri| has_scheme || matches!(uri.path(), "" | "/")) else {
            let shown = api::gostr::quote(server);
            return text(format!("host must be a URL or a host:port pair: {shown}"));
        };
        let scheme = uri.scheme_str().unwrap_or("http").to_string();
        Ok(Target {
            host: uri.authority().map(|a| a.to_string()).unwrap_or_default(),
            base: uri.path().trim_end_matches('/').to_string(),
            scheme,
            namespace: "default".into(),
            ..Target::default()
        })
    }

    pub(super) fn impersonate(&mut self, flags: &Flags, user: &Value) {
        let name = match flags.global("as") {
            "" => value::text(user, "as"),
            named => named,
        };
        if !name.is_empty() {
            self.impersonate.push(("Impersonate-User".into(), name.into()));
        }
        let uid = match flags.global("as-uid") {
            "" => value::text(user, "as-uid"),
            named => named,
        };
        if !uid.is_empty() {
            self.impersonate.push(("Impersonate-Uid".into(), uid.into()));
        }
        let mut groups = flags.list("as-group");
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

    /// The same with what its plugin says, if it has one and nothing else says who the user is.
    ///
    /// # Errors
    /// [`Fail::Transport`]: the plugin is not installed, fails, or answers no usable
    /// `ExecCredential`. The next call asks it again.
    pub(crate) async fn authenticated(self, env: &Env) -> Result<Target, Fail> {
        match (&self.plugin, &self.authorization) {
            (Some(plugin), None) => {
                let credential = plugin.credential(env, |_| false).await?;
                Ok(self.with(credential))
            }
            _ => Ok(self),
        }
    }

    /// The same after a 401 to what was sent as `refused`: the plugin is asked once more. `None`:
    /// no plugin says who the user is. As in client-go the request that was refused is not sent
    /// again; those that follow carry what the plugin says now.
    pub(crate) async fn reauthenticated(&self, env: &Env, refused: &Target) -> Result<Option<Target>, Fail> {
        let (Some(plugin), None) = (&self.plugin, &self.authorization) else { return Ok(None) };
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
    pub(crate) fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_acts_is_never_left_out() {
        let (_, value) = identity("Impersonate-User", "김철수").unwrap();
        assert_eq!(value.as_bytes(), "김철수".as_bytes());
        let told = identity("Impersonate-User", "a\nb").unwrap_err().message();
        assert_eq!(told, "net/http: invalid header field value for \"Impersonate-User\"");
        assert_eq!(extra_header("example.org/a b%"), "Impersonate-Extra-example.org%2Fa%20b%25");
        assert!(identity(&extra_header("example.org/a b%"), "x").is_ok());
    }
}
