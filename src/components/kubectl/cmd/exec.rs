//! exec and attach: a process in a container, its streams on this terminal.

use super::common::pod_running_timeout;
use super::pods::{container_of, pod_in_file, pod_of};
use crate::beside;
use crate::ctx::{Ctx, command_path};
use crate::error::{Fail, text};
use crate::info::Info;
use crate::scheme;
use crate::wire::stream::{self, Given};
use api::value;
use serde_json::Value;

const PROTOCOL: &str = "v5.channel.k8s.io";
/// The warning of `attach`: a terminal shows what is typed, so the container's log has it, too.
const RECORDED: &str = "All commands and output from this session will be recorded in container logs, including credentials and sensitive information passed through the command prompt.";

/// The streams of a session; `quiet` leaves out the notes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Session {
    pub stdin: bool,
    pub tty: bool,
    pub quiet: bool,
}

/// Keeps the terminal in raw mode until it is dropped.
struct Raw<'a>(Option<&'a Ctx>);

impl Raw<'_> {
    fn on(ctx: &Ctx) -> Raw<'_> {
        if let Some(terminal) = &ctx.terminal {
            terminal.raw(true);
        }
        Raw(Some(ctx))
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        if let Some(terminal) = self.0.and_then(|ctx| ctx.terminal.as_ref()) {
            terminal.raw(false);
        }
    }
}

/// Drops `--tty` without `--stdin`, and with a message if there is no terminal.
fn tty_allowed(ctx: &Ctx, session: &mut Session) {
    if session.tty && (!session.stdin || ctx.terminal.is_none()) {
        session.tty = false;
        if session.stdin && !session.quiet {
            ctx.note("Unable to use a TTY - input is not a terminal or the right kind of file");
        }
    }
}

async fn hold(
    ctx: &Ctx,
    path: &str,
    query: &[(&str, &str)],
    session: Session,
    redraw: bool,
) -> Result<(), Fail> {
    // Notes are written before raw mode, in which a new line does not begin at the left edge.
    ctx.output.flush().await;
    let raw = if session.tty { Raw::on(ctx) } else { Raw(None) };
    let socket = stream::connect(ctx.api().await?, path, query, PROTOCOL).await?;
    ctx.output.flush().await;
    let given = Given {
        stdin: if session.stdin { ctx.take_stdin().await } else { None },
        sizes: ctx.terminal.as_ref().filter(|_| session.tty).map(|t| t.size()),
        redraw,
    };
    let outcome = stream::process(socket, given, &ctx.output).await;
    drop(raw);
    outcome
}

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let files = ctx.flags.list("filename");
    let (pod, command) = match ctx.dash {
        None if ctx.args.len() > 1 => {
            return ctx
                .usage("exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead");
        }
        None => (ctx.args.first(), &[][..]),
        Some(0) => (None, &ctx.args[..]),
        Some(at) => (ctx.args.first(), &ctx.args[at..]),
    };
    if !files.is_empty() && ctx.dash.is_none() && !ctx.args.is_empty() {
        return ctx
            .usage("exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead");
    }
    let pod = pod.filter(|pod| !pod.is_empty());
    if pod.is_none() && files.is_empty() {
        return text("pod, type/name or --filename must be specified");
    }
    if command.is_empty() {
        return text("you must specify at least one command for the container");
    }
    pod_running_timeout(ctx)?;
    let info = match pod {
        Some(pod) if files.is_empty() => pod_of(ctx, pod, scheme::OF_KUBECTL).await?,
        Some(_) => return Err(beside::refusal(ctx, &files, true)),
        None => pod_in_file(ctx, &files).await?,
    };
    let phase = value::text(&info.object, "status.phase");
    if matches!(phase, "Succeeded" | "Failed") {
        return text(format!("cannot exec into a container in a completed pod; current phase is {phase}"));
    }
    let mut session =
        Session { stdin: ctx.flags.is("stdin"), tty: ctx.flags.is("tty"), quiet: ctx.flags.is("quiet") };
    let container = container_of(ctx, &info.object, session.quiet)?;
    tty_allowed(ctx, &mut session);
    let mut query: Vec<(&str, &str)> = command.iter().map(|c| ("command", c.as_str())).collect();
    query.push(("container", &container));
    streams(&mut query, session);
    hold(ctx, &format!("{}/exec", info.path()), &query, session, false).await
}

fn streams<'a>(query: &mut Vec<(&'a str, &'a str)>, session: Session) {
    if !session.tty {
        query.push(("stderr", "true"));
    }
    if session.stdin {
        query.push(("stdin", "true"));
    }
    query.push(("stdout", "true"));
    if session.tty {
        query.push(("tty", "true"));
    }
}

