//! One command line: which verb, plugin or help it means, and its run with an exit code.

use crate::Env;
use crate::ctx::{Ctx, Streams};
use crate::error::{self, Fail};
use crate::io::Io;
use crate::output::Output;
use crate::{cmd, help, parse, table};
use api::gostr;
use std::sync::Arc;

/// The exit code of a command that was interrupted.
pub const INTERRUPTED: i32 = 130;

/// Runs one command line and returns its exit code. `args[0]` is the program's name.
pub async fn run(args: Vec<String>, io: Io, env: Env) -> i32 {
    let output = Arc::new(Output::new(io.stdout, io.stderr));
    let streams = Streams { stdin: io.stdin, terminal: io.terminal };
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

/// True if a command line asks the server of the usual kubeconfig. Help, a complaint about the
/// command line and what works on files alone need no server; `--kubeconfig` and `--server` name
/// another one.
pub fn asks_a_server(words: &[String]) -> bool {
    let Ok(parsed) = parse::parse(words) else { return false };
    let verb = parsed.verb.path;
    let own_version = verb == "version" && parsed.flags.is("client");
    let elsewhere = ["kubeconfig", "server"].iter().any(|name| !parsed.flags.global(name).is_empty());
    !(parsed.help || own_version || elsewhere || LOCAL.contains(&verb))
}

async fn command(
    args: &[String],
    streams: Streams,
    own: bool,
    env: Env,
    output: Arc<Output>,
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
    let ctx = Ctx::new(parsed.line(), streams, env, output);
    run(&ctx).await?;
    ctx.finish()
}
