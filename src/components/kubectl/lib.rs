//! # kubectl: the cluster from the outside
//!
//! ## In Kubernetes
//! kubectl is a client like any other: it turns a line into a few requests to the API server and
//! prints the answers. It holds no power of its own; whatever it does, curl could do. What makes it
//! kubectl is its words: the verbs, the tables, the three-way merge of `apply`, the texts of its
//! errors.
//! ## How this one works
//! [`table`] is the one table of verbs and flags; parsing ([`parse`]), help, completion and
//! dispatch derive from it. A verb is an async function over a [`ctx::Ctx`]: the flags, the
//! streams, and on demand the kubeconfig, a connection ([`wire::api::Api`]) and the server's list
//! of resources ([`wire::discovery`]). [`builder`] turns `deploy/web` or `-l app=web` into objects,
//! [`files`] does so with `-f x.yaml`; [`print`](mod@print) turns objects into text. [`merge`]
//! computes the patches of `apply`; [`describe`] tells all about one object. Streams are handed in
//! ([`Io`]), so the REPL runs a command in its own process and can cancel it. The texts are those
//! of kubectl 1.35, of which there are transcripts: `tests/it/kubectl.rs` compares every byte, and
//! a real kubectl of that version where there is one. [`VERSION`] is the API's.
//! ## Left out
//! Applysets and the discovery cache on disk; `debug node/…` and `debug --custom`; clusters behind
//! a proxy (a `proxy-url` is refused, `HTTPS_PROXY` is not read); half-closed connections of
//! `port-forward` to kubelets of others, whose WebSocket protocol has none. `--wait` of `apply` and
//! `replace` and `--openapi-patch` change nothing, as in kubectl; of `kustomize` components,
//! generators, transformers and functions (`-e`), and remote bases; each says so. Of 1.35
//! `--as-user-extra` and `top --show-swap`; `completion powershell`, `explain -o
//! plaintext-openapiv2`, `api-resources -o json`. Typed verbs send JSON where kubectl sends
//! protobuf. Klog lines (`-v`, retries of discovery) are not printed. A key that stands
//! twice in a map of a manifest is a warning, of which kubectl says nothing. Who names no
//! credentials is anonymous and not asked for a name and a password; go-templates nest a hundred
//! levels deep at most; in a pod without a kubeconfig `--as` acts in the pod's own cluster, where
//! kubectl looks for a server at localhost:8080; `proxy` always sends the kubeconfig's own
//! credentials.
//! ## Read next
//! `apiserver`, which answers; `cmd/get.rs`, the verb to start with.

mod builder;
mod cmd;
pub mod complete;
mod ctx;
mod describe;
pub mod error;
mod files;
pub mod flag;
mod glob;
mod help;
mod info;
pub mod kept;
mod kustomize;
pub mod manifest;
mod merge;
mod output;
pub mod parse;
mod print;
pub mod stdio;
pub mod table;
#[cfg(test)]
mod testing;
pub mod wire;

pub use complete::complete;
pub use print::formats::print_template;
pub use stdio::main_with_stdio;
pub use wire::api::MANNER_MAX;

use api::gostr;
use error::Fail;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What `kubectl version --client` says.
pub const VERSION: &str = api::VERSION;
/// The exit code of a command that was interrupted.
pub const INTERRUPTED: i32 = 130;

/// A terminal behind the streams, for `exec -t` and the like.
pub trait Terminal: Send + Sync {
    /// Both input and output are terminals.
    fn is_tty(&self) -> bool;
    /// Columns and rows, and every change of them.
    fn size(&self) -> watch::Receiver<(u16, u16)>;
    /// Switches between raw mode (keys go to the remote program as they are) and the mode it was
    /// in.
    fn raw(&self, on: bool);
}

/// The streams of one command.
pub struct Io {
    pub stdin: Box<dyn AsyncRead + Send + Unpin>,
    pub stdout: Box<dyn AsyncWrite + Send + Unpin>,
    pub stderr: Box<dyn AsyncWrite + Send + Unpin>,
    pub terminal: Option<Arc<dyn Terminal>>,
    /// These are this process' own streams: a plugin inherits them. Otherwise a plugin reads
    /// `stdin` and writes to the others through pipes.
    pub own: bool,
    /// Ctrl-C. A cancelled command returns 130.
    pub cancel: CancellationToken,
}