/// Runs a command without a terminal; for cp.
pub(crate) async fn plain(
    ctx: &Ctx,
    info: &Info,
    container: &str,
    command: &[&str],
    stdin: Option<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    output: &std::sync::Arc<crate::output::Output>,
) -> Result<(), Fail> {
    let mut query: Vec<(&str, &str)> = command.iter().map(|c| ("command", *c)).collect();
    query.push(("container", container));
    streams(&mut query, Session { stdin: stdin.is_some(), ..Session::default() });
    let socket =
        stream::connect(ctx.api().await?, &format!("{}/exec", info.path()), &query, PROTOCOL).await?;
    stream::process(socket, Given { stdin, sizes: None, redraw: false }, output).await
}

/// Attaches to a running container, and says at the end how to come back. The text names the verb
/// `attach`, also where `run` or `debug` attached.
pub(crate) async fn attach_to(
    ctx: &Ctx,
    info: &Info,
    container: &str,
    mut session: Session,
) -> Result<(), Fail> {
    let lists = ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"];
    let mut specs = lists.iter().flat_map(|list| value::list(&info.object, list));
    let spec = specs.find(|c| c["name"] == container);
    if session.tty && !spec.is_some_and(|c| value::flag(c, "tty")) {
        session.tty = false;
        if !session.quiet {
            ctx.note(format!("error: Unable to use a TTY - container {container} did not allocate one"));
        }
    }
    // A container with a terminal answers in a terminal's form, whatever `--tty` says.
    session.tty |= session.stdin && spec.is_some_and(|c| value::flag(c, "tty"));
    tty_allowed(ctx, &mut session);
    if !session.quiet {
        ctx.note(RECORDED);
        ctx.note("If you don't see a command prompt, try pressing enter.");
    }
    let mut query = vec![("container", container)];
    streams(&mut query, session);
    hold(ctx, &format!("{}/attach", info.path()), &query, session, true).await?;
    if let Some(how) = way_back(&info.object, container, session) {
        ctx.line(how);
    }
    Ok(())
}

/// Says how to attach again to a container that goes on, or starts again, without its session.
/// `None`: the session had no terminal, or the pod does not restart its containers.
fn way_back(pod: &Value, container: &str, session: Session) -> Option<String> {
    let goes_on = value::text(pod, "spec.restartPolicy") == "Always";
    if session.quiet || !session.stdin || !session.tty || !goes_on {
        return None;
    }
    let name = value::text(pod, "metadata.name");
    let command = format!("{} {name} -c {container} -i -t", command_path("attach"));
    let ephemeral = value::list(pod, "spec.ephemeralContainers");
    Some(match ephemeral.iter().any(|c| value::text(c, "name") == container) {
        true => format!(
            "Session ended, the ephemeral container will not be restarted but may be reattached using '{command}' if it is still running"
        ),
        false => format!("Session ended, resume using '{command}' command when the pod is running"),
    })
}

