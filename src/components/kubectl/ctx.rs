//! What a verb works with: flags, streams, and the cluster on demand.

use super::Env;
use super::error::{Fail, text};
use super::flag::Flags;
use super::io::Terminal;
use super::output::Output;
use super::wire::api::Api;
use super::wire::{discovery, overrides};
use api::gostr::quote;
use client::discovery::{Discovery, Resource};
use client::kubeconfig::{self, Kubeconfig, Target};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::OnceCell;

pub(crate) type Input = Box<dyn AsyncRead + Send + Unpin>;

/// Bytes of an answer to a question at most; the rest of a longer one is left unread.
const WORD_MAX: usize = 64;

/// Verbs that ask for the server before the namespace, beside those below `create`. Found by a run
/// of each verb of kubectl 1.33 with an unknown `--context`.
const SERVER_FIRST: &[&str] = &[
    "api-resources",
    "api-versions",
    "apply",
    "auth can-i",
    "auth whoami",
    "autoscale",
    "certificate approve",
    "certificate deny",
    "cluster-info",
    "cluster-info dump",
    "cordon",
    "create",
    "diff",
    "drain",
    "explain",
    "expose",
    "proxy",
    "replace",
    "run",
    "set env",
    "top node",
    "uncordon",
    "version",
    "wait",
];

/// Standard input of one command, and its terminal if it has one.
pub(crate) struct Streams {
    pub stdin: Input,
    pub terminal: Option<Arc<dyn Terminal>>,
    /// Standard output goes to a terminal.
    pub stdout_is_terminal: bool,
}

/// A command line that was understood.
pub(crate) struct Line {
    /// The verb's words after `kubectl`.
    pub verb: &'static str,
    /// The verb's usage line without `kubectl `.
    pub usage: &'static str,
    pub flags: Flags,
    pub args: Vec<String>,
    /// How many of `args` stood before `--`, if there was one.
    pub dash: Option<usize>,
}

/// `kubectl rollout status` of `rollout status`.
pub(crate) fn command_path(verb: &str) -> String {
    format!("kubectl {verb}").trim_end().to_string()
}

/// The context of one command: its line, its streams, and on demand its kubeconfig and its server.
pub(crate) struct Ctx {
    /// The verb's words after `kubectl`.
    pub verb: &'static str,
    /// The verb's usage line without `kubectl `.
    pub usage_line: &'static str,
    pub flags: Flags,
    pub args: Vec<String>,
    /// How many arguments stood before `--`, if there was one.
    pub dash: Option<usize>,
    pub env: Env,
    pub output: Arc<Output>,
    pub terminal: Option<Arc<dyn Terminal>>,
    pub stdout_is_terminal: bool,
    stdin: tokio::sync::Mutex<Option<Input>>,
    /// Standard input was read to its end.
    stdin_read: AtomicBool,
    api: OnceCell<Arc<Api>>,
    discovery: OnceCell<Arc<Discovery>>,
}

impl Ctx {
    /// A command that was parsed and has not begun: no file is read, no connection made.
    pub(crate) fn new(line: Line, streams: Streams, env: Env, output: Arc<Output>) -> Ctx {
        Ctx {
            verb: line.verb,
            usage_line: line.usage,
            flags: line.flags,
            args: line.args,
            dash: line.dash,
            env,
            output,
            terminal: streams.terminal,
            stdout_is_terminal: streams.stdout_is_terminal,
            stdin: tokio::sync::Mutex::new(Some(streams.stdin)),
            stdin_read: AtomicBool::new(false),
            api: OnceCell::new(),
            discovery: OnceCell::new(),
        }
    }

    /// The command without arguments and flags: `kubectl rollout status`.
    pub(crate) fn command_path(&self) -> String {
        command_path(self.verb)
    }

    /// Prints to standard output.
    pub(crate) fn out(&self, text: impl AsRef<str>) {
        self.output.out(text.as_ref());
    }

