//! Credential plugins: a program that a kubeconfig names (`users[].user.exec`) says who the user
//! is.
//!
//! `KUBERNETES_EXEC_INFO` tells the plugin what is wanted. It answers with an `ExecCredential`: a
//! token, or a client certificate with its key. The answer counts until it expires, in this
//! process. Source: client-go, `plugin/pkg/client/auth/exec`.

use super::entries::clean;
use super::env::Env;
use super::error::{Error, PluginError};
use super::merged::{Entry, no_mapping, parse_yaml};
use super::types;
use api::gostr::{io_error, is_print, quote};
use api::gotime;
use api::json_syntax;
use api::value;
use base64::Engine as _;
use clock::{self, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;

const KIND: &str = "ExecCredential";
/// What Go calls the version of an answer that names none.
const UNVERSIONED: &str = "client.authentication.k8s.io/__internal";
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
/// Removed in 1.24; old kubeconfigs name it.
const REMOVED: &str = "client.authentication.k8s.io/v1alpha1";

/// A credential plugin as `users[].user.exec` names it; its fields are valid.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plugin {
    api_version: String,
    /// As it was named; a path with a slash starts from the kubeconfig's folder.
    command: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    hint: String,
    mode: String,
    /// `spec.cluster` in `KUBERNETES_EXEC_INFO`, if the plugin wants it (`provideClusterInfo`).
    cluster: Option<Value>,
}

/// What a plugin answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Credential {
    pub(super) token: Option<String>,
    /// PEM of certificate and key.
    pub(super) certificate: Option<(Vec<u8>, Vec<u8>)>,
    /// `expirationTimestamp` or the end of the certificate, the sooner of the two. client-go has
    /// the first alone, and notices the second by a 401.
    expires: Option<Timestamp>,
}

impl Credential {
    fn is_valid(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|end| now < end)
    }
}

/// The answers of plugins, by plugin and environment.
static KNOWN: LazyLock<Mutex<BTreeMap<String, Credential>>> = LazyLock::new(Mutex::default);

