//! Paths that a pod chooses: workingDir, command, mountPath, hostPath, /etc/passwd.

use super::own;
use super::published::PUBLISHED;
use crate::world::{Check, World, ended, ensure, shell};
use cri::{Mount, Runtime};
use std::path::Path;
use std::time::Duration;

/// No path of a pod leads out of its container.
pub(crate) async fn paths(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let secret = w.home.join("secret");
    std::fs::write(&secret, "of the host\n")?;
    let volume = w.home.join("volume");
    std::fs::create_dir_all(&volume)?;
    std::fs::write(volume.join("file"), "text\n")?;
    let sandbox = runtime.run_pod_sandbox(w.sandbox("paths")).await?.id;
    programs(&w, &sandbox, &secret).await?;
    mount_points(&w, &sandbox, &volume).await?;
    host_paths(&w, &sandbox, &secret).await?;
    masks(&w, &sandbox).await?;
    passwd(&w, &sandbox).await?;
    runtime.remove_pod_sandbox(&sandbox).await?;
    for row in PUBLISHED {
        let known = crate::TESTS.iter().any(|(name, _)| *name == row.test);
        ensure(known == row.applies && !row.why.is_empty(), format!("{} names no test", row.cve))?;
    }
    Ok(())
}

/// Working directories and programs behind descriptors, of a container and of an exec in it.
async fn programs(w: &World, sandbox: &str, secret: &Path) -> Check {
    let runtime = &w.nodes[0].runtime;
    let steal = format!("cat ../../../../../../../../../..{}; cat ..{0}; true", secret.display());
    let mut containers = Vec::new();
    for number in 0..14 {
        for path in
            [format!("/proc/self/fd/{number}"), format!("/proc/1/fd/{number}/../.."), "/proc/self/exe".into()]
        {
            let mut config = shell(&steal);
            config.working_dir = Some(path);
            containers.push((format!("cwd{}", containers.len()), config));
        }
        let mut config = shell("true");
        config.command = vec![
            format!("/proc/self/fd/{number}/../../../../../../usr/bin/cat"),
            secret.display().to_string(),
        ];
        containers.push((format!("cmd{}", containers.len()), config));
    }
    for (name, mut config) in containers {
        config.log_path = format!("{name}/0.log").into();
        let id = runtime.create_container(sandbox, config).await?;
        if runtime.start_container(&id).await.is_ok() {
            ended(runtime, &id).await?;
        }
        let log = w.log_of(0, &id).await.unwrap_or_default();
        ensure(!log.contains("of the host"), format!("{name} reached the host: {log}"))?;
        runtime.remove_container(&id).await?;
    }
    let mut config = shell("true");
    config.command = vec!["/proc/self/exe".into()];
    config.log_path = "exe/0.log".into();
    let id = runtime.create_container(sandbox, config).await?;
    ensure(runtime.start_container(&id).await.is_err(), "the program that makes containers is no command")
}

/// Mount points outside of the container, and in what must not be covered.
async fn mount_points(w: &World, sandbox: &str, volume: &Path) -> Check {
    let runtime = &w.nodes[0].runtime;
    let outside = w.home.join("outside");
    std::fs::create_dir_all(&outside)?;
    let up = |name: &str| format!("/../../..{}/{name}", outside.display());
    let refused = ["/", "/..", "/proc", "/proc/sys", "/proc/self/fd/3/x", "/tmp/../proc/1", "/link/sys"];
    for (source, at, wanted) in [
        (volume.to_path_buf(), up("directory"), true),
        (volume.join("file"), up("file"), true),
        (volume.to_path_buf(), "/proc/self/fd/5/../made".to_string(), false),
    ]
    .into_iter()
    .chain(refused.map(|at| (volume.to_path_buf(), at.to_string(), false)))
    {
        let mut config = shell("true");
        let links = w.home.join("links");
        std::fs::create_dir_all(&links)?;
        let _ = std::os::unix::fs::symlink("/proc", links.join("link"));
        config.mounts.push(own(&links, "/links"));
        config.mounts.push(own(&source, &at.replace("/link/", "/links/link/")));
        config.log_path = "mount/0.log".into();
        let id = runtime.create_container(sandbox, config).await?;
        let started = runtime.start_container(&id).await;
        ensure(started.is_ok() == wanted, format!("mountPath {at}: {started:?}"))?;
        if started.is_ok() {
            ended(runtime, &id).await?;
        }
        ensure(
            std::fs::read_dir(&outside)?.count() == 0,
            format!("mountPath {at} made something on the host"),
        )?;
        runtime.remove_container(&id).await?;
    }
    Ok(())
}