pub(crate) async fn attach(ctx: &Ctx) -> Result<(), Fail> {
    let word = &match ctx.args.as_slice() {
        [word] => word.clone(),
        [kind, name] => format!("{kind}/{name}"),
        [] => return text("at least 1 argument is required for attach"),
        _ => {
            return text(format!(
                "expected POD, TYPE/NAME, or TYPE NAME, (at most 2 arguments) saw {}: [{}]",
                ctx.args.len(),
                ctx.args.join(" ")
            ));
        }
    };
    pod_running_timeout(ctx)?;
    let info = pod_of(ctx, word, scheme::OF_KUBECTL).await?;
    let phase = value::text(&info.object, "status.phase");
    if matches!(phase, "Succeeded" | "Failed") {
        return text(format!("cannot attach a container in a completed pod; current phase is {phase}"));
    }
    let session =
        Session { stdin: ctx.flags.is("stdin"), tty: ctx.flags.is("tty"), quiet: ctx.flags.is("quiet") };
    let container = container_of(ctx, &info.object, session.quiet).map_err(|fail| match fail {
        Fail::Text(why) => Fail::Text(format!("cannot attach to the container: {why}")),
        other => other,
    })?;
    attach_to(ctx, &info, &container, session).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::Kept;
    use crate::testing::Server;
    use crate::{Env, Io, Terminal};
    use parking_lot::Mutex;
    use serde_json::json;
    use std::sync::Arc;
    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;

    /// A terminal that keeps what it showed when it went into raw mode.
    struct Screen {
        notes: Kept,
        before: Mutex<String>,
        size: watch::Sender<(u16, u16)>,
    }

    impl Terminal for Screen {
        fn size(&self) -> watch::Receiver<(u16, u16)> {
            self.size.subscribe()
        }
        fn raw(&self, on: bool) {
            if on {
                *self.before.lock() = self.notes.text();
            }
        }
    }

    #[tokio::test]
    async fn notes_are_shown_before_the_terminal_is_raw() {
        let server = Server::start().await;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        server.hold("/api/v1/namespaces/default/pods/web", pod);
        let notes = Kept::all();
        let (size, before) = (watch::channel((80, 24)).0, Mutex::default());
        let screen = Arc::new(Screen { notes: notes.clone(), before, size });
        let io = Io {
            stdin: Box::new(tokio::io::empty()),
            stdout: Box::new(Kept::all()),
            stderr: Box::new(notes),
            terminal: Some(screen.clone()),
            stdout_is_terminal: true,
            own: false,
            cancel: CancellationToken::new(),
        };
        let words = ["kubectl", "exec", "-it", "web", "--server", &server.address, "--", "sh"];
        crate::run(words.map(String::from).to_vec(), io, Env::default()).await;
        let before = screen.before.lock().clone();
        assert!(before.starts_with("Defaulted container \"a\" out of: a, b\n"), "{before}");
    }

    #[test]
    fn a_session_in_a_terminal_says_how_to_come_back() {
        let session = Session { stdin: true, tty: true, quiet: false };
        let pod = |policy: &str| {
            json!({"metadata": {"name": "p"}, "spec": {"restartPolicy": policy,
                "containers": [{"name": "c"}], "ephemeralContainers": [{"name": "e"}]}})
        };
        let always = pod("Always");
        let want =
            "Session ended, resume using 'kubectl attach p -c c -i -t' command when the pod is running";
        assert_eq!(way_back(&always, "c", session).as_deref(), Some(want));
        let want = "Session ended, the ephemeral container will not be restarted but may be reattached using 'kubectl attach p -c e -i -t' if it is still running";
        assert_eq!(way_back(&always, "e", session).as_deref(), Some(want));
        for silent in [
            Session { tty: false, ..session },
            Session { stdin: false, ..session },
            Session { quiet: true, ..session },
        ] {
            assert_eq!(way_back(&always, "c", silent), None);
        }
        assert_eq!(way_back(&pod("Never"), "c", session), None);
    }

    /// With a pod of the same name in both namespaces, the command would run in the wrong one.
    #[tokio::test]
    async fn a_file_names_the_namespace_in_which_the_command_runs() {
        let pod = |namespace: &str| {
            json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a"}]},
                "metadata": {"name": "web", "namespace": namespace, "labels": {"app": "web"}}})
        };
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}}});
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        for namespace in ["shop", "default"] {
            server.hold(&format!("/api/v1/namespaces/{namespace}/pods/web"), pod(namespace));
        }
        server.hold("/apis/apps/v1/namespaces/shop/deployments/web", deployment.clone());
        for (kind, object) in [("pod", pod("shop")), ("deployment", deployment)] {
            let file = dir.path().join(format!("{kind}.yaml"));
            std::fs::write(&file, object.to_string()).unwrap();
            let result = server.kubectl(&["exec", "-f", &file.display().to_string(), "--", "date"]).await;
            let requests = server.requests();
            let last = requests.last().map_or("", |request| request.path.as_str());
            assert_eq!(last, "/api/v1/namespaces/shop/pods/web/exec", "{kind}: {result:?}");
        }
    }

    #[tokio::test]
    async fn attach_takes_a_type_and_a_name_and_names_all_containers() {
        let server = Server::start().await;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"containers": [{"name": "a", "tty": true}], "initContainers": [{"name": "i"}],
            "ephemeralContainers": [{"name": "e"}]}});
        server.hold("/api/v1/namespaces/default/pods/web", pod);
        let result = server.kubectl(&["attach", "pod", "web", "-i"]).await;
        assert!(
            result.err.contains("Defaulted container \"a\" out of: a, e (ephem), i (init)"),
            "{result:?}"
        );
        assert!(result.err.contains("Unable to use a TTY - input is not a terminal"), "{result:?}");
        assert!(result.err.contains("will be recorded in container logs"), "{result:?}");
        let requests = server.requests();
        assert!(
            requests.last().is_some_and(|request| request.path.ends_with("/pods/web/attach")),
            "{requests:?}"
        );
    }
}
