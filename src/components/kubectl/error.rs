//! Failures of commands, and their texts in kubectl's words.

pub(crate) use api::gostr::io_error as go_io;
use api::gostr::quote;
use api::value;
use client::kubeconfig::{self, PluginError};
use client::remote;
use serde_json::Value;

/// A failed answer of the API server (`metav1.Status`).
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// The HTTP status code, 400 and more.
    pub code: u16,
    /// One word for programs, e.g. `NotFound` or `AlreadyExists`; may be empty.
    pub reason: String,
    /// A sentence for people: `pods "web" not found`.
    pub message: String,
    /// `details`, which name the object and the causes, or null.
    pub details: Value,
}

impl Refusal {
    /// Reads a `Status`. `code` is the HTTP status code, for a `Status` that has none.
    pub(crate) fn of(status: &Value, code: u16) -> Refusal {
        Refusal {
            code: value::int(status, "code").map_or(code, |c| c as u16),
            reason: value::text(status, "reason").to_string(),
            message: value::text(status, "message").to_string(),
            details: value::at(status, "details").clone(),
        }
    }

    /// `pods "x" not found`, in place of a server's message with other words.
    pub(crate) fn not_found(resource: &str, name: &str) -> Refusal {
        let message = format!("{resource} {} not found", quote(name));
        Refusal { code: 404, reason: "NotFound".into(), message, details: Value::Null }
    }

    /// The same refusal with a prefix before its message.
    pub(crate) fn prefixed(mut self, prefix: &str) -> Refusal {
        self.message = format!("{prefix}{}", self.message);
        self
    }
}

/// Why a command ended early.
#[derive(Debug, Clone)]
pub enum Fail {
    /// The server refused.
    Api(Refusal),
    /// No server at HOST:PORT.
    Refused(String),
    /// Another failure of the connection to the server.
    Transport(String),
    /// A sentence; printed after `error: `.
    Text(String),
    /// A sentence printed as it is.
    Plain(String),
    /// Several failures.
    Many(Vec<Fail>),
    /// Everything is printed already; only the exit code is left.
    Exit(i32),
    /// A sentence and an exit code.
    Coded(String, i32),
}

impl From<Refusal> for Fail {
    fn from(refusal: Refusal) -> Fail {
        Fail::Api(refusal)
    }
}

impl From<kubeconfig::Error> for Fail {
    fn from(error: kubeconfig::Error) -> Fail {
        match &error {
            kubeconfig::Error::NoContext(_) => Fail::Plain(error.to_string()),
            kubeconfig::Error::Invalid(faults) if faults.len() > 1 => Fail::Plain(error.to_string()),
            kubeconfig::Error::Proxy { cluster, proxy } => Fail::Text(format!(
                "cluster {} is reached through the proxy {proxy} (proxy-url), which ropewalk's built-in kubectl cannot do; remove it with `kubectl config unset clusters.{cluster}.proxy-url`, or use another kubectl",
                quote(cluster)
            )),
            _ => Fail::Text(error.to_string()),
        }
    }
}

impl From<PluginError> for Fail {
    fn from(error: PluginError) -> Fail {
        Fail::Transport(error.to_string())
    }
}

impl From<remote::Error> for Fail {
    fn from(error: remote::Error) -> Fail {
        match error {
            remote::Error::Refused(host) => Fail::Refused(host),
            remote::Error::Transport(why) => Fail::Transport(why),
            remote::Error::Unusable(why) => Fail::Text(why),
        }
    }
}

impl From<std::io::Error> for Fail {
    fn from(error: std::io::Error) -> Fail {
        Fail::Text(go_io(&error))
    }
}

/// Fails with a sentence, printed as `error: MESSAGE`.
///
/// # Errors
/// Always: [`Fail::Text`]. It is for `return`.
pub(crate) fn text<T>(message: impl Into<String>) -> Result<T, Fail> {
    Err(Fail::Text(message.into()))
}

impl Fail {
    /// A mistake in the use of a verb, with kubectl's hint.
    pub(crate) fn usage(command_path: &str, message: &str) -> Fail {
        Fail::Text(format!("{message}\nSee '{command_path} -h' for help and examples"))
    }

