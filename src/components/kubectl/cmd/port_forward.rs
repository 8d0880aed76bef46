//! port-forward: local ports that lead into a pod.

use super::common::pod_running_timeout;
use super::pods::pod_of;
use super::until::until;
use crate::builder::type_and_name;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::Info;
use crate::scheme;
use crate::wire::paths;
use crate::wire::stream;
use api::gostr::quote;
use api::value;
use linux::tcp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpListener;

const PROTOCOL: &str = "v4.channel.k8s.io";

/// One pair of ports.
struct Pair {
    local: u16,
    remote: u16,
}

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let [word, ports @ ..] = ctx.args.as_slice() else {
        return ctx.usage("TYPE/NAME and list of ports are required for port-forward");
    };
    if ports.is_empty() {
        return ctx.usage("TYPE/NAME and list of ports are required for port-forward");
    }
    pod_running_timeout(ctx)?;
    let (kind, _) = if word.contains('/') { type_and_name(word)? } else { ("pods", "") };
    let resource = ctx.resource(kind).await?;
    let mut service = Value::Null;
    if resource.plural == "services" {
        let (namespace, _) = ctx.namespace()?;
        let (_, name) = type_and_name(word)?;
        let path = format!("{}/{}", paths::within("/api/v1", &namespace, "services"), paths::segment(name));
        service = ctx.api().await?.get(&path, &[]).await?;
    }
    let pod = pod_of(ctx, word, scheme::OF_CLIENT).await?;
    let phase = value::text(&pod.object, "status.phase");
    let mut pairs = vec![];
    for port in ports {
        pairs.push(pair(port, &service, &pod)?);
    }
    if phase != "Running" {
        return text(format!("unable to forward port because pod is not running. Current status={phase}"));
    }
    ctx.output.end_by_interrupt(); // as upstream: `RunPortForwardContext`
    let addresses = addresses(&ctx.flags.list("address"))?;
    let (mut listeners, mut listens) = (vec![], false);
    for pair in &mut pairs {
        let (bound, complete) = bind(ctx, &addresses, pair).await?;
        listeners.extend(bound);
        listens |= complete;
    }
    if !listens {
        let pairs: Vec<String> = pairs.iter().map(|p| format!("{{{} {}}}", p.local, p.remote)).collect();
        return text(format!("unable to listen on any of the requested ports: [{}]", pairs.join(" ")));
    }
    ctx.output.flush().await;
    let serving =
        listeners.into_iter().map(|(listener, local, remote)| serve(ctx, &pod, listener, local, remote));
    let uid = value::text(&pod.object, "metadata.uid").to_string();
    let mut watched = pod.clone();
    // A server that is away for a moment does not end what runs; the end of its pod does, as soon
    // as the server reports it.
    let gone = until(ctx, &mut watched, Duration::ZERO, |now| {
        let ended = matches!(value::text(now, "status.phase"), "Succeeded" | "Failed");
        Ok(ended || value::text(now, "metadata.uid") != uid)
    });
    tokio::select! {
        served = futures::future::try_join_all(serving) => served.map(drop),
        // A user who may not list pods can forward to one all the same.
        () = async { match gone.await { Ok(()) => {}, Err(_) => std::future::pending().await } } => {
            text("lost connection to pod")
        }
    }
}

