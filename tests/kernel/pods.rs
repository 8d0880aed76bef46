//! Pods and containers.

use crate::world::{Check, World, dial, ended, ensure, eventually, get, nginx, shell};
use cni::{HostPort, Protocol, ServiceRule};
use cri::{ContainerState, Error, ExecRequest, Mount, Runtime, SandboxState, Security};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A web pod is reached by its address, its service, its node port and the learner's loopback, and
/// ends as nginx does.
pub(crate) async fn serves_to_everybody(w: World) -> Check {
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
        all_endpoints: None,
        local_endpoints: None,
        affinity_seconds: None,
        draining: Vec::new(),
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
        affinity_seconds: None,
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

pub(crate) async fn faults(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let sandbox = runtime.run_pod_sandbox(w.sandbox("p")).await?;
    let mut config = nginx();
    config.command = vec!["no-such-program".into()];
    let id = runtime.create_container(&sandbox.id, config).await?;
    let text = runtime.start_container(&id).await.err().map(|e| e.to_string()).unwrap_or_default();
    let want = "unable to start container process: error during container init: exec: \"no-such-program\": executable file not found in $PATH: unknown";
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

/// What is remembered of pods and containers that have ended is data: thousands of them take
/// nothing of the kernel.
pub(crate) async fn ended_hold_nothing(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let taken = || -> Check<(usize, usize)> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?.lines().count();
        Ok((std::fs::read_dir("/proc/self/fd")?.count(), mounts))
    };
    let run = async |name: &str, own_users: bool| -> Check<(String, String)> {
        let mut config = w.sandbox(name);
        config.own_users = own_users;
        let sandbox = runtime.run_pod_sandbox(config).await?.id;
        let id = runtime.create_container(&sandbox, shell("echo last words")).await?;
        runtime.start_container(&id).await?;
        ended(runtime, &id).await?;
        runtime.stop_pod_sandbox(&sandbox).await?;
        Ok((sandbox, id))
    };
    // A kernel older than 6.3 and an ordinary user have no user namespaces of pods.
    let own_users = run("first", true).await.is_ok();
    for sandbox in runtime.list_pod_sandboxes().await? {
        runtime.remove_pod_sandbox(&sandbox.id).await?;
    }
    let before = taken()?;
    let mut all = Vec::new();
    for n in 0..6 {
        all.push(run(&format!("p{n}"), own_users && n % 2 == 0).await?);
    }
    // An environment is large. It goes with the process, also if the kernel does not run it.
    let resident = || -> Check<u64> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
    };
    let (sandbox, small) = (runtime.run_pod_sandbox(w.sandbox("large")).await?.id, resident()?);
    for n in 0..48 {
        let mut config = shell("true");
        config.env.push(("LARGE".into(), "x".repeat(4 << 20)));
        config.attempt = n;
        let id = runtime.create_container(&sandbox, config).await?;
        runtime.start_container(&id).await?;
        ensure(ended(runtime, &id).await?.exit_code == 255, "the kernel takes no such environment")?;
    }
    let grown = resident()?.saturating_sub(small) >> 10;
    ensure(grown < 120, format!("{grown} MiB stay of 192"))?; // the allocator keeps some
    runtime.remove_pod_sandbox(&sandbox).await?;
    eventually(Duration::from_secs(5), async || {
        let now = taken()?;
        Ok(if now == before { Ok(()) } else { Err(format!("descriptors, mounts: {before:?}, then {now:?}")) })
    })
    .await?;
    ensure(runtime.list_pod_sandboxes().await?.len() == 6, "they are remembered")?;
    for (sandbox, id) in &all {
        let status = runtime.container_status(id).await?;
        ensure((status.state, status.exit_code) == (ContainerState::Exited, 0), format!("{status:?}"))?;
        ensure(w.log_of(0, id).await?.contains("last words"), "the log is there")?;
        let groups = crate::groups_of(&w.home).into_iter().filter(|group| group.join(sandbox).exists());
        ensure(groups.count() == 0, "no control group")?;
        runtime.stop_pod_sandbox(sandbox).await?; // again
        runtime.remove_pod_sandbox(sandbox).await?;
    }
    ensure(runtime.list_containers().await?.is_empty(), "no container is left")
}