/// One plugin is asked at a time: it may talk to the user.
static ASKING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl Plugin {
    /// Returns what is incomplete in a user's entry, in client-go's words.
    pub(super) fn faults(user: &Entry) -> Vec<String> {
        let (exec, name) = (value::at(&user.value, "exec"), &user.name);
        let mut wrong = vec![];
        if exec.is_null() {
            return wrong;
        }
        for what in ["command", "apiVersion"] {
            if value::empty(exec, what) {
                wrong.push(format!("{what} must be specified for {name} to use exec authentication plugin"));
            }
        }
        if value::list(exec, "env").iter().any(|v| value::empty(v, "name")) {
            wrong.push(format!(
                "env variable name must be specified for {name} to use exec authentication plugin"
            ));
        }
        match mode(exec) {
            "Never" | "IfAvailable" | "Always" => {}
            "" => wrong.push(format!(
                "interactiveMode must be specified for {name} to use exec authentication plugin"
            )),
            other => wrong.push(format!("invalid interactiveMode for {name}: {}", quote(other))),
        }
        wrong
    }

    /// Returns what a user's entry names, if it names any. [`Plugin::faults`] has found nothing in
    /// it.
    ///
    /// `authority`: PEM of the cluster's certificate authority, wherever it stands.
    ///
    /// # Errors
    /// [`Error::PluginVersion`]: its version is none that is known.
    pub(super) fn of(
        user: &Entry,
        cluster: &Entry,
        authority: Option<&[u8]>,
    ) -> Result<Option<Plugin>, Error> {
        let exec = value::at(&user.value, "exec");
        if exec.is_null() {
            return Ok(None);
        }
        let text = |key: &str| value::text(exec, key).to_string();
        let (command, api_version) = (text("command"), text("apiVersion"));
        if !VERSIONS.contains(&api_version.as_str()) {
            return Err(Error::PluginVersion(api_version));
        }
        let env = value::list(exec, "env").iter();
        let env: Vec<(String, String)> =
            env.map(|v| (value::text(v, "name").to_string(), value::text(v, "value").to_string())).collect();
        let folder = user.file.parent().filter(|_| command.contains('/'));
        Ok(Some(Plugin {
            api_version,
            command: match folder.map(|folder| clean(&folder.join(&command))) {
                // Without a slash it would be looked for in the `PATH`.
                Some(alone) if alone.components().count() == 1 => Path::new(".").join(alone),
                Some(path) => path,
                None => PathBuf::from(&command),
            },
            args: value::list(exec, "args").iter().filter_map(|a| a.as_str().map(String::from)).collect(),
            env,
            hint: text("installHint"),
            mode: mode(exec).into(),
            cluster: value::flag(exec, "provideClusterInfo").then(|| cluster_info(&cluster.value, authority)),
        }))
    }

    /// Returns who the user is: the plugin's last answer, unless that has expired or the server has
    /// `refused` it; then the plugin is asked.
    pub(super) async fn credential(
        &self,
        env: &Env,
        refused: impl Fn(&Credential) -> bool,
    ) -> Result<Credential, PluginError> {
        let key = format!("{self:?} {env:?}");
        // Requests that are refused at the same time share one answer.
        let _asking = ASKING.lock().await;
        let known = KNOWN.lock().get(&key).cloned();
        if let Some(known) = known.filter(|c| c.is_valid(clock::now()) && !refused(c)) {
            return Ok(known);
        }
        let found = self.ask(env).await.map_err(PluginError)?;
        KNOWN.lock().insert(key, found.clone());
        Ok(found)
    }

    async fn ask(&self, env: &Env) -> Result<Credential, String> {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
        let interactive = match self.mode.as_str() {
            "Always" if !terminal => {
                return Err(
                    "exec plugin cannot support interactive mode: standard input is not a terminal".into()
                );
            }
            "Never" => false,
            _ => terminal,
        };
        let mut spec = serde_json::Map::new();
        spec.extend(self.cluster.clone().map(|cluster| ("cluster".to_string(), cluster)));
        spec.insert("interactive".into(), interactive.into());
        let info = json!({"kind": KIND, "apiVersion": self.api_version, "spec": spec});
        let Some(program) = self.program(env) else { return Err(self.not_installed()) };
        let mut command = tokio::process::Command::new(program);
        command
            .arg0(&self.command)
            .args(&self.args)
            .env_clear()
            .envs(&env.vars)
            .envs(self.env.iter().cloned());
        command.env("KUBERNETES_EXEC_INFO", info.to_string()).current_dir(&env.cwd).kill_on_drop(true);
        command.stdin(if interactive { Stdio::inherit() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        let name = self.command.display();
        let output = match command.spawn() {
            Ok(child) => child.wait_with_output().await.map_err(|e| format!("exec: {}", io_error(&e)))?,
            Err(e) => return Err(format!("exec: fork/exec {name}: {}", io_error(&e))),
        };
        if !output.status.success() {
            let code = output.status.code().unwrap_or(-1);
            return Err(format!("exec: executable {name} failed with exit code {code}"));
        }
        self.read(&output.stdout)
    }

    /// Returns the file of the plugin. A name without a slash is looked for in the `PATH` of this
    /// program, not in one that the entry has for the plugin, and never in the working directory,
    /// as with Go's `exec.LookPath`. `None`: it is not installed.
    fn program(&self, env: &Env) -> Option<PathBuf> {
        if self.command.components().count() > 1 {
            return Some(self.command.clone());
        }
        let mut files = env.vars.get("PATH")?.split(':').map(|folder| Path::new(folder).join(&self.command));
        let found = files.find(|file| is_executable(&env.cwd.join(file)));
        found.filter(|file| file.is_absolute())
    }

    fn not_installed(&self) -> String {
        let mut message = format!(
            "exec: executable {} not found\n\nIt looks like you are trying to use a client-go credential plugin that is not installed.\n\nTo learn more about this feature, consult the documentation available at:\n      https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins",
            self.command.display()
        );
        if !self.hint.is_empty() {
            message.push_str(&format!("\n\n{}", without_escapes(&self.hint)));
        }
        message
    }

    /// Pure: an `ExecCredential`. One without a kind is one, too, as in client-go.
    fn read(&self, stdout: &[u8]) -> Result<Credential, String> {
        let answer = decoded(stdout).map_err(|why| format!("decoding stdout: {why}"))?;
        let (kind, version) = (value::text(&answer, "kind"), value::text(&answer, "apiVersion"));
        let version = if version.is_empty() { UNVERSIONED } else { version };
        let is_known = VERSIONS.contains(&version) || version == UNVERSIONED;
        if !matches!(kind, "" | KIND) || !is_known {
            let (kind, version) = (quote(if kind.is_empty() { KIND } else { kind }), quote(version));
            let scheme = "pkg/client/auth/exec/exec.go:64";
            return Err(format!(
                "decoding stdout: no kind {kind} is registered for version {version} in scheme \"{scheme}\""
            ));
        }
        // Go decodes all of the answer before it looks at what is in it.
        types::check_credential(&answer).map_err(|why| format!("decoding stdout: {why}"))?;
        let expires = expiry(value::at(&answer, "status.expirationTimestamp"))?;
        if version != self.api_version {
            let own = &self.api_version;
            return Err(format!(
                "exec plugin is configured to use API version {own}, plugin returned version {version}"
            ));
        }
        if value::at(&answer, "status").is_null() {
            return Err("exec plugin didn't return a status field".into());
        }
        let text = |key: &str| Some(value::text(&answer, &format!("status.{key}"))).filter(|t| !t.is_empty());
        let (token, certificate, key) = (text("token"), text("clientCertificateData"), text("clientKeyData"));
        if token.is_none() && certificate.is_none() && key.is_none() {
            return Err("exec plugin didn't return a token or cert/key pair".into());
        }
        if certificate.is_some() != key.is_some() {
            return Err("exec plugin returned only certificate or key, not both".into());
        }
        let certificate = certificate.zip(key).map(|(c, k)| (c.as_bytes().to_vec(), k.as_bytes().to_vec()));
        Ok(Credential {
            token: token.map(String::from),
            expires: match &certificate {
                Some((certificate, key)) => sooner(expires, end_of(certificate, key)?),
                None => expires,
            },
            certificate,
        })
    }
}

/// Reads what a plugin has written: one JSON or YAML document. Go takes every text that begins with
/// a brace for JSON (`IsJSONBuffer`), so a flow mapping of YAML is refused, and so is text behind
/// JSON: a plugin that says more than it should is mended at once then.
fn decoded(stdout: &[u8]) -> Result<Value, String> {
    if stdout.trim_ascii_start().starts_with(b"{")
        && let Some(why) = json_syntax::error_of_document(stdout)
    {
        return Err(format!("couldn't get version/kind; json parse error: {why}"));
    }
    let answer = parse_yaml(stdout)?;
    if !(answer.is_object() || answer.is_null()) {
        return Err(no_mapping(&answer));
    }
    Ok(answer)
}

/// Returns true for a file that may be executed by its owner, its group or others.
fn is_executable(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Writes each character that is neither printed nor a space as Go's `%U` does: a kubeconfig that
/// came from elsewhere must not steer the terminal. Source: client-go, `cleanANSIEscapeCodes`.
///
/// Example: `ESC [31m` becomes `U+001B[31m`.
fn without_escapes(hint: &str) -> String {
    let is_kept = |c: char| is_print(c) || c.is_whitespace() && c != '\u{85}';
    let written = |c: char| if is_kept(c) { c.to_string() } else { format!("U+{:04X}", u32::from(c)) };
    hint.chars().map(written).collect()
}

/// Returns when a plugin may talk to the user. Versions before `v1` have a default (client-go's
/// `SetDefaults_ExecConfig`), also `v1alpha1`, which [`Plugin::of`] refuses by its name.
fn mode(exec: &Value) -> &str {
    let is_old = [VERSIONS[1], REMOVED].contains(&value::text(exec, "apiVersion"));
    match value::text(exec, "interactiveMode") {
        "" if is_old => "IfAvailable",
        given => given,
    }
}

/// Writes the default mode of each plugin into its user's entry, as client-go does when it reads a
/// kubeconfig: `kubectl config view` shows it.
pub(super) fn fill_modes(config: &mut Value) {
    for user in value::list_mut(config, "users") {
        let exec = value::at(user, "user.exec");
        let (is_plugin, mode) = (exec.is_object(), mode(exec).to_string());
        if is_plugin && !mode.is_empty() {
            value::put(user, "user.exec.interactiveMode", mode);
        }
    }
}

/// Returns when a credential expires, if the plugin says so. Errors: its text is no time. To keep
/// the credential forever instead would hide the plugin's fault until the server refuses it.
fn expiry(timestamp: &Value) -> Result<Option<Timestamp>, String> {
    let Some(text) = timestamp.as_str() else { return Ok(None) };
    gotime::parse_nearest(text).map(Some).map_err(|why| format!("decoding stdout: {why}"))
}

fn sooner(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

/// Returns when a certificate ends. Errors: it or its key is none, or the two are no pair.
fn end_of(certificate: &[u8], key: &[u8]) -> Result<Option<Timestamp>, String> {
    pki::check_pair(certificate, key)
        .map_err(|why| format!("failed parsing client key/certificate: {why}"))?;
    Ok(pki::valid_until(certificate))
}

/// Returns `spec.cluster` of a plugin's `ExecCredential`.
fn cluster_info(cluster: &Value, authority: Option<&[u8]>) -> Value {
    let mut info = serde_json::Map::new();
    let keep = |info: &mut serde_json::Map<String, Value>, keys: &[&str]| {
        for key in keys {
            let value = value::at(cluster, key);
            // As Go's `omitempty`.
            if !matches!(value, Value::Null | Value::Bool(false)) && value != "" {
                info.insert((*key).into(), value.clone());
            }
        }
    };
    keep(&mut info, &["server", "tls-server-name", "insecure-skip-tls-verify"]);
    if let Some(pem) = authority {
        let data = base64::engine::general_purpose::STANDARD.encode(pem);
        info.insert("certificate-authority-data".into(), data.into());
    }
    keep(&mut info, &["proxy-url", "disable-compression"]);
    let own = value::list(cluster, "extensions")
        .iter()
        .find(|e| value::text(e, "name") == "client.authentication.k8s.io/exec");
    info.insert("config".into(), own.map_or(Value::Null, |e| e["extension"].clone()));
    Value::Object(info)
}

#[cfg(test)]
mod tests;