/// What a command finds around it.
#[derive(Clone, Debug, Default)]
pub struct Env {
    /// Used unless `--kubeconfig` is given, whatever `KUBECONFIG` says.
    pub kubeconfig: Option<PathBuf>,
    /// `KUBECONFIG`, `HOME`, `EDITOR`, `KUBE_EDITOR`, …
    pub vars: BTreeMap<String, String>,
    /// What relative paths start from.
    pub cwd: PathBuf,
}

impl Env {
    /// This process' own.
    pub fn of_process() -> Env {
        Env {
            kubeconfig: None,
            vars: std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
            cwd: std::env::current_dir().unwrap_or_else(|_| "/".into()),
        }
    }
}

/// Runs one command line and returns its exit code. `args[0]` is the program's name.
pub async fn run(args: Vec<String>, io: Io, env: Env) -> i32 {
    let output = Arc::new(output::Output::new(io.stdout, io.stderr));
    let streams = ctx::Streams { stdin: io.stdin, terminal: io.terminal, cancel: io.cancel.clone() };
    let work = command(&args, streams, io.own, env, output.clone());
    let gone = output.gone.clone();
    let code = tokio::select! {
        biased;
        result = work => match result {
            Ok(()) => 0,
            Err(fail) => {
                let (text, code) = fail.told();
                output.err(&text);
                code
            }
        },
        () = io.cancel.cancelled() => INTERRUPTED,
        () = gone.cancelled() => 1,
    };
    output.flush().await;
    code
}

/// Could these words mean a plugin? They begin with no verb, or with one that plugins may extend.
/// Whether there is such a plugin depends on PATH.
pub fn may_be_plugin(words: &[String]) -> bool {
    cmd::plugin::words_for_name(words).is_some()
}

/// Verbs that work on files, or on nothing.
const LOCAL: &[&str] = &["", "help", "options", "completion", "kustomize", "plugin list"];

/// Help, a complaint about the command line and what works on files alone need no server.
pub fn asks_a_server(words: &[String]) -> bool {
    let Ok(parsed) = parse::parse(words) else { return false };
    let verb = parsed.verb.path;
    let own_version = verb == "version" && parsed.flags.is("client");
    !(parsed.help || own_version || LOCAL.contains(&verb))
}

async fn command(
    args: &[String],
    streams: ctx::Streams,
    own: bool,
    env: Env,
    output: Arc<output::Output>,
) -> Result<(), Fail> {
    let words = args.get(1..).unwrap_or_default();
    if words.first().is_some_and(|w| w == "__complete") {
        return cmd::info::complete_words(&words[1..], env, output).await;
    }
    if let Some((plugin, rest)) = cmd::plugin::find(words, &env) {
        let input = (!own).then_some(streams.stdin);
        return cmd::plugin::run(&plugin, &rest, &env, input, &output).await;
    }
    let parsed = parse::parse(words)?;
    if parsed.help {
        output.out(&help::of(parsed.verb));
        return Ok(());
    }
    let refused = table::REFUSED.iter().find(|name| {
        let usual = parsed.verb.flag(name).map_or("", |flag| flag.default);
        parsed.flags.changed(name) && parsed.flags.text(name) != usual
    });
    if let Some(name) = refused {
        return error::text(format!(
            "--{name} is not implemented in ropewalk's built-in kubectl; leave it out, or use another kubectl"
        ));
    }
    let missing: Vec<String> = parsed
        .verb
        .required
        .iter()
        .filter(|name| !parsed.flags.changed(name))
        .map(|name| gostr::quote(name))
        .collect();
    if !missing.is_empty() {
        return error::text(format!("required flag(s) {} not set", missing.join(", ")));
    }
    let run = parsed.verb.run;
    let ctx = ctx::Ctx::new(parsed.line(), streams, env, output);
    run(&ctx).await?;
    ctx.finish()
}