/// `8080:80`, `:80`, `80`, `8080:http`
fn pair(given: &str, service: &Value, pod: &Info) -> Result<Pair, Fail> {
    let (local, remote) = given.split_once(':').unwrap_or((given, given));
    if remote.is_empty() {
        return text("remote port cannot be empty");
    }
    let number = |word: &str, which: &str| -> Result<u16, Fail> {
        // Rust reads a sign before an unsigned number, Go does not.
        let read = Some(word).filter(|w| !w.starts_with('+')).and_then(|w| w.parse::<u16>().ok());
        read.ok_or_else(|| {
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
    // The remote port is one of the service, or without a service one of the pod.
    let (remote_port, unnamed_local) = if service.is_null() {
        let port = match container_port(pod, remote) {
            Some(port) => port,
            None if is_name(remote) => {
                return text(format!("Pod '{}' does not have a named port '{remote}'", pod.name));
            }
            // As client-go, which reads a port alone as the local one first.
            None => number(remote, if given.contains(':') { "remote" } else { "local" })?,
        };
        let containers = value::list(&pod.object, "spec.containers").iter();
        refuse_udp(containers.flat_map(|c| value::list(c, "ports")), "containerPort", port, remote)?;
        (port, port)
    } else {
        let own = service_port(service, remote, |word| {
            // As in kubectl, which looks for it among the service's first.
            number(word, "remote").or_else(|_| unserved(service, word))
        })?;
        refuse_udp(value::list(service, "spec.ports"), "port", own, remote)?;
        (target_port(service, pod, own)?, own)
    };
    if remote_port == 0 {
        return text("remote port must be > 0");
    }
    Ok(Pair { local: local_number.unwrap_or(unnamed_local), remote: remote_port })
}

/// Refuses a port that is a UDP port and no TCP port as well: what is forwarded are TCP
/// connections. `word` is how the user named it.
fn refuse_udp<'a>(
    ports: impl IntoIterator<Item = &'a Value>,
    key: &str,
    port: u16,
    word: &str,
) -> Result<(), Fail> {
    let of = ports.into_iter().filter(|p| value::int(p, key) == Some(port.into()));
    let protocols: Vec<&str> = of.map(|p| value::text(p, "protocol")).collect();
    let tcp = protocols.iter().any(|protocol| matches!(*protocol, "" | "TCP"));
    match protocols.contains(&"UDP") && !tcp {
        true => text(format!("UDP protocol is not supported for {word}")),
        false => Ok(()),
    }
}

/// True if a port is looked for by its name: the word is no number, as Go's `Atoi` reads one.
///
/// Example: `http`, and also `9p`.
fn is_name(word: &str) -> bool {
    word.parse::<i64>().is_err()
}

/// The service's own port: a number, or the name of one.
fn service_port(
    service: &Value,
    word: &str,
    number: impl Fn(&str) -> Result<u16, Fail>,
) -> Result<u16, Fail> {
    if !is_name(word) {
        return number(word);
    }
    let found = value::list(service, "spec.ports").iter().find(|p| value::text(p, "name") == word);
    match found.and_then(|p| value::int(p, "port")?.try_into().ok()) {
        Some(port) => Ok(port),
        None => text(format!(
            "Service '{}' does not have a named port '{word}'",
            value::text(service, "metadata.name")
        )),
    }
}

/// A named port of the pod's containers, or else of its init containers: sidecars are among these.
fn container_port(pod: &Info, name: &str) -> Option<u16> {
    let lists = ["spec.containers", "spec.initContainers"];
    let containers = lists.iter().flat_map(|list| value::list(&pod.object, list));
    let mut ports = containers.flat_map(|c| value::list(c, "ports"));
    let found = ports.find(|p| !name.is_empty() && value::text(p, "name") == name)?;
    value::int(found, "containerPort")?.try_into().ok()
}

/// Refuses a port that is none of the service's.
fn unserved<T>(service: &Value, port: &str) -> Result<T, Fail> {
    let name = value::text(service, "metadata.name");
    text(format!("Service {name} does not have a service port {port}"))
}

/// The pod's port behind a service's port. A headless service has no port of its own: clients of it
/// speak to the pod's.
fn target_port(service: &Value, pod: &Info, own: u16) -> Result<u16, Fail> {
    let mut ports = value::list(service, "spec.ports").iter();
    let Some(port) = ports.find(|p| value::int(p, "port") == Some(own.into())) else {
        return unserved(service, &own.to_string());
    };
    if value::text(service, "spec.clusterIP") == "None" {
        return Ok(own);
    }
    let found = match value::at(port, "targetPort") {
        Value::String(name) => match container_port(pod, name).or_else(|| name.parse().ok()) {
            Some(port) => return Ok(port),
            None => {
                return text(format!("Pod '{}' does not have a named port '{name}'", pod.name));
            }
        },
        target => target.as_u64().filter(|n| *n > 0),
    };
    Ok(found.and_then(|n| n.try_into().ok()).unwrap_or(own))
}

/// An address to listen on, and whether it is one of the two of `localhost`, of which one is
/// enough: a machine may have one family only.
type Address = (IpAddr, bool);

/// Reads `--address`: each address once, in the order of their texts. One that is named by itself
/// is none of `localhost`'s, which is meant where none is named.
fn addresses(words: &[String]) -> Result<Vec<Address>, Fail> {
    let default = ["localhost".to_string()];
    let words = if words.is_empty() { &default[..] } else { words };
    let mut all: BTreeMap<String, Address> = BTreeMap::new();
    for word in words {
        if word == "localhost" {
            for ip in [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])] {
                all.entry(ip.to_string()).or_insert((ip, true));
            }
        } else {
            let ip = word.parse().map_err(|_| Fail::Text(format!("{word} is not a valid IP")))?;
            all.insert(word.clone(), (ip, false));
        }
    }
    Ok(all.into_values().collect())
}