    /// Prints a line.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        self.output.out(text.as_ref());
        self.output.out("\n");
    }

    /// Prints a line to standard error.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        self.output.err(text.as_ref());
        self.output.err("\n");
    }

    /// Refuses a command line that this verb cannot use.
    ///
    /// # Errors
    /// Always: [`Fail::Text`] with the message and a hint at `-h`. It is for `return`.
    pub(crate) fn usage<T>(&self, message: impl AsRef<str>) -> Result<T, Fail> {
        Err(Fail::usage(&self.command_path(), message.as_ref()))
    }

    /// Reads the kubeconfig files that flags and environment name.
    ///
    /// # Errors
    /// As [`Kubeconfig::load`].
    pub(crate) fn kubeconfig(&self) -> Result<Kubeconfig, Fail> {
        Ok(Kubeconfig::load(&self.env, self.flags.global("kubeconfig"))?)
    }

    /// As [`Ctx::kubeconfig`], for `kubectl config`: the file of `--kubeconfig` need not be there
    /// (client-go's `GetStartingConfig`).
    ///
    /// # Errors
    /// As [`Kubeconfig::load_or_new`].
    pub(crate) fn kubeconfig_or_new(&self) -> Result<Kubeconfig, Fail> {
        Ok(Kubeconfig::load_or_new(&self.env, self.flags.global("kubeconfig"))?)
    }

    /// The server to connect to, the user and the namespace.
    ///
    /// # Errors
    /// As [`Kubeconfig::load`] and [`Kubeconfig::target`].
    pub(crate) fn target(&self) -> Result<Target, Fail> {
        let found = self.kubeconfig()?.target(&self.env, &overrides(&self.flags));
        found.map_err(|error| self.unusable(error))
    }

    /// Says why the kubeconfig names no server. client-go has two sentences for a `--context` or
    /// `--cluster` that is not there: that of the namespace, which is the error's own, and that of
    /// the server. kubectl prints the sentence of the one that the verb reads first.
    fn unusable(&self, error: kubeconfig::Error) -> Fail {
        let is_server_first = !self.flags.global("namespace").is_empty()
            || SERVER_FIRST.contains(&self.verb)
            || (self.verb == "get" && !self.flags.text("raw").is_empty())
            || (self.verb.starts_with("create ") && self.verb != "create token");
        let by_flag = !self.flags.global("context").is_empty();
        match &error {
            kubeconfig::Error::NoContext(name) if is_server_first && by_flag => {
                Fail::Text(format!("context {} does not exist", quote(name)))
            }
            kubeconfig::Error::NoCluster(name) if is_server_first => {
                Fail::Text(format!("cluster {} does not exist", quote(name)))
            }
            _ => Fail::from(error),
        }
    }

    /// The client of the API server, made at the first call.
    ///
    /// # Errors
    /// [`Fail::Text`]: `--request-timeout` is no duration. Also as [`Ctx::target`] and
    /// [`Api::new`]. The next call tries again.
    pub(crate) async fn api(&self) -> Result<&Arc<Api>, Fail> {
        self.api
            .get_or_try_init(|| async {
                let limit = match self.flags.global("request-timeout") {
                    "" | "0" => None,
                    limit => {
                        let limit = match limit.parse::<i64>() {
                            Ok(secs) if secs >= 0 => api::gostr::Nanos::secs(secs),
                            _ => api::gostr::parse_duration(limit).map_err(|_| {
                                Fail::Text("Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a corresponding time unit (e.g. 1s | 2m | 3h)".into())
                            })?,
                        };
                        Some(limit.duration()).filter(|d| !d.is_zero())
                    }
                };
                let command = self.command_path();
                let target = self.target()?;
                let tries = Some(self.flags.text("dry-run")).filter(|_| self.flags.is_trial());
                // An empty format is sent, too: a client without the header may have any format.
                // With `--ignore-not-found` the user does not see a refusal.
                let silent = Some("true").filter(|_| self.flags.is("ignore-not-found"));
                let watch = match self.flags.is("watch-only") {
                    true => Some("only"), // `tap::WATCH_ONLY`
                    false => Some("true").filter(|_| self.flags.is("watch")),
                };
                let manner = [
                    ("kubectl-output", Some(self.flags.text("output"))),
                    ("kubectl-dry-run", tries),
                    ("kubectl-ignore-not-found", silent),
                    ("kubectl-watch", watch),
                    ("kubectl-unseen", self.env.unseen),
                ];
                let output = self.output.clone();
                Ok(Arc::new(Api::new(target, &self.env, &command, &manner, output, limit).await?))
            })
            .await
    }

    /// The resources of the server, read at the first call.
    ///
    /// # Errors
    /// As [`Ctx::api`] and [`discovery::load`].
    pub(crate) async fn discovery(&self) -> Result<&Arc<Discovery>, Fail> {
        self.discovery
            .get_or_try_init(|| async { Ok(Arc::new(discovery::load(self.api().await?).await?)) })
            .await
    }

    /// The resource that a word means: a plural, singular, short name or kind, also with a group. A
    /// warning is printed for a short name that several resources have.
    ///
    /// # Errors
    /// [`Fail::Text`] in kubectl's words: the server has no such resource. Also as
    /// [`Ctx::discovery`].
    pub(crate) async fn resource(&self, word: &str) -> Result<Arc<Resource>, Fail> {
        let discovery = self.discovery().await?;
        let name = api::gostr::quote(word.split('.').next().unwrap_or(word));
        for other in discovery.lower_priority(word) {
            self.note(format!("Warning: short name {name} could also match lower priority resource {other}"));
        }
        match discovery.find(word) {
            Some(resource) => Ok(resource),
            None => text(format!("the server doesn't have a resource type {name}")),
        }
    }

    /// The namespace to work in, and whether the user named it.
    ///
    /// # Errors
    /// As [`Ctx::target`], if no flag names a namespace.
    pub(crate) fn namespace(&self) -> Result<(String, bool), Fail> {
        match self.flags.global("namespace") {
            "" => Ok((self.target()?.namespace, false)),
            named => Ok((named.to_string(), true)),
        }
    }

    /// Returns whether `-f` or `-k` was given.
    pub(crate) fn names_files(&self) -> bool {
        !self.flags.list("filename").is_empty() || !self.flags.text("kustomize").is_empty()
    }

    /// Reads standard input to its end, for one argument of the command (`-f -`).
    pub(crate) async fn read_stdin(&self) -> Result<Vec<u8>, Fail> {
        if self.stdin_read.swap(true, Ordering::Relaxed) {
            return text("standard input cannot be used for multiple arguments");
        }
        self.output.flush().await;
        let mut bytes = vec![];
        if let Some(stdin) = self.stdin.lock().await.as_mut() {
            stdin.read_to_end(&mut bytes).await?;
        }
        Ok(bytes)
    }

    /// The word on the next line of standard input, as an answer to a question; empty if the line
    /// has none, or several.
    pub(crate) async fn read_word(&self) -> Result<String, Fail> {
        self.output.flush().await;
        let (mut word, mut byte) = (vec![], [0]);
        if let Some(stdin) = self.stdin.lock().await.as_mut() {
            while word.len() < WORD_MAX && stdin.read(&mut byte).await? == 1 {
                if byte == *b"\n" {
                    break;
                }
                word.push(byte[0]);
            }
        }
        let line = String::from_utf8_lossy(&word);
        let mut words = line.split_whitespace();
        Ok(words.next().filter(|_| words.next().is_none()).unwrap_or_default().to_string())
    }

    /// Standard input itself, for a stream; `None` if it was taken before.
    pub(crate) async fn take_stdin(&self) -> Option<Input> {
        self.stdin.lock().await.take()
    }

    /// A path of the user, from the working directory of the command.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.env.cwd.join(path)
    }

    /// Applies `--warnings-as-errors` when the verb has succeeded.
    ///
    /// # Errors
    /// [`Fail::Text`] with the number of warnings that the server sent. What the verb did stays.
    pub(crate) fn finish(&self) -> Result<(), Fail> {
        let warned = self.api.get().map_or(0, |api| api.warnings());
        match warned {
            1 if self.flags.is("warnings-as-errors") => text("1 warning received"),
            n if n > 0 && self.flags.is("warnings-as-errors") => text(format!("{n} warnings received")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    /// The sentences are those of kubectl 1.33.
    #[tokio::test]
    async fn a_context_or_cluster_that_is_not_there_is_reported_as_by_the_verb() {
        let server = Server::away().await;
        let of_namespace = "Error in configuration: context was not found for specified context: no\n";
        let of_server = "error: context \"no\" does not exist\n";
        for (line, want) in [
            ("get pods --context=no", of_namespace),
            ("create token x --context=no", of_namespace),
            ("get pods -n x --context=no", of_server),
            ("get --raw=/api --context=no", of_server),
            ("create ns x --context=no", of_server),
            ("wait pod x --for=delete --context=no", of_server),
            ("version --context=no", of_server),
            ("get pods --cluster=no", "error: no server found for cluster \"no\"\n"),
            ("version --cluster=no", "error: cluster \"no\" does not exist\n"),
        ] {
            let result = server.kubectl(&line.split(' ').collect::<Vec<&str>>()).await;
            assert_eq!((result.code, result.err.as_str()), (1, want), "{line}");
        }
    }
}