/// A node's file system in which a pod planted links.
async fn host_paths(w: &World, sandbox: &str, secret: &Path) -> Check {
    let runtime = &w.nodes[0].runtime;
    let node = w.home.join("node");
    std::fs::create_dir_all(node.join("real"))?;
    std::os::unix::fs::symlink(&w.home, node.join("evil"))?;
    std::os::unix::fs::symlink("../../../../..", node.join("up"))?;
    for (path, wanted) in [
        ("/real", true),
        ("/evil", false),
        ("/up/etc/../etc", false),
        ("/../real", true),
        ("/proc/self/root", false),
    ] {
        let mut config = shell(&format!("ls /h/real /h/secret /h{}; true", secret.display()));
        config.mounts.push(Mount { host_root: Some(node.clone()), ..own(path.as_ref(), "/h") });
        config.log_path = "host/0.log".into();
        let id = runtime.create_container(sandbox, config).await?;
        let started = runtime.start_container(&id).await;
        ensure(started.is_ok() == wanted, format!("hostPath {path}: {started:?}"))?;
        if started.is_ok() {
            ended(runtime, &id).await?;
        }
        runtime.remove_container(&id).await?;
    }
    Ok(())
}

/// Masks stay, also where a volume lies under /dev or /sys.
async fn masks(w: &World, sandbox: &str) -> Check {
    let runtime = &w.nodes[0].runtime;
    let dev = w.home.join("dev");
    std::fs::create_dir_all(&dev)?;
    std::os::unix::fs::symlink("/proc/sys/kernel/core_pattern", dev.join("null"))?;
    let mut config = shell(
        "for f in keys timer_list interrupts kcore; do [ -s /proc/$f ] && head -c1 /proc/$f | grep -q . && echo SEEN $f; done; echo '|/x' > /proc/sys/kernel/core_pattern && echo WRITTEN; echo looked",
    );
    config.mounts.push(own(&dev, "/dev"));
    config.log_path = "masks/0.log".into();
    let id = runtime.create_container(sandbox, config).await?;
    runtime.start_container(&id).await?;
    ended(runtime, &id).await?;
    let log = w.log_of(0, &id).await?;
    ensure(log.contains("looked") && !log.contains("SEEN") && !log.contains("WRITTEN"), log)
}

/// What stands where /etc/passwd should be can neither block a start nor eat memory.
async fn passwd(w: &World, sandbox: &str) -> Check {
    let runtime = &w.nodes[0].runtime;
    let etc = w.home.join("etc");
    std::fs::create_dir_all(&etc)?;
    let passwd = etc.join("passwd");
    for kind in ["fifo", "/dev/ptmx", "/dev/zero", "/proc/kmsg", "/dev/tty", "directory"] {
        match kind {
            "fifo" => nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU)?,
            "directory" => std::fs::create_dir(&passwd)?,
            target => std::os::unix::fs::symlink(target, &passwd)?,
        }
        let mut config = shell("");
        config.command = vec!["/usr/bin/true".into()]; // a shell would look its user up itself
        config.mounts.push(own(&etc, "/etc"));
        config.log_path = "passwd/0.log".into();
        let id = runtime.create_container(sandbox, config).await?;
        let started = tokio::time::timeout(Duration::from_secs(10), runtime.start_container(&id)).await;
        started.map_err(|_| format!("a start waits for {kind} as /etc/passwd"))??;
        ended(runtime, &id).await?;
        runtime.remove_container(&id).await?;
        if kind == "directory" { std::fs::remove_dir(&passwd)? } else { std::fs::remove_file(&passwd)? }
    }
    Ok(())
}
