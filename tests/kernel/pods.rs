//! Pods and containers.

use crate::world::{Check, World, dial, ended, ensure, get, nginx, shell};
use ropewalk::cni::{HostPort, Protocol, ServiceRule};
use ropewalk::cri::{ContainerState, Error, Mount, Runtime, SandboxState, Security};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A web pod is reached by its address, its service, its node port and the learner's loopback, and ends as nginx does.
pub async fn serves_to_everybody(w: World) -> Check {
    let pod = w.pod(0, "web", nginx()).await?;
    let page = get(dial(&*w.nodes[1].network, (pod.ip, 80)).await?, "/").await?;
    ensure(page.contains("Welcome to nginx!"), page)?;
    let rule = ServiceRule {
        key: "default/web:80".into(),
        protocol: Protocol::Tcp,
        addresses: vec!["10.96.0.50".parse()?],
        port: 8080,
        node_port: Some(30080),
        endpoints: vec![(pod.ip, 80)],
        local_endpoints: None,
        affinity_seconds: None,
    };
    for node in &w.nodes {
        ensure(node.network.sync_services(std::slice::from_ref(&rule)).await? == 1, "one rule")?;
        ensure(node.network.sync_services(std::slice::from_ref(&rule)).await? == 0, "no work")?;
        let page = get(dial(&*node.network, ([10, 96, 0, 50], 8080)).await?, "/").await?;
        ensure(page.contains("Welcome to nginx!"), page)?;
    }
    let port = free_port()?;
    let mut host_port = HostPort {
        port,
        protocol: Protocol::Tcp,
        to: vec![(w.nodes[1].network.node_ip(), 30080).into()],
        ready: false,
    };
    ensure(w.host.sync_ports(std::slice::from_ref(&host_port)).await.is_empty(), "the port is free")?;
    for ready in [false, true, false, true] {
        host_port.ready = ready;
        let failed = w.host.sync_ports(std::slice::from_ref(&host_port)).await;
        ensure(failed.is_empty(), format!("ready {ready}: {failed:?}"))?;
        for address in ["127.0.0.1", "::1"] {
            match (ready, TcpStream::connect((address, port)).await) {
                (true, Ok(stream)) => {
                    let page = get(stream, "/").await?;
                    ensure(page.contains("Welcome to nginx!"), page)?;
                }
                (false, Err(e)) => ensure(e.kind() == std::io::ErrorKind::ConnectionRefused, e.to_string())?,
                (_, other) => return Err(format!("ready {ready}: {other:?}").into()),
            }
            ensure(std::net::TcpListener::bind((address, port)).is_err(), "the port is reserved")?;
        }
    }
    let runtime = &w.nodes[0].runtime;
    // SIGQUIT ends it by itself: killed at the end of its time, it would have the code 137.
    runtime.stop_container(&pod.container, Duration::from_secs(10)).await?;
    let status = runtime.container_status(&pod.container).await?;
    ensure((status.exit_code, status.reason.as_str()) == (0, "Completed"), format!("{status:?}"))?;
    let log = w.log_of(0, &pod.container).await?;
    let line = log.lines().find(|l| l.contains("GET /")).ok_or("no access log")?;
    ensure(line.contains("Z stdout F ") && line.contains("\"GET / HTTP/1.1\" 200"), line)?;
    runtime.remove_pod_sandbox(&pod.sandbox).await?;
    ensure(runtime.list_containers().await?.is_empty(), "no container is left")?;
    ensure(runtime.list_pod_sandboxes().await?.is_empty(), "no sandbox is left")?;
    ensure(!w.home.join("log/web/web/0.log").exists(), "no log is left")
}

fn free_port() -> Check<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

pub async fn faults(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let sandbox = runtime.run_pod_sandbox(w.sandbox("p")).await?;
    let mut config = nginx();
    config.command = vec!["no-such-program".into()];
    let id = runtime.create_container(&sandbox.id, config).await?;
    let text = runtime.start_container(&id).await.err().map(|e| e.to_string()).unwrap_or_default();
    let want = "unable to start container process: exec: \"no-such-program\": executable file not found in $PATH: unknown";
    ensure(text.ends_with(want), &text)?;
    let status = runtime.container_status(&id).await?;
    ensure((status.exit_code, status.reason.as_str()) == (128, "StartError"), format!("{status:?}"))?;
    ensure(status.message == text, "the message is kept")?;
    let mut config = nginx();
    config.image = "nginx:1.161".into();
    let refused = runtime.create_container(&sandbox.id, config).await;
    ensure(matches!(refused, Err(Error::NoImage { .. })), "no such image")?;
    let mut config = nginx();
    config.image = "nginx:broken".into();
    let id = runtime.create_container(&sandbox.id, config).await?;
    runtime.start_container(&id).await?;
    let status = ended(runtime, &id).await?;
    ensure((status.exit_code, status.reason.as_str()) == (1, "Error"), format!("{status:?}"))?;
    let log = w.log_of(0, &id).await?;
    ensure(log.contains("stderr F nginx: [emerg] unknown directive \"lissten\""), log)?;
    runtime.stop_pod_sandbox(&sandbox.id).await?;
    let listed = runtime.list_pod_sandboxes().await?;
    ensure(listed[0].state == SandboxState::NotReady, "stopped")?;
    let refused = runtime.create_container(&sandbox.id, nginx()).await;
    ensure(matches!(refused, Err(Error::State(_))), "a stopped sandbox takes no containers")
}