type Bound = (TcpListener, u16, u16);

/// Listens on the local port of a pair. A free port is chosen by the first listener; the others
/// take the same. Returns the listeners, and whether they are enough; else the failures are
/// printed.
async fn bind(ctx: &Ctx, addresses: &[Address], pair: &mut Pair) -> Result<(Vec<Bound>, bool), Fail> {
    let (mut found, mut failed) = (vec![], vec![]);
    // Of `localhost` one address is enough, of the others each one counts.
    let (mut either_fails, mut either_listens, mut other_fails) = (false, false, false);
    for (ip, either) in addresses {
        match TcpListener::bind(SocketAddr::new(*ip, pair.local)).await {
            Ok(listener) => {
                pair.local = listener.local_addr()?.port();
                let local = SocketAddr::new(*ip, pair.local);
                ctx.line(format!("Forwarding from {local} -> {}", pair.remote));
                found.push((listener, pair.local, pair.remote));
                either_listens |= either;
            }
            Err(error) => {
                let family = if ip.is_ipv6() { "tcp6" } else { "tcp4" };
                let why = crate::error::go_io(&error).to_lowercase();
                let why = why.split(" (os error").next().unwrap_or(&why);
                let address = SocketAddr::new(*ip, pair.local);
                failed
                    .push(format!("unable to create listener: Error listen {family} {address}: bind: {why}"));
                either_fails |= either;
                other_fails |= !either;
            }
        }
    }
    let complete = !other_fails && (either_listens || !either_fails);
    if !complete {
        ctx.note(unable(pair.local, &failed.join(" ")));
    }
    Ok((found, complete))
}

fn unable(port: u16, why: &str) -> String {
    format!("Unable to listen on port {port}: Listeners failed to create with the following errors: [{why}]")
}