    /// The HTTP status code with which the server refused; `None` for every other failure.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Fail::Api(refusal) => Some(refusal.code),
            _ => None,
        }
    }

    /// True if the server has no such object or path.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Fail::Api(r) if r.reason == "NotFound" || (r.code == 404 && r.reason.is_empty()))
    }

    /// True if the server refused and names this cause, e.g. `NamespaceTerminating`.
    pub(crate) fn has_cause(&self, reason: &str) -> bool {
        let Fail::Api(refusal) = self else { return false };
        value::list(&refusal.details, "causes").iter().any(|c| value::text(c, "reason") == reason)
    }

    /// The first of several failures, for a verb that ends with it: kubectl's builder reads no
    /// further there, as it has no `ContinueOnError`.
    ///
    /// # Errors
    /// That failure.
    pub(crate) fn first(failures: Vec<Fail>) -> Result<(), Fail> {
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    /// Joins the failures of several objects into one.
    ///
    /// # Errors
    /// The only failure, or [`Fail::Many`] with all of them in their order.
    pub(crate) fn join(mut failures: Vec<Fail>) -> Result<(), Fail> {
        match failures.len() {
            0 => Ok(()),
            1 => Err(failures.remove(0)),
            _ => Err(Fail::Many(failures)),
        }
    }

    /// Go's `err.Error()`.
    pub(crate) fn message(&self) -> String {
        match self {
            Fail::Api(refusal) => refusal.message.clone(),
            Fail::Refused(host) => {
                format!(
                    "The connection to the server {host} was refused - did you specify the right host or port?"
                )
            }
            Fail::Transport(text) => text.clone(),
            Fail::Text(text) | Fail::Plain(text) | Fail::Coded(text, _) => text.clone(),
            // Go's `Aggregate`: each text once, and one alone without brackets.
            Fail::Many(all) => {
                let mut texts: Vec<String> = vec![];
                for text in all.iter().map(Fail::message) {
                    if !texts.contains(&text) {
                        texts.push(text);
                    }
                }
                match texts.as_slice() {
                    [one] => one.clone(),
                    many => format!("[{}]", many.join(", ")),
                }
            }
            Fail::Exit(_) => "exit".into(),
        }
    }

    /// `StandardErrorMessage`: for errors that have a form of their own.
    fn standard(&self) -> Option<String> {
        Some(match self {
            Fail::Api(r) if r.reason == "Unauthorized" => {
                format!("error: You must be logged in to the server ({})", r.message)
            }
            Fail::Api(r) if r.reason.is_empty() => format!("Error from server: {}", r.message),
            Fail::Api(r) => format!("Error from server ({}): {}", r.reason, r.message),
            Fail::Refused(_) => self.message(),
            Fail::Transport(text) => format!("Unable to connect to the server: {text}"),
            Fail::Plain(text) => text.clone(),
            _ => return None,
        })
    }

    /// Returns the text for standard error, and the exit code.
    pub fn report(&self) -> (String, i32) {
        let (mut text, code) = match self {
            Fail::Exit(code) => return (String::new(), *code),
            Fail::Coded(text, code) => (text.clone(), *code),
            Fail::Api(r) if r.reason == "Invalid" => (invalid(r), 1),
            Fail::Many(all) => {
                let lines: Vec<String> =
                    all.iter().map(|f| f.standard().unwrap_or_else(|| f.message())).collect();
                (lines.join("\n") + "\n", 1)
            }
            other => match other.standard() {
                Some(text) => (text, 1),
                None => {
                    let message = other.message();
                    (if message.starts_with("error: ") { message } else { format!("error: {message}") }, 1)
                }
            },
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        (text, code)
    }
}

fn invalid(refusal: &Refusal) -> String {
    let details = &refusal.details;
    let mut head = "The request is invalid".to_string();
    if details.is_null() {
        return format!("{head}: {}", refusal.message);
    }
    let causes = value::list(details, "causes");
    let (kind, name) = (value::text(details, "kind"), value::text(details, "name"));
    if !kind.is_empty() || !name.is_empty() {
        head = format!("The {kind} {} is invalid", quote(name));
    } else if !refusal.message.is_empty() && causes.is_empty() {
        head = format!("{head}: {}", refusal.message);
    }
    if causes.is_empty() {
        return head;
    }
    let mut lines: Vec<String> = vec![];
    for cause in causes {
        let text = format!("{}: {}", value::text(cause, "field"), value::text(cause, "message"));
        if !lines.contains(&text) {
            lines.push(text);
        }
    }
    match lines.as_slice() {
        [one] => format!("{head}: {one}"),
        many => format!("{head}: \n{}", many.iter().map(|t| format!("* {t}\n")).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn refusals_read_as_kubectl_prints_them() {
        let refusal = |status: Value| Fail::Api(Refusal::of(&status, 500)).report().0;
        assert_eq!(
            refusal(json!({"reason": "NotFound", "message": "pods \"x\" not found", "code": 404})),
            "Error from server (NotFound): pods \"x\" not found\n"
        );
        let causes =
            json!([{"field": "spec.a", "message": "Required value"}, {"field": "spec.b", "message": "bad"}]);
        assert_eq!(
            refusal(json!({"reason": "Invalid", "details": {"kind": "Pod", "name": "p", "causes": causes}})),
            "The Pod \"p\" is invalid: \n* spec.a: Required value\n* spec.b: bad\n"
        );
        let many = Fail::Many(vec![
            Fail::Text("a".into()),
            Fail::Api(Refusal { reason: "X".into(), message: "b".into(), ..Refusal::default() }),
        ]);
        assert_eq!(many.report(), ("a\nError from server (X): b\n".into(), 1));
        assert_eq!(many.message(), "[a, b]");
        let twice = Fail::Many(vec![Fail::Text("a".into()), Fail::Text("a".into())]);
        assert_eq!(twice.message(), "a");
    }
}
