//! `up`, `down`, `status`, `reset`, `kubeconfig`, `fault`, `kubectl`, `etcdctl`, and the cluster
//! that `repl` and `learn` connect to.

use super::args::{self, NodeAct, Output, Session, Up};
use anyhow::{Context, anyhow, bail};
use cluster::control::{self, Ask, Control};
use cluster::external_etcd::ExternalEtcd;
use cluster::faults::{Act, Broken, Fault, component_and_node};
use cluster::home::Home;
use cluster::launch::{self, Launched, WHOLE_MAX};
use cluster::{Error, Place, Refusal, Spec, kubeconfig, wipe};
use etcdctl::Preset;
use lang::Lang;
use lang::charset::{eprint, eprintln, println};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::io::{IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use ui::options::Options;
use ui::repl;
use ui::texts::Say;
use ui::{connection, consent, settings};

/// A cluster that was asked to stop ends within this time.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// A text in the language of this home.
fn say(place: &Place, what: Say, with: &[&str]) -> String {
    settings::language(None, &place.home).say(what, with)
}

fn refuse(refusal: Refusal) -> anyhow::Error {
    Error::from(refusal).into()
}

/// What to start: what the cluster was made of, changed by what the command line says.
fn plan(place: &Place, up: &Up) -> anyhow::Result<Spec> {
    let known = Spec::load(place)?;
    let mut spec = known.clone().unwrap_or_else(|| Spec::new(&up.name));
    if let Some(n) = up.control_planes {
        if !matches!(n, 1 | 3 | 5) {
            return Err(refuse(Refusal::ControlPlanes { asked: n }));
        }
        if known.is_some() && n != spec.control_planes {
            let (name, made) = (up.name.clone(), spec.control_planes);
            return Err(refuse(Refusal::ControlPlanesStay { name, asked: n, made }));
        }
        spec.control_planes = n;
    }
    let files = [&up.etcd_cafile, &up.etcd_certfile, &up.etcd_keyfile];
    if !up.etcd.is_empty() || files.iter().any(|file| file.is_some()) {
        if known.is_some_and(|known| known.external_etcd.is_none()) {
            return Err(refuse(Refusal::OwnStore { name: up.name.clone() }));
        }
        let mut etcd = match spec.external_etcd.take() {
            Some(etcd) => etcd,
            None if up.etcd.is_empty() => return Err(refuse(Refusal::FilesWithoutEtcd)),
            None => ExternalEtcd::default(),
        };
        // Each option changes its own field; what is not named stays as it was.
        if !up.etcd.is_empty() {
            etcd.endpoints.clone_from(&up.etcd);
        }
        for (field, path) in [&mut etcd.cacert, &mut etcd.cert, &mut etcd.key].into_iter().zip(files) {
            if let Some(path) = path {
                *field = Some(std::path::absolute(path).with_context(|| path.display().to_string())?);
            }
        }
        spec.external_etcd = Some(etcd);
    }
    spec.clock = up.clock.unwrap_or(1);
    if !cluster::spec::is_scale(spec.clock) {
        return Err(refuse(Refusal::Clock { asked: spec.clock }));
    }
    spec.workers = up.workers.unwrap_or(spec.workers);
    spec.node_ports = up.node_ports.unwrap_or(spec.node_ports);
    spec.api_port = up.api_port.or(spec.api_port);
    Ok(spec)
}

fn progress_line(value: &Value) -> String {
    let mark = |key: &str| if value[key] == true { "ok" } else { ".." };
    format!(
        "store {}  api {}  nodes {}/{}  kube-system {}/{}",
        mark("store"),
        mark("api"),
        value["nodesReady"],
        value["nodes"],
        value["podsRunning"],
        value["pods"]
    )
}

/// Follows a start until it is complete. Progress goes to a terminal only.
///
/// # Errors
/// The cluster ended, or it is not complete after [`WHOLE_MAX`] and `patient` is not set: a script
/// would otherwise wait for ever.
async fn wait(place: &Place, patient: bool) -> anyhow::Result<()> {
    let mut control = Control::connect(place).await?;
    let mut answer = Some(control.ask(&Ask::Wait).await?);
    let terminal = std::io::stderr().is_terminal();
    let over = tokio::time::Instant::now() + WHOLE_MAX;
    while let Some(value) = answer {
        if terminal {
            eprint!("\r\x1b[K{}", progress_line(&value));
            let _ = std::io::stderr().flush();
        }
        if value["ready"] == true {
            if terminal {
                eprint!("\r\x1b[K");
            }
            return Ok(());
        }
        answer = match tokio::time::timeout_at(over, control.next()).await {
            Err(_) if !patient => {
                let lang = settings::language(None, &place.home);
                let (seconds, missing) = (WHOLE_MAX.as_secs().to_string(), connection::missing(lang, &value));
                bail!("{}", lang.say(Say::UpOver, &[&seconds, &missing, &place.log().display().to_string()]))
            }
            Err(_) => control.next().await?,
            Ok(next) => next?,
        };
    }
    bail!("{}", say(place, Say::UpEnded, &[&place.log().display().to_string()]))
}

/// Starts a cluster with these options.
pub(crate) async fn launch(up: &Up, attached: bool) -> anyhow::Result<(Place, Launched)> {
    let place = Home::find()?.cluster(&up.name)?;
    match Control::connect(&place).await {
        Ok(_) => return Err(refuse(Refusal::Running { name: up.name.clone() })),
        Err(Error::NotRunning(_)) => {}
        Err(unknown) => return Err(unknown.into()),
    }
    let spec = plan(&place, up)?;
    if let Some(etcd) = &spec.external_etcd {
        // A mistyped address is refused now, not only told in a log.
        etcd.connect().await.map_err(cluster::Error::from)?;
    }
    let launched = launch::launch(&place, &spec, attached).await?;
    let lang = settings::language(None, &place.home);
    if spec.api_port.is_none() && launched.api_port != 6443 {
        eprintln!("{}", lang.say(Say::OtherPort, &[&launched.api_port.to_string()]));
    }
    if let Some(why) = &launched.unlimited {
        eprintln!("{}", lang.say(Say::NoLimits, &[why]));
    }
    if let Some(words) = connection::stale_context(lang, &place, &launched) {
        eprintln!("ropewalk: {words}");
    }
    Ok((place, launched))
}

pub(crate) async fn up(up: Up) -> anyhow::Result<i32> {
    let (place, mut launched) = launch(&up, !up.detach).await?;
    if up.wait || !up.detach {
        wait(&place, !up.detach).await?;
    }
    std::println!("export KUBECONFIG={}", quote(&place.kubeconfig()));
    if std::io::stdout().is_terminal() {
        std::println!("export PATH={}:$PATH", quote(&place.home.bin()));
    }
    if up.detach {
        return Ok(0);
    }
    eprintln!("{}", settings::language(None, &place.home).say(Say::UpReady, &[&up.name]));
    let asked = ::linux::signal::stop_requested()?;
    tokio::select! {
        _ = asked => {
            drop(launched.leash.take());
            stop(&place).await?;
            let _ = launched.child.wait().await;
            Ok(0)
        }
        ended = launched.child.wait() => {
            let code = ended?.code().unwrap_or(1);
            if code != 0 {
                let with = [code.to_string(), place.log().display().to_string()];
                bail!("{}", say(&place, Say::UpFailed, &with.each_ref().map(String::as_str)));
            }
            Ok(0)
        }
    }
}

fn quote(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_alphanumeric() || "/._-+".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Asks a cluster to stop and waits until its processes are gone.
pub(crate) async fn stop(place: &Place) -> anyhow::Result<bool> {
    let mut control = match Control::connect(place).await {
        Ok(control) => control,
        Err(Error::Hangs { main, .. }) => {
            // Its supervisor hears of the end, ends too, and clears up.
            if let Some(main) = main_process(place, main).await {
                eprintln!("{}", settings::language(None, &place.home).say(Say::SilentKilled, &[&place.name]));
                kill(main.as_fd())?;
            }
            return cleared_up(place);
        }
        Err(Error::NotRunning(_)) => return Ok(false),
        Err(unknown) => return Err(unknown.into()),
    };
    let main = main_process(place, control.main).await;
    let status = match tokio::time::timeout(STOP_PATIENCE, control.ask(&Ask::Status)).await {
        Ok(Ok(status)) => status,
        _ => return wait_for_end(place, main).await, // it ends by itself meanwhile, or hangs by now
    };
    let supervisor = status["pids"]["supervisor"].as_i64().and_then(|p| i32::try_from(p).ok());
    let handle = supervisor.and_then(|pid| linux::process::pidfd_open(pid).ok());
    // The main process dies with its supervisor: while it answers, the number is the supervisor's.
    if !matches!(tokio::time::timeout(STOP_PATIENCE, control.ask(&Ask::Hello)).await, Ok(Ok(_))) {
        return wait_for_end(place, main).await;
    }
    // Readable when the supervisor, the last to go, has ended.
    let ended = handle.map(|fd| linux::fds::async_fd(fd, tokio::io::Interest::READABLE)).transpose()?;
    let all = async {
        if control.ask(&Ask::Stop).await.is_ok() {
            while let Ok(Some(_)) = control.next().await {}
        }
        if let Some(ended) = &ended {
            let _ = ended.readable().await;
        }
    };
    if tokio::time::timeout(STOP_PATIENCE, all).await.is_err() {
        let Some(ended) = &ended else { return wait_for_end(place, main).await };
        // The kernel ends everything below it, and its janitor clears up.
        let (lang, seconds) = (settings::language(None, &place.home), STOP_PATIENCE.as_secs().to_string());
        eprintln!("{}", lang.say(Say::LateKilled, &[&place.name, &seconds]));
        kill(ended.get_ref().as_fd())?;
        let _ = tokio::time::timeout(STOP_PATIENCE, ended.readable()).await;
        return cleared_up(place);
    }
    Ok(true)
}

/// Kills a process. One that has ended meanwhile needs no signal.
fn kill(process: BorrowedFd<'_>) -> std::io::Result<()> {
    match linux::process::pidfd_send_signal(process, Signal::SIGKILL as i32) {
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(()),
        done => done,
    }
}

/// Clears up after a cluster whose processes were killed.
///
/// # Errors
/// They are there still.
fn cleared_up(place: &Place) -> anyhow::Result<bool> {
    if launch::clear_up(place)? { Ok(true) } else { Err(never_ends(place)) }
}

fn never_ends(place: &Place) -> anyhow::Error {
    anyhow!(say(place, Say::NeverEnds, &[&place.name, &place.log().display().to_string()]))
}

/// The cluster's main process, if it is there still.
async fn main_process(place: &Place, pid: Option<i32>) -> Option<OwnedFd> {
    control::main_process(place, pid?).await
}

/// Waits for the end of a cluster that answers no more, and clears up after it. Kills it if it
/// takes longer than [`STOP_PATIENCE`].
///
/// # Errors
/// It does not end.
async fn wait_for_end(place: &Place, main: Option<OwnedFd>) -> anyhow::Result<bool> {
    if let Some(main) = main {
        let ended = linux::fds::async_fd(main, tokio::io::Interest::READABLE)?;
        if tokio::time::timeout(STOP_PATIENCE, ended.readable()).await.is_err() {
            let seconds = STOP_PATIENCE.as_secs().to_string();
            eprintln!(
                "{}",
                settings::language(None, &place.home).say(Say::LateKilled, &[&place.name, &seconds])
            );
            kill(ended.get_ref().as_fd())?;
        }
    }
    // Its supervisor hears of the end and holds the lock until it has cleared up itself. Each try
    // waits for the lock for a while.
    let over = tokio::time::Instant::now() + STOP_PATIENCE;
    while tokio::time::Instant::now() < over {
        let tried = place.clone();
        if tokio::task::spawn_blocking(move || launch::clear_up(&tried)).await?? {
            return Ok(true);
        }
    }
    Err(never_ends(place))
}

pub(crate) async fn down(name: &str) -> anyhow::Result<i32> {
    let place = Home::find()?.cluster(name)?;
    if !ended(&place).await? {
        eprintln!("{}", settings::language(None, &place.home).say(Say::NotUp, &[name]));
    }
    Ok(0)
}

/// Ends a cluster, and clears up after one that does not run. False if there was nothing to end.
///
/// # Errors
/// It is there, and does not answer yet.
async fn ended(place: &Place) -> anyhow::Result<bool> {
    if stop(place).await? {
        return Ok(true);
    }
    if launch::clear_up(place)? {
        return Ok(false);
    }
    // One that did not answer yet was being started: it is asked again when it must.
    if stop(place).await? {
        return Ok(true);
    }
    let log = place.log().display().to_string();
    Err(refuse(Refusal::Starting { name: place.name.clone(), log }))
}

pub(crate) async fn status(name: &str, output: Option<Output>) -> anyhow::Result<i32> {
    let place = Home::find()?.cluster(name)?;
    let running = match Control::connect(&place).await {
        Ok(mut control) => match control.ask(&Ask::Status).await {
            Ok(status) => Some(status),
            // It ended between the question and its answer: it is a cluster that does not run.
            Err(Error::Ended) => None,
            Err(other) => return Err(other.into()),
        },
        Err(Error::NotRunning(_)) => None,
        Err(unknown) => return Err(unknown.into()),
    };
    // What a damaged file says is of no interest as long as the cluster answers for itself.
    let known = if running.is_some() { None } else { Spec::load(&place)? };
    let status = running.unwrap_or_else(|| {
        let nodes: Vec<Value> = known
            .iter()
            .flat_map(Spec::nodes)
            .map(|n| json!({"name": n.name, "role": if n.control_plane { "control-plane" } else { "worker" }, "ready": false}))
            .collect();
        let state = if known.is_some() { "stopped" } else { "absent" };
        let etcd = match known.as_ref().and_then(|spec| spec.external_etcd.as_ref()) {
            Some(external) => external.status(),
            None => cluster::etcd_listeners::status(&place, &[]),
        };
        json!({"name": name, "state": state, "kubeconfig": place.kubeconfig(), "apiServers": [], "nodes": nodes,
            "etcd": etcd, "pids": null})
    });
    if output == Some(Output::Json) {
        std::println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(0);
    }
    let lang = settings::language(None, &place.home);
    let text = |key: &str| status[key].as_str().unwrap_or_default().to_string();
    println!("cluster     {}", text("name"));
    println!("state       {}", text("state"));
    if let Some(api) = status["apiServers"][0].as_str() {
        println!("api         {api}");
    }
    println!("kubeconfig  {}", text("kubeconfig"));
    if let Some(scale) = status["clock"].as_u64() {
        println!("clock       ×{scale}");
    }
    for node in status["nodes"].as_array().into_iter().flatten() {
        let ready = node["ready"] == true;
        let mark = lang.say(if ready { Say::StatusReady } else { Say::StatusNotReady }, &[]);
        let word = |key: &str| node[key].as_str().unwrap_or_default().to_string();
        println!("node        {:<26} {:<14} {mark}", word("name"), word("role"));
    }
    if status["state"] != "running" && status["state"] != "starting" {
        println!("\n{}", lang.say(Say::StartWith, &[name]));
    }
    Ok(0)
}

pub(crate) async fn reset(name: &str, yes: bool) -> anyhow::Result<i32> {
    let place = Home::find()?.cluster(name)?;
    let lang = settings::language(None, &place.home);
    if !place.root.exists() && !wipe::has_leftovers(&place) {
        eprintln!("{}", lang.say(Say::NoCluster, &[name]));
        return Ok(0);
    }
    let names = cluster::foreign::kept(&place);
    if !names.is_empty() {
        let ledger = place.foreign().display().to_string();
        return Err(refuse(Refusal::ForeignNamespaces { names, ledger }));
    }
    if !yes {
        if !std::io::stdin().is_terminal() {
            bail!("{}", lang.say(Say::WipeSure, &[name]));
        }
        eprint!("{}", lang.say(Say::WipeAsk, &[name, &place.root.display().to_string()]));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !consent::is_yes(&answer) {
            eprintln!("{}", lang.say(Say::LossKept, &[]));
            return Ok(1);
        }
    }
    stop(&place).await?;
    // Also what one leaves behind whose every process was killed. With its lock it cannot be
    // started while its files go.
    let Some(held) = launch::hold(&place)? else {
        bail!("{}", lang.say(Say::WipeBusy, &[name]));
    };
    // Its context would lead nowhere, or, after the next start, to an authority that is not known.
    if let Some(target) = kubeconfig::default_kubeconfig()
        && let Err(error) = kubeconfig::remove_from(&place, &target)
    {
        eprintln!("ropewalk: {}", error.say(lang));
    }
    let removed = wipe::cluster(&place, &held);
    let kept = removed.with_context(|| format!("cannot remove {}", place.root.display()))?;
    if let Some(kept) = kept {
        eprintln!(
            "{}",
            lang.say(Say::WipeLink, &[&place.root.display().to_string(), &kept.display().to_string()])
        );
    }
    println!("{}", lang.say(Say::Wiped, &[name]));
    Ok(0)
}

pub(crate) fn kubeconfig(name: &str, merge: bool) -> anyhow::Result<i32> {
    let place = Home::find()?.cluster(name)?;
    if !place.kubeconfig().exists() {
        return Err(Error::NotRunning(name.into()).into());
    }
    if !merge {
        std::println!("{}", place.kubeconfig().display());
        return Ok(0);
    }
    let target =
        kubeconfig::default_kubeconfig().ok_or_else(|| anyhow!(say(&place, Say::MergeNowhere, &[])))?;
    kubeconfig::merge_into(&place, &target)?;
    println!("{}", say(&place, Say::Merged, &[name, &target.display().to_string(), name]));
    Ok(0)
}

/// The built-in kubectl on the cluster's own kubeconfig, whatever KUBECONFIG says. What needs no
/// server works without one.
pub(crate) async fn kubectl(name: &str, words: Vec<String>) -> anyhow::Result<i32> {
    let place = Home::find()?.cluster(name)?;
    let mut env = kubectl::Env::of_process();
    if place.kubeconfig().exists() {
        env.kubeconfig = Some(place.kubeconfig());
    } else if kubectl::asks_a_server(&words) {
        return Err(Error::NotRunning(name.into()).into());
    }
    let args = std::iter::once("kubectl".to_string()).chain(words).collect();
    Ok(kubectl::stdio::on_stdio(args, env).await)
}

/// The built-in etcdctl on the cluster's own store. What needs no store works without one.
pub(crate) async fn etcdctl(name: &str, words: Vec<String>) -> anyhow::Result<i32> {
    let place = Home::find()?.cluster(name)?;
    let preset = store(&place).await;
    let elsewhere = words.iter().any(|w| w.starts_with("--endpoints"))
        || std::env::var_os("ETCDCTL_ENDPOINTS").is_some_and(|endpoints| !endpoints.is_empty());
    match preset {
        None if !elsewhere && etcdctl::needs_a_store(&words) => Err(Error::NotRunning(name.into()).into()),
        preset => Ok(run_etcdctl(words, preset.unwrap_or_default()).await),
    }
}

/// The same under its own name, where there may be another etcd to talk to.
pub(crate) async fn etcdctl_alone(words: Vec<String>) -> anyhow::Result<i32> {
    let home = Home::find()?;
    let place = match named(&home, &std::env::var_os("KUBECONFIG").unwrap_or_default()) {
        Some(place) => place,
        None => home.cluster("main")?,
    };
    Ok(run_etcdctl(words, store(&place).await.unwrap_or_default()).await)
}

/// The cluster of this home whose own kubeconfig is the first that `KUBECONFIG` names, which may be
/// a relative path, or a link. A file of another program may lie in a directory of a cluster's
/// name.
fn named(home: &Home, kubeconfig: &OsStr) -> Option<Place> {
    let first = std::env::split_paths(kubeconfig).find(|path| !path.as_os_str().is_empty())?;
    // Neither the file nor its cluster need be there: of a cluster that does not run, too, the
    // absolute path is known.
    let real = |path: &Path| fs::canonicalize(path).or_else(|_| std::path::absolute(path)).ok();
    let first = real(&first)?;
    let beside = first.parent().and_then(Path::file_name).and_then(OsStr::to_str).map(String::from);
    let mut names = home.clusters().into_iter().chain(beside);
    names.find_map(|name| {
        let place = home.cluster(&name).ok()?;
        (real(&place.kubeconfig())? == first).then_some(place)
    })
}

async fn run_etcdctl(words: Vec<String>, preset: Preset) -> i32 {
    let args = std::iter::once("etcdctl".to_string()).chain(words).collect();
    etcdctl::on_stdio(args, preset).await
}

/// Where a cluster's store is, if it runs.
async fn store(place: &Place) -> Option<Preset> {
    let mut control = Control::connect(place).await.ok()?;
    let status = control.ask(&Ask::Status).await.ok()?;
    Some(Preset::of_status(&status["etcd"]))
}

pub(crate) async fn fault(name: &str, fault: args::Fault) -> anyhow::Result<i32> {
    let home = Home::find()?;
    let lang = settings::language(None, &home);
    let place = home.cluster(name)?;
    let mut control = Control::connect(&place).await?;
    let (fault, output) = meant(fault);
    let answer = control.ask(&Ask::Fault { fault: fault.clone() }).await?;
    match fault {
        Fault::Kill { .. } => {
            for killed in answer["killed"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                println!("{}", lang.say(Say::Killed, &[killed]));
            }
        }
        Fault::Stop { .. } => {
            for stopped in answer["stopped"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                println!("{}", lang.say(Say::Held, &[stopped, stopped]));
            }
            if answer["silent"] == true {
                println!("{}", lang.say(Say::Silent, &[]));
            }
        }
        Fault::Start { .. } => {
            for started in answer["started"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                println!("{}", lang.say(Say::Released, &[started]));
            }
        }
        Fault::List => list_faults(&answer["faults"], output, lang)?,
        Fault::Cut { a, b } => println!("{}", lang.say(Say::LinkCut, &[&a, &b])),
        Fault::Slow { a, b, millis } => {
            println!("{}", lang.say(Say::LinkSlow, &[&a, &b, &millis.to_string()]))
        }
        Fault::Loss { a, b, percent } => {
            println!("{}", lang.say(Say::LinkLossy, &[&a, &b, &percent.to_string()]))
        }
        Fault::Disk { .. } => {
            for full in answer["full"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                println!("{}", lang.say(Say::DiskFull, &[full]));
            }
        }
        Fault::Heal => println!("{}", lang.say(Say::LinksWhole, &[])),
        Fault::Node { node, act: Act::Start } => println!("{}", lang.say(Say::NodeStarts, &[&node])),
        Fault::Node { node, .. } => {
            println!("{}", lang.say(Say::NodeIsOff, &[&node, &node]));
            if answer["onlyControlPlane"] == true {
                println!("{}", lang.say(Say::NobodyAnswers, &[]));
            }
        }
    }
    Ok(0)
}

/// The fault that the arguments name, and the form of its answer.
fn meant(fault: args::Fault) -> (Fault, Option<Output>) {
    let mut output = None;
    let fault = match fault {
        args::Fault::Kill { target } => {
            let (component, node) = component_and_node(&target);
            Fault::Kill { component, node }
        }
        args::Fault::Stop { target } => {
            let (component, node) = component_and_node(&target);
            Fault::Stop { component, node }
        }
        args::Fault::Start { target } => {
            let (component, node) = component_and_node(&target);
            Fault::Start { component, node }
        }
        args::Fault::List { output: form } => {
            output = form;
            Fault::List
        }
        args::Fault::Cut { a, b } => Fault::Cut { a, b },
        args::Fault::Disk { state: args::DiskState::Full, node } => Fault::Disk { node },
        args::Fault::Heal => Fault::Heal,
        args::Fault::Slow { a, b, millis } => Fault::Slow { a, b, millis },
        args::Fault::Loss { a, b, percent } => Fault::Loss { a, b, percent },
        args::Fault::Node { act, node } => {
            let act = match act {
                NodeAct::Stop => Act::Stop,
                NodeAct::Start => Act::Start,
                NodeAct::Crash => Act::Crash,
            };
            Fault::Node { node, act }
        }
    };
    (fault, output)
}

fn list_faults(faults: &Value, output: Option<Output>, lang: Lang) -> anyhow::Result<()> {
    if output == Some(Output::Json) {
        std::println!("{}", serde_json::to_string_pretty(faults)?);
        return Ok(());
    }
    let faults: Vec<Broken> = serde_json::from_value(faults.clone())?;
    if faults.is_empty() {
        println!("{}", lang.say(Say::NothingBroken, &[]));
    }
    for broken in faults {
        let amount = match (broken.fault.as_str(), broken.amount) {
            ("slow", Some(millis)) => lang.say(Say::BrokenBy, &[&millis.to_string()]),
            ("loss", Some(percent)) => lang.say(Say::BrokenOf, &[&percent.to_string()]),
            _ => broken.component.as_ref().map(|component| format!(": {component}")).unwrap_or_default(),
        };
        let since = clock::rfc3339(broken.since);
        let with = [broken.fault.as_str(), &amount, &broken.nodes.join(" - "), &since];
        println!("{}", lang.say(Say::BrokenSince, &with));
    }
    Ok(())
}

/// Runs an interactive session: `ropewalk` alone, `learn` and `repl`.
///
/// # Errors
/// The session cannot start, or ends with an error.
pub(crate) async fn session(session: Session, more: impl FnOnce(Options) -> Options) -> anyhow::Result<i32> {
    Ok(repl::run(more(options(session))).await?)
}

/// What an interactive session was asked for.
pub(crate) fn options(session: Session) -> Options {
    Options {
        name: session.name,
        lang: session.lang,
        api_port: session.api_port,
        plain: session.screen.plain,
        ascii: session.screen.ascii,
        ..Options::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::linux::lock::Lock;
    use std::path::PathBuf;

    fn up() -> Up {
        Up {
            name: "main".into(),
            control_planes: None,
            workers: None,
            node_ports: None,
            clock: None,
            api_port: None,
            etcd: vec![],
            etcd_cafile: None,
            etcd_certfile: None,
            etcd_keyfile: None,
            wait: false,
            detach: false,
        }
    }

    #[test]
    fn a_clock_is_chosen_for_one_start() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        place.make().unwrap();
        let fast = plan(&place, &Up { clock: Some(20), ..up() }).unwrap();
        assert_eq!(fast.clock, 20);
        fast.save(&place).unwrap();
        assert_eq!(Spec::load(&place).unwrap().unwrap().clock, 1, "the next start may be without \"up\"");
        assert_eq!(plan(&place, &up()).unwrap().clock, 1);
        for asked in [0, 61] {
            let refused = plan(&place, &Up { clock: Some(asked), ..up() }).unwrap_err();
            assert_eq!(crate::usage::code(&refused), crate::codes::USAGE);
        }
    }

    #[test]
    fn options_of_an_external_etcd_change_their_own_field_only() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let certificates = Up { etcd_certfile: Some("/c".into()), etcd_keyfile: Some("/k".into()), ..up() };
        let refused = plan(&place, &certificates).unwrap_err().to_string();
        assert!(refused.contains("need --etcd"), "{refused}");
        place.make().unwrap();
        let kept = ExternalEtcd {
            endpoints: vec!["https://old:2379".into()],
            cacert: Some("/ca".into()),
            cert: Some("/cert".into()),
            key: Some("/key".into()),
        };
        Spec { external_etcd: Some(kept.clone()), ..Spec::new("main") }.save(&place).unwrap();
        let new = vec!["https://new:2379".to_string()];
        let moved = plan(&place, &Up { etcd: new.clone(), ..up() }).unwrap().external_etcd;
        assert_eq!(moved, Some(ExternalEtcd { endpoints: new, ..kept.clone() }));
        let renewed = plan(&place, &certificates).unwrap().external_etcd;
        assert_eq!(renewed, Some(ExternalEtcd { cert: Some("/c".into()), key: Some("/k".into()), ..kept }));
    }

    #[test]
    fn a_start_without_a_port_keeps_the_one_of_the_start_before() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        place.make().unwrap();
        Spec { api_port: Some(7443), ..Spec::new("main") }.save(&place).unwrap();
        assert_eq!(plan(&place, &up()).unwrap().api_port, Some(7443));
        assert_eq!(plan(&place, &Up { api_port: Some(8443), ..up() }).unwrap().api_port, Some(8443));
    }

    #[test]
    fn a_kubeconfig_of_another_program_names_no_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let place = home.cluster("prod").unwrap();
        let of = |kubeconfig: &str| named(&home, OsStr::new(kubeconfig)).map(|place| place.name);
        let own = place.kubeconfig().display().to_string();
        assert_eq!(of(&own).as_deref(), Some("prod"));
        assert_eq!(of(&format!(":{own}:/elsewhere/config")).as_deref(), Some("prod"));
        place.make().unwrap();
        for other in ["", "/elsewhere/prod/kubeconfig", "config", &format!("/elsewhere/config:{own}")] {
            assert_eq!(of(other), None, "{other}");
        }
        // A relative path and a link mean the same file as the absolute path.
        fs::write(place.kubeconfig(), "").unwrap();
        let link = dir.path().join("kc");
        std::os::unix::fs::symlink(place.kubeconfig(), &link).unwrap();
        assert_eq!(of(link.to_str().unwrap()).as_deref(), Some("prod"));
        let up: PathBuf = std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect();
        let relative = up.join(place.kubeconfig().strip_prefix("/").unwrap());
        assert_eq!(of(relative.to_str().unwrap()).as_deref(), Some("prod"));
    }

    /// A script takes 0 for stopped.
    #[tokio::test]
    async fn a_cluster_that_is_being_started_and_does_not_answer_is_not_called_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        place.make().unwrap();
        assert!(!ended(&place).await.unwrap(), "it does not run");
        let held = Lock::take(&place.lock(), Duration::ZERO).unwrap();
        let refused = ended(&place).await.unwrap_err();
        let problem = refused.downcast_ref::<Error>();
        assert!(matches!(problem, Some(Error::Refusal(Refusal::Starting { .. }))), "{refused}");
        drop(held);
        assert!(!ended(&place).await.unwrap(), "it has ended");
    }

    #[test]
    fn a_process_that_has_ended_before_it_is_killed_is_no_failure() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let handle = linux::process::pidfd_open(child.id() as i32).unwrap();
        kill(handle.as_fd()).unwrap();
        child.wait().unwrap();
        kill(handle.as_fd()).unwrap();
    }

    /// A script takes what is called stopped for stopped.
    #[test]
    fn a_cluster_that_was_killed_and_still_holds_its_lock_is_not_called_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        place.make().unwrap();
        let held = Lock::take(&place.lock(), Duration::ZERO).unwrap();
        assert!(cleared_up(&place).is_err());
        drop(held);
        assert!(cleared_up(&place).unwrap());
    }

    /// `reset` removes the cluster's files next: they must not be in use any more.
    #[tokio::test]
    async fn a_cluster_that_answers_no_more_is_waited_for_and_cleared_up_after() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        place.make().unwrap();
        let held = Lock::take(&place.lock(), Duration::ZERO).unwrap();
        std::fs::write(place.socket(), "").unwrap();
        let mut main = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pidfd = linux::process::pidfd_open(main.id() as i32).unwrap();
        let end = wait_for_end(&place, Some(pidfd));
        tokio::pin!(end);
        assert!(futures::poll!(end.as_mut()).is_pending(), "its main process runs");
        main.kill().unwrap();
        main.wait().unwrap();
        let socket = place.socket();
        let supervisor = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_millis(50));
            assert!(socket.exists(), "the supervisor clears up first");
            drop(held);
        });
        assert!(end.await.unwrap());
        supervisor.await.unwrap();
        assert!(!place.socket().exists());
    }
}