async fn serve(ctx: &Ctx, pod: &Info, listener: TcpListener, local: u16, remote: u16) -> Result<(), Fail> {
    let path = format!("{}/portforward", pod.path());
    let port = remote.to_string();
    let mut open = futures::stream::FuturesUnordered::new();
    use futures::StreamExt;
    loop {
        tokio::select! {
            (connection, _) = tcp::accept(&listener) => {
                ctx.line(format!("Handling connection for {local}"));
                ctx.output.flush().await;
                let (path, port) = (path.clone(), port.clone());
                open.push(async move {
                    let socket = stream::connect(ctx.api().await?, &path, &[("ports", &port)], PROTOCOL).await?;
                    stream::forward(socket, connection).await
                });
            }
            Some(done) = open.next() => {
                let (refused, why) = match done {
                    Ok(None) => continue,
                    Ok(Some(why)) => (true, why),
                    Err(fail) => (false, fail.message()),
                };
                ctx.note(format!("an error occurred forwarding {local} -> {remote}: {why}"));
                ctx.output.flush().await;
                // As in client-go, a port of the pod on which nothing listens ends the command.
                if refused {
                    return text("lost connection to pod");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::Kept;
    use crate::testing::{Server, refusal};
    use crate::{Env, Io};
    use client::discovery::Resource;
    use serde_json::json;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio_util::sync::CancellationToken;

    /// A script that forwards a port for a while does not fail by ending that.
    #[tokio::test]
    async fn an_interrupt_is_no_failure() {
        let server = Server::start().await;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "c"}]}, "status": {"phase": "Running"}});
        server.hold("/api/v1/namespaces/default/pods/p", pod);
        let (near, stdout) = tokio::io::duplex(1 << 10);
        let (mut lines, cancel) = (BufReader::new(near).lines(), CancellationToken::new());
        let io = Io {
            stdin: Box::new(tokio::io::empty()),
            stdout: Box::new(stdout),
            stderr: Box::new(Kept::all()),
            terminal: None,
            stdout_is_terminal: false,
            own: false,
            cancel: cancel.clone(),
        };
        let words = ["kubectl", "port-forward", "p", ":80", "--server", &server.address];
        let forwarding = crate::run(words.map(String::from).to_vec(), io, Env::default());
        let stop = async {
            let line = lines.next_line().await.unwrap().unwrap();
            cancel.cancel();
            line
        };
        let ended = async { tokio::join!(forwarding, stop) };
        let (code, line) = tokio::time::timeout(Duration::from_secs(20), ended).await.expect("an end");
        assert!(code == 0 && line.starts_with("Forwarding from "), "{code} {line}");
    }

    /// The server is away when the command first looks at its pod, and the pod goes later.
    #[tokio::test]
    async fn a_pod_that_goes_after_the_server_was_away_ends_the_command() {
        let lists = AtomicU32::new(0);
        let server = Server::start_with(move |request| {
            if !request.query.contains("fieldSelector") || request.query.contains("watch=true") {
                return None;
            }
            match lists.fetch_add(1, Ordering::SeqCst) {
                0 => Some(refusal(503, "ServiceUnavailable", "starting")),
                1 => None,
                _ => Some((200, json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []}))),
            }
        })
        .await;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "c"}]}, "status": {"phase": "Running"}});
        server.hold("/api/v1/namespaces/default/pods/p", pod);
        let result = server.kubectl(&["port-forward", "p", ":80"]);
        let result = tokio::time::timeout(Duration::from_secs(20), result).await.expect("an end");
        assert!(result.code == 1 && result.err.contains("lost connection to pod"), "{result:?}");
    }

    #[test]
    fn an_address_is_listened_on_once() {
        let of = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
            addresses(&words).map_err(|fail| fail.message())
        };
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let (four, six) = (ip("127.0.0.1"), ip("::1"));
        for words in [&[] as &[&str], &["localhost"]] {
            assert_eq!(of(words), Ok(vec![(four, true), (six, true)]), "{words:?}");
        }
        for words in [["localhost", "127.0.0.1"], ["127.0.0.1", "localhost"]] {
            assert_eq!(of(&words), Ok(vec![(four, false), (six, true)]), "{words:?}");
        }
        assert_eq!(of(&["10.0.0.2", "10.0.0.1"]), Ok(vec![(ip("10.0.0.1"), false), (ip("10.0.0.2"), false)]));
        assert_eq!(of(&["here"]), Err("here is not a valid IP".into()));
    }

    /// 192.0.2.1 is of a network for examples (RFC 5737), which no machine is in.
    #[tokio::test]
    async fn an_address_that_is_not_there_ends_the_command() {
        let server = Server::start().await;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "c"}]}, "status": {"phase": "Running"}});
        server.hold("/api/v1/namespaces/default/pods/p", pod);
        let result = server.kubectl(&["port-forward", "p", ":80", "--address=127.0.0.1,192.0.2.1"]);
        let result = tokio::time::timeout(Duration::from_secs(20), result).await.expect("an end");
        let want = "error: unable to listen on any of the requested ports: [{";
        assert!(
            result.code == 1 && result.err.contains(want) && result.err.ends_with(" 80}]\n"),
            "{result:?}"
        );
        assert!(result.err.contains("Error listen tcp4 192.0.2.1:"), "{result:?}");
    }

    #[test]
    fn a_port_that_is_of_udp_alone_is_refused() {
        let port = |name: &str, number: u16, protocol: &str| json!({"name": name, "port": number, "containerPort": number, "protocol": protocol});
        let ports = json!([port("dns", 53, "UDP"), port("both", 80, "UDP"), port("web", 80, "TCP")]);
        let pod = Info {
            resource: Arc::new(Resource::default()),
            namespace: "default".into(),
            name: "p".into(),
            object: json!({"spec": {"containers": [{"ports": ports.clone()}]}}),
            source: String::new(),
        };
        let service = json!({"spec": {"ports": ports}});
        for service in [&Value::Null, &service] {
            for (given, word) in [("53", "53"), ("5353:53", "53"), (":dns", "dns")] {
                let refused = pair(given, service, &pod).map(drop).unwrap_err();
                assert_eq!(refused.message(), format!("UDP protocol is not supported for {word}"));
            }
            assert!(pair("8080:80", service, &pod).is_ok(), "it is a TCP port as well");
        }
    }

    #[test]
    fn ports_of_a_service_lead_to_the_pods_ports_behind_them() {
        let pod = Info {
            resource: Arc::new(Resource::default()),
            namespace: "default".into(),
            name: "p".into(),
            object: json!({"spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]}}),
            source: String::new(),
        };
        let service = |ip: &str| {
            json!({"metadata": {"name": "s"}, "spec": {"clusterIP": ip, "ports": [
                {"name": "http", "port": 80, "targetPort": "web"}, {"name": "raw", "port": 90, "targetPort": 9000}]}})
        };
        let of = |service: &Value, word: &str| match pair(word, service, &pod) {
            Ok(pair) => Ok((pair.local, pair.remote)),
            Err(fail) => Err(fail.message()),
        };
        let own = service("10.0.0.1");
        assert_eq!(of(&own, "80"), Ok((80, 8080)));
        assert_eq!(of(&own, "http"), Ok((80, 8080)), "the service's port is listened on");
        assert_eq!(of(&own, "5000:raw"), Ok((5000, 9000)));
        assert_eq!(of(&own, ":90"), Ok((0, 9000)));
        assert_eq!(of(&own, "81"), Err("Service s does not have a service port 81".into()));
        assert_eq!(of(&own, "99999"), Err("Service s does not have a service port 99999".into()));
        assert_eq!(of(&own, "no"), Err("Service 's' does not have a named port 'no'".into()));
        assert_eq!(of(&service("None"), "80"), Ok((80, 80)), "a headless service has the pod's ports");
        assert_eq!(of(&Value::Null, "web"), Ok((8080, 8080)));
        assert_eq!(of(&Value::Null, "no"), Err("Pod 'p' does not have a named port 'no'".into()));
        assert_eq!(of(&Value::Null, "9p"), Err("Pod 'p' does not have a named port '9p'".into()));
        let why = "strconv.ParseUint: parsing \"99999\": value out of range";
        assert_eq!(of(&Value::Null, "99999"), Err(format!("error parsing local port '99999': {why}")));
        assert_eq!(of(&Value::Null, "81:82"), Ok((81, 82)));
        assert_eq!(of(&Value::Null, "81:"), Err("remote port cannot be empty".into()));
    }

    #[test]
    fn a_port_of_a_sidecar_has_a_name_too() {
        let of = |name: &str, number: u16| json!({"ports": [{"name": name, "containerPort": number}]});
        let pod = Info {
            resource: Arc::new(Resource::default()),
            namespace: "default".into(),
            name: "p".into(),
            object: json!({"spec": {"containers": [of("web", 8080)], "initContainers": [of("admin", 9901), of("web", 1)]}}),
            source: String::new(),
        };
        let service = json!({"spec": {"ports": [{"port": 90, "targetPort": "admin"}]}});
        for (given, service, want) in
            [(":admin", &Value::Null, 9901), (":web", &Value::Null, 8080), (":90", &service, 9901)]
        {
            assert_eq!(pair(given, service, &pod).map(|pair| pair.remote).ok(), Some(want), "{given}");
        }
    }
}