/// What a container sees of the machine, and what it may do.
pub async fn confined(w: World) -> Check {
    let script = "
        id -u; id -g; hostname; pwd; echo $$; echo home=$HOME secret=$SECRET
        grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t' | tr '\\n' ' '; echo
        mount -t tmpfs x /mnt 2>/dev/null && echo MOUNTED
        unshare -U true 2>/dev/null && echo UNSHARED
        echo x > /proc/sys/kernel/hostname && echo SYSCTL
        cat /proc/kcore 2>/dev/null | head -c1 | grep -q . && echo KCORE
        touch /file && echo rootfs-writable; touch /usr/x 2>/dev/null && echo USR-WRITABLE
        echo hi > /dev/null && echo null-ok; ls /dev | tr '\\n' ' '; echo
        cat /etc/hostname; grep -c 10.244 /etc/hosts; cat /volume/file; touch /volume/new && echo volume-writable
        ls /proc | grep -c '^[0-9]'";
    let volume = w.home.join("volume");
    std::fs::create_dir_all(&volume)?;
    std::fs::write(volume.join("file"), "from the volume\n")?;
    let mut config = shell(script);
    config.working_dir = Some("/srv/dir".into());
    config.mounts.push(Mount {
        host_root: None,
        host_path: volume.clone(),
        sub_path: "".into(),
        container_path: "/volume".into(),
        read_only: false,
    });
    let pod = w.pod(0, "box", config).await?;
    ended(&w.nodes[0].runtime, &pod.container).await?;
    let log = w.log_of(0, &pod.container).await?;
    let out: Vec<&str> = log.lines().filter_map(|l| l.split_once(" stdout F ").map(|(_, t)| t)).collect();
    ensure(
        out.len() > 8 && out[..6] == ["0", "0", "box", "/srv/dir", "1", "home=/root secret="],
        log.clone(),
    )?;
    ensure(out[6].contains("CapEff:00000000a00425fb"), out[6])?;
    ensure(out[6].contains("NoNewPrivs:0 Seccomp:2"), out[6])?;
    for forbidden in ["MOUNTED", "UNSHARED", "SYSCTL", "KCORE", "USR-WRITABLE"] {
        ensure(!log.contains(forbidden), &log)?;
    }
    for wanted in ["rootfs-writable", "null-ok", "from the volume", "volume-writable"] {
        ensure(log.contains(wanted), format!("{wanted} is missing\n{log}"))?;
    }
    ensure(volume.join("new").exists(), "the volume is the same directory")?;

    // Another user, nothing to gain, nothing to write.
    let mut config = shell(
        "id -u; id -g; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; touch /x || echo read-only",
    );
    config.security = Security {
        run_as_user: Some(1000),
        run_as_group: Some(2000),
        no_new_privs: true,
        read_only_root: true,
        drop_capabilities: vec!["ALL".into()],
        ..Security::default()
    };
    let runtime = &w.nodes[0].runtime;
    let id = runtime.create_container(&pod.sandbox, config).await?;
    let started = runtime.start_container(&id).await;
    if w.ids == ropewalk::linux::user::Ids::Single {
        let text = started.err().map(|e| e.to_string()).unwrap_or_default();
        return ensure(text.contains("no subordinate ids"), text);
    }
    started?;
    ended(runtime, &id).await?;
    let log = w.log_of(0, &id).await?;
    for wanted in
        ["F 1000", "F 2000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "read-only"]
    {
        ensure(log.contains(wanted), format!("{wanted} is missing\n{log}"))?;
    }
    Ok(())
}

pub async fn limits(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let mut config = shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo counted; sleep 100; true");
    config.resources.memory_limit = Some(64 << 20);
    config.resources.cpu_limit_milli = Some(500);
    config.resources.cpu_shares = 102;
    config.resources.pids_limit = Some(50);
    let pod = w.pod(0, "busy", config).await?;
    w.logged(0, &pod.container, "counted").await?;
    let stats = runtime.container_stats(&pod.container).await?;
    ensure(stats.cpu_usage >= Duration::from_millis(10), format!("{stats:?}"))?;
    ensure(stats.memory_working_set > 100_000, format!("{stats:?}"))?;
    if w.cgroups.starts_with("none") {
        return Ok(()); // no limits on this machine for this user; the statistics came from /proc
    }
    let mut config = shell("tail /dev/zero");
    config.resources.memory_limit = Some(32 << 20);
    let id = runtime.create_container(&pod.sandbox, config).await?;
    runtime.start_container(&id).await?;
    let status = ended(runtime, &id).await?;
    ensure((status.exit_code, status.reason.as_str()) == (137, "OOMKilled"), format!("{status:?}"))
}

pub async fn sharing(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let mut sandbox = w.sandbox("shared");
    sandbox.share_process_namespace = true;
    let sandbox = runtime.run_pod_sandbox(sandbox).await?;
    let web = runtime.create_container(&sandbox.id, nginx()).await?;
    runtime.start_container(&web).await?;
    let mut config =
        shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; hostname; kill -KILL 1; echo still here");
    config.log_path = "look/0.log".into();
    let look = runtime.create_container(&sandbox.id, config).await?;
    runtime.start_container(&look).await?;
    ended(runtime, &look).await?;
    let log = w.log_of(0, &look).await?;
    for wanted in ["/pause", "nginx -g daemon off;", "shared", "still here"] {
        ensure(log.contains(wanted), format!("{wanted} is missing\n{log}"))?;
    }
    // The pod's own loopback, as port-forward uses it.
    let ip = sandbox.ip.ok_or("no address")?;
    drop(dial(&*w.nodes[0].network, (ip, 80)).await?);
    let mut stream = runtime.port_forward(&sandbox.id, 80).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    ensure(page.contains("Welcome to nginx!"), page)?;
    ensure(runtime.port_forward(&sandbox.id, 81).await.is_err(), "nobody listens there")?;
    runtime.remove_pod_sandbox(&sandbox.id).await?;
    // A pod in the node's own network.
    let mut sandbox = w.sandbox("hostnet");
    sandbox.host_network = true;
    let sandbox = runtime.run_pod_sandbox(sandbox).await?;
    ensure(sandbox.ip == Some(w.nodes[0].network.node_ip()), "the node's address")?;
    let web = runtime.create_container(&sandbox.id, nginx()).await?;
    runtime.start_container(&web).await?;
    let page = get(dial(&*w.nodes[1].network, (w.nodes[0].network.node_ip(), 80)).await?, "/").await?;
    ensure(page.contains("Welcome to nginx!"), page)?;
    runtime.remove_pod_sandbox(&sandbox.id).await?;
    ensure(runtime.list_containers().await?.is_empty(), "removed with the pod")
}

pub async fn stopping(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    // The first process of a PID namespace does not get a signal that it has no handler for.
    let pod = w.pod(0, "deaf", shell("sleep 100")).await?;
    let start = Instant::now();
    runtime.stop_container(&pod.container, Duration::from_secs(1)).await?;
    let took = start.elapsed();
    ensure(took > Duration::from_millis(950) && took < Duration::from_secs(3), format!("{took:?}"))?;
    let status = runtime.container_status(&pod.container).await?;
    ensure((status.exit_code, status.reason.as_str()) == (137, "Error"), format!("{status:?}"))?;
    let polite = shell("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    let pod = w.pod(0, "polite", polite).await?;
    w.logged(0, &pod.container, "ready").await?;
    runtime.stop_container(&pod.container, Duration::from_secs(10)).await?;
    let status = runtime.container_status(&pod.container).await?;
    ensure((status.exit_code, status.state) == (3, ContainerState::Exited), format!("{status:?}"))?;
    ensure(w.log_of(0, &pod.container).await?.ends_with("stdout F bye\n"), "its last words are in the log")?;
    runtime.stop_container(&pod.container, Duration::from_secs(1)).await?;
    runtime.stop_container("nobody", Duration::from_secs(1)).await?;
    Ok(())
}

pub async fn linger(w: World) -> Check {
    let stop = ropewalk::linux::signal::stop_requested()?;
    for n in 0..3 {
        w.pod(n % 2, &format!("p{n}"), nginx()).await?;
    }
    println!("RUNNING {}", serde_json::to_string(&w.pids)?);
    ensure(stop.await == "SIGTERM", "the signal that was sent")
}