/// A program that listens and accepts nothing keeps neither the caller waiting nor a thread of the
/// runtime.
pub(crate) async fn deaf_port(w: World) -> Check {
    let listen = "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => q(127.0.0.1:81), Listen => 1) or die; $| = 1; print qq(listens\n); sleep 60'";
    let pod = w.pod(0, "deaf", shell(listen)).await?;
    w.logged(0, &pod.container, "listens").await?;
    let (begun, mut taken) = (Instant::now(), Vec::new());
    let refused = loop {
        ensure(taken.len() < 8, "its queue has an end")?;
        match w.nodes[0].runtime.port_forward(&pod.sandbox, 81).await {
            Ok(stream) => taken.push(stream),
            Err(e) => break e,
        }
    };
    ensure(
        matches!(&refused, Error::Io { cause, .. } if cause.kind() == std::io::ErrorKind::TimedOut),
        refused.line(),
    )?;
    ensure(begun.elapsed() < Duration::from_secs(15), format!("{:?}", begun.elapsed()))
}

/// What a container sees of the machine, and what it may do.
pub(crate) async fn confined(w: World) -> Check {
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

    another_user(&w, &pod.sandbox).await
}

/// Another user, nothing to gain, nothing to write.
async fn another_user(w: &World, sandbox: &str) -> Check {
    let mut config = shell(
        "id -u; id -g; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; touch /x || echo read-only; pwd
        cat /proc/sys/net/ipv4/ping_group_range
        cat /sys/fs/cgroup/pids.max && echo cgroup-seen; touch /sys/fs/cgroup/x || echo cgroup-read-only; grep ' /etc/' /proc/self/mounts",
    );
    config.working_dir = Some("/not/in/the/image".into()); // it is made before the root is read-only
    config.resources.pids_limit = Some(77);
    config.security = Security {
        run_as_user: Some(1000),
        run_as_group: Some(2000),
        no_new_privs: true,
        read_only_root: true,
        drop_capabilities: vec!["ALL".into()],
        ..Security::default()
    };
    let runtime = &w.nodes[0].runtime;
    let id = runtime.create_container(sandbox, config).await?;
    let started = runtime.start_container(&id).await;
    if w.ids == linux::user::Ids::Single {
        let text = started.err().map(|e| e.to_string()).unwrap_or_default();
        return ensure(text.contains("no subordinate ids"), text);
    }
    started?;
    ended(runtime, &id).await?;
    let log = w.log_of(0, &id).await?;
    for wanted in
        ["F 1000", "F 2000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "F read-only"]
    {
        ensure(log.contains(wanted), format!("{wanted} is missing\n{log}"))?;
    }
    for wanted in [
        "F /not/in/the/image\n",
        " /etc/hosts tmpfs rw,",
        " /etc/resolv.conf tmpfs ro,",
        " /etc/hostname tmpfs ro,",
    ] {
        ensure(log.contains(wanted), format!("{wanted} is missing\n{log}"))?;
    }
    let groups = if w.ids.rootless() { "F 0\t65535\n" } else { "F 0\t2147483647\n" };
    ensure(log.contains(groups), format!("{groups} may ping\n{log}"))?;
    let sees = log.contains("F 77\n") && log.contains("cgroup-seen");
    ensure(sees == (w.cgroups == "v2") && log.contains("cgroup-read-only"), log)?;
    groups_of_exec(w).await
}

/// They are the pod's and the image's: what a container writes to its /etc/group gives none.
async fn groups_of_exec(w: &World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let mut config = shell("echo team:x:4242:root >> /etc/group; echo joined; sleep 100");
    config.security.supplemental_groups = vec![4243];
    let pod = w.pod(0, "groups", config).await?;
    w.logged(0, &pod.container, "joined").await?;
    let command = vec!["id".into(), "-G".into()];
    let request = ExecRequest { container_id: pod.container, command, tty: false, stdin: false };
    let mut out = String::new();
    runtime.exec(request).await?.stdout.read_to_string(&mut out).await?;
    let groups: Vec<&str> = out.split_whitespace().collect();
    ensure(groups.contains(&"4243") && !groups.contains(&"4242"), out)
}

pub(crate) async fn limits(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let mut config = shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo counted; sleep 100; true");
    config.resources.memory_limit = Some(64 << 20);
    config.resources.cpu_limit_milli = Some(500);
    config.resources.cpu_shares = 102;
    config.resources.pids_limit = Some(50);
    let pod = w.pod(0, "busy", config).await?;
    w.logged(0, &pod.container, "counted").await?;
    let stats = runtime.list_container_stats().await?.remove(&pod.container).ok_or("it is not counted")?;
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
    ensure((status.exit_code, status.reason.as_str()) == (137, "OOMKilled"), format!("{status:?}"))?;
    // A limit that not even the container's own beginning fits into: it never ran, or did not get
    // far; in both cases it is said why.
    let mut config = shell("true");
    config.resources.memory_limit = Some(256 << 10);
    let id = runtime.create_container(&pod.sandbox, config).await?;
    let started = runtime.start_container(&id).await;
    let status = ended(runtime, &id).await?;
    let told = (status.exit_code, status.reason.as_str(), status.started_at.is_some());
    match started {
        Err(e) => {
            ensure(e.to_string().contains("OOM-killed (memory limit too low?)"), e.to_string())?;
            ensure(told == (128, "StartError", false), format!("{status:?}"))
        }
        Ok(()) => ensure(told == (137, "OOMKilled", true), format!("{status:?}")),
    }
}

/// A kubelet that was killed leaves a start behind; its successor starts the container once more,
/// or the node is switched off in that moment.
pub(crate) async fn starts(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let sandbox = runtime.run_pod_sandbox(w.sandbox("twice")).await?;
    let id = runtime.create_container(&sandbox.id, shell("sleep 100")).await?;
    let (first, second) = tokio::join!(runtime.start_container(&id), runtime.start_container(&id));
    ensure(first.is_ok() != second.is_ok(), format!("one of two starts: {first:?}, {second:?}"))?;
    runtime.remove_pod_sandbox(&sandbox.id).await?;
    for round in 0..12 {
        let sandbox = runtime.run_pod_sandbox(w.sandbox(&format!("off-{round}"))).await?;
        let id = runtime.create_container(&sandbox.id, shell("sleep 100")).await?;
        let stop = async {
            tokio::time::sleep(Duration::from_millis(round)).await; // another moment of the start each time
            runtime.stop_pod_sandbox(&sandbox.id).await
        };
        let (started, stopped) = tokio::join!(runtime.start_container(&id), stop);
        stopped?;
        let status = runtime.container_status(&id).await?;
        ensure(status.state == ContainerState::Exited, format!("{round}: {started:?}, {status:?}"))?;
        runtime.remove_pod_sandbox(&sandbox.id).await?;
    }
    // An old kubelet's start meets the removal by a new one.
    let sandbox = runtime.run_pod_sandbox(w.sandbox("removed")).await?;
    for round in 0..12 {
        let id = runtime.create_container(&sandbox.id, shell("sleep 100")).await?;
        let remove = async {
            for _ in 0..round {
                tokio::task::yield_now().await; // another moment each time
            }
            runtime.remove_container(&id).await
        };
        let (started, removed) = tokio::join!(runtime.start_container(&id), remove);
        removed?;
        ensure(runtime.container_status(&id).await.is_err(), format!("{round}: {started:?}"))?;
        eventually(Duration::from_secs(20), async || {
            let groups = crate::groups_of(&w.home).into_iter().map(|group| group.join(&sandbox.id).join(&id));
            let runs = groups.filter(|group| group.exists()).count() > 0;
            Ok(if runs { Err(format!("{round}: it runs, {started:?}")) } else { Ok(()) })
        })
        .await?;
    }
    runtime.remove_pod_sandbox(&sandbox.id).await?;
    ensure(runtime.list_containers().await?.is_empty(), "removed with the pods")
}

pub(crate) async fn sharing(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let mut sandbox = w.sandbox("shared");
    sandbox.share_process_namespace = true;
    (sandbox.fqdn, sandbox.fqdn_as_hostname) = (Some("s.d.n".into()), true);
    let sandbox = runtime.run_pod_sandbox(sandbox).await?;
    let web = runtime.create_container(&sandbox.id, nginx()).await?;
    runtime.start_container(&web).await?;
    let script = "echo =$(hostname)=$(cat /etc/hostname)=$HOSTNAME=; cat /etc/hosts /proc/[0-9]*/cmdline | tr '\\0' ' '; kill -KILL 1; echo still here";
    let mut config = shell(script);
    config.log_path = "look/0.log".into();
    let look = runtime.create_container(&sandbox.id, config).await?;
    runtime.start_container(&look).await?;
    ended(runtime, &look).await?;
    let log = w.log_of(0, &look).await?;
    for wanted in ["/pause", "nginx -g daemon off;", "=s.d.n=s.d.n=s.d.n=", "\ts.d.n\tshared", "still here"] {
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
    let mut config = shell("cat /etc/hosts");
    config.log_path = "hosts/0.log".into();
    let id = runtime.create_container(&sandbox.id, config).await?;
    runtime.start_container(&id).await?;
    ended(runtime, &id).await?;
    let log = w.log_of(0, &id).await?;
    let own = format!("F {}\tnode1\n", w.nodes[0].network.node_ip());
    ensure(log.contains("(host network)") && log.contains(&own) && !log.contains("hostnet\n"), log)?;
    let web = runtime.create_container(&sandbox.id, nginx()).await?;
    runtime.start_container(&web).await?;
    let page = get(dial(&*w.nodes[1].network, (w.nodes[0].network.node_ip(), 80)).await?, "/").await?;
    ensure(page.contains("Welcome to nginx!"), page)?;
    runtime.remove_pod_sandbox(&sandbox.id).await?;
    ensure(runtime.list_containers().await?.is_empty(), "removed with the pod")?;
    renewed_hosts(&w).await
}

/// What a container writes to /etc/hosts does not outlast the next start in its pod.
async fn renewed_hosts(w: &World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let pod = w.pod(0, "hosts", shell("echo 10.0.0.9 db > /etc/hosts; echo wrote; exec sleep 100")).await?;
    w.logged(0, &pod.container, "wrote").await?;
    let mut config = shell("cat /etc/hosts; echo 10.0.0.9 db >> /etc/hosts; exit 1");
    for attempt in 0..2 {
        config.log_path = format!("again/{attempt}.log").into();
        let id = runtime.create_container(&pod.sandbox, config.clone()).await?;
        runtime.start_container(&id).await?;
        ended(runtime, &id).await?;
        let log = w.log_of(0, &id).await?;
        ensure(log.contains("F 127.0.0.1\tlocalhost\n") && !log.contains("db"), log)?;
    }
    // It is the same file in all of them.
    let command = vec!["grep".into(), "-c".into(), "localhost\\|db".into(), "/etc/hosts".into()];
    let request = ExecRequest { container_id: pod.container, command, tty: false, stdin: false };
    let mut out = String::new();
    runtime.exec(request).await?.stdout.read_to_string(&mut out).await?;
    ensure(out == "3\n", out)
}

pub(crate) async fn stopping(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    // The first process of a PID namespace does not get a signal that it has no handler for.
    let pod = w.pod(0, "deaf", shell("sleep 100")).await?;
    let start = Instant::now();
    runtime.stop_container(&pod.container, Duration::from_secs(1)).await?;
    let took = start.elapsed();
    ensure(took > Duration::from_millis(950), format!("{took:?}"))?;
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
    // A second stop brings the kill nearer, and sends the stop signal no second time.
    let hasty = "n=0; trap 'n=$((n+1)); echo signal $n; [ $n -gt 1 ] && exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let pod = w.pod(0, "hasty", shell(hasty)).await?;
    w.logged(0, &pod.container, "ready").await?;
    let again = async {
        w.logged(0, &pod.container, "signal 1").await?;
        Ok::<_, crate::world::Fault>(runtime.stop_container(&pod.container, Duration::from_secs(1)).await?)
    };
    let first = runtime.stop_container(&pod.container, Duration::from_secs(50));
    let (first, again) = tokio::join!(first, again);
    first?;
    again?;
    let status = runtime.container_status(&pod.container).await?;
    let log = w.log_of(0, &pod.container).await?;
    ensure(status.exit_code == 137 && !log.contains("signal 2"), format!("{status:?}\n{log}"))
}

pub(crate) async fn linger(w: World) -> Check {
    let stop = linux::signal::stop_requested()?;
    for n in 0..3 {
        w.pod(n % 2, &format!("p{n}"), nginx()).await?;
    }
    println!("RUNNING {}", serde_json::to_string(&w.pids)?);
    ensure(stop.await == "SIGTERM", "the signal that was sent")
}
