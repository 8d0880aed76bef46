//! port-forward: local ports that lead into a pod.

use super::exec::pod_of;
use super::wait::until;
use crate::api::value;
use crate::kubectl::builder::{Info, type_and_name};
use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::{Fail, text};
use crate::kubectl::gostr::quote;
use crate::kubectl::wire::stream;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpListener;

const PROTOCOL: &str = "v4.channel.k8s.io";

/// One pair of ports.
struct Pair {
    local: u16,
    remote: u16,
}

pub async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let [word, ports @ ..] = ctx.args.as_slice() else {
        return ctx.usage("TYPE/NAME and list of ports are required for port-forward");
    };
    if ports.is_empty() {
        return ctx.usage("TYPE/NAME and list of ports are required for port-forward");
    }
    let (kind, _) = if word.contains('/') { type_and_name(word)? } else { ("pods", "") };
    let resource = ctx.resource(kind).await?;
    let mut service = Value::Null;
    if resource.plural == "services" {
        let (namespace, _) = ctx.namespace()?;
        let (_, name) = type_and_name(word)?;
        service =
            ctx.api().await?.get(&format!("/api/v1/namespaces/{namespace}/services/{name}"), &[]).await?;
    }
    let pod = pod_of(ctx, word).await?;
    let phase = value::text(&pod.object, "status.phase");
    let mut pairs = vec![];
    for port in ports {
        pairs.push(pair(port, &service, &pod)?);
    }
    if phase != "Running" {
        return text(format!("unable to forward port because pod is not running. Current status={phase}"));
    }
    let mut listeners = vec![];
    for pair in &pairs {
        let bound = bind(ctx, pair).await?;
        listeners.extend(bound);
    }
    if listeners.is_empty() {
        return text("unable to listen on any of the requested ports");
    }
    ctx.output.flush().await;
    let serving =
        listeners.into_iter().map(|(listener, local, remote)| serve(ctx, &pod, listener, local, remote));
    let uid = value::text(&pod.object, "metadata.uid").to_string();
    let mut watched = pod.clone();
    let gone = until(ctx, &mut watched, Duration::ZERO, |now| {
        let ended = matches!(value::text(now, "status.phase"), "Succeeded" | "Failed");
        Ok(ended || value::text(now, "metadata.uid") != uid)
    });
    tokio::select! {
        served = futures::future::try_join_all(serving) => served.map(drop),
        // A server that is away for a moment does not end what runs; a pod that is gone does.
        () = async { match gone.await { Ok(()) => {}, Err(_) => std::future::pending().await } } => {
            text("lost connection to pod")
        }
    }
}

/// `8080:80`, `:80`, `80`, `8080:http`
fn pair(given: &str, service: &Value, pod: &Info) -> Result<Pair, Fail> {
    let (local, remote) = given.split_once(':').unwrap_or((given, given));
    let number = |word: &str, which: &str| -> Result<u16, Fail> {
        word.parse::<u16>().map_err(|_| {
            let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
            let why = if digits { "value out of range" } else { "invalid syntax" };
            Fail::Text(format!(
                "error parsing {which} port '{word}': strconv.ParseUint: parsing {}: {why}",
                quote(word)
            ))
        })
    };
    let local_number = match (given.contains(':'), local) {
        (true, "") => Some(0),
        (true, word) => Some(number(word, "local")?),
        (false, _) => None,
    };
    let named = match service.is_null() {
        true => container_port(pod, remote),
        false => of_service(service, pod, remote),
    };
    let remote_port = match named {
        Some(port) => port,
        None if remote.starts_with(|c: char| c.is_ascii_alphabetic()) && service.is_null() => {
            return text(format!("Pod '{}' does not have a named port '{remote}'", pod.name));
        }
        None => number(remote, "remote")?,
    };
    let local_port = local_number.unwrap_or_else(|| local.parse().unwrap_or(remote_port));
    if remote_port == 0 {
        return text("remote port must be > 0");
    }
    Ok(Pair { local: local_port, remote: remote_port })
}

/// A named port of the pod's containers.
fn container_port(pod: &Info, name: &str) -> Option<u16> {
    let containers = value::list(&pod.object, "spec.containers").iter();
    let mut ports = containers.flat_map(|c| value::list(c, "ports"));
    let found = ports.find(|p| !name.is_empty() && value::text(p, "name") == name)?;
    value::int(found, "containerPort")?.try_into().ok()
}

/// The pod's port behind a service's port.
fn of_service(service: &Value, pod: &Info, word: &str) -> Option<u16> {
    let named = |p: &&Value| {
        value::text(p, "name") == word || value::int(p, "port").is_some_and(|n| n.to_string() == word)
    };
    let port = value::list(service, "spec.ports").iter().find(named)?;
    match value::at(port, "targetPort") {
        Value::Number(n) => n.as_u64()?.try_into().ok(),
        Value::String(name) => container_port(pod, name),
        _ => value::int(port, "port")?.try_into().ok(),
    }
}

type Bound = (TcpListener, u16, u16);

async fn bind(ctx: &Ctx, pair: &Pair) -> Result<Vec<Bound>, Fail> {
    let mut addresses: Vec<(IpAddr, bool)> = vec![];
    for word in ctx.flags.list("address") {
        if word == "localhost" {
            addresses.extend([
                (IpAddr::from([127, 0, 0, 1]), true),
                (IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), true),
            ]);
        } else {
            let ip = word.parse().map_err(|_| Fail::Text(format!("{word} is not a valid IP")))?;
            addresses.push((ip, false));
        }
    }
    if addresses.is_empty() {
        addresses
            .extend([(IpAddr::from([127, 0, 0, 1]), true), (IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), true)]);
    }
    let (mut found, mut local) = (vec![], pair.local);
    for (ip, _) in addresses {
        match TcpListener::bind(SocketAddr::new(ip, local)).await {
            Ok(listener) => {
                // The port that the first address was given serves for all.
                local = listener.local_addr()?.port();
                let shown = if ip.is_ipv6() { format!("[{ip}]:{local}") } else { format!("{ip}:{local}") };
                ctx.line(format!("Forwarding from {shown} -> {}", pair.remote));
                found.push((listener, local, pair.remote));
            }
            Err(error) => {
                let family = if ip.is_ipv6() { "tcp6" } else { "tcp4" };
                let why = crate::kubectl::error::go_io(&error).to_lowercase();
                let why = why.split(" (os error").next().unwrap_or(&why).to_string();
                ctx.note(format!(
                    "Unable to listen on port {local}: Listeners failed to create with the following errors: [unable to create listener: Error listen {family} {}: bind: {why}]",
                    SocketAddr::new(ip, local)
                ));
            }
        }
    }
    Ok(found)
}

async fn serve(ctx: &Ctx, pod: &Info, listener: TcpListener, local: u16, remote: u16) -> Result<(), Fail> {
    let path = format!("{}/portforward", pod.path());
    let port = remote.to_string();
    let mut open = futures::stream::FuturesUnordered::new();
    use futures::StreamExt;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (connection, _) = accepted?;
                ctx.line(format!("Handling connection for {local}"));
                ctx.output.flush().await;
                let (path, port) = (path.clone(), port.clone());
                open.push(async move {
                    let socket = stream::connect(ctx.api().await?, &path, &[("ports", &port)], PROTOCOL).await?;
                    stream::forward(socket, connection).await
                });
            }
            Some(done) = open.next() => {
                if let Err(fail) = done {
                    ctx.note(format!("an error occurred forwarding {local} -> {remote}: {}", fail.message()));
                    ctx.output.flush().await;
                }
            }
        }
    }
}
