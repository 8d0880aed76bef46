//! Sessions.

use crate::world::{Check, World, ended, ensure, eventually, shell};
use cri::{ExecRequest, Runtime, Size};
use linux::user::Ids;
use runtime::NodeRuntime;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sessions in a container: streams, a terminal, input, their ends.
pub(crate) async fn sessions(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let pod = w.pod(0, "box", shell("echo begin; sleep 100")).await?;
    let request = |script: &str, tty: bool, stdin: bool| request(&pod.container, script, tty, stdin);
    // Both streams and the exit code; it is in the container's world.
    let mut session =
        runtime.exec(request("hostname; echo $$ >&2; cat /proc/1/comm; exit 42", false, false)).await?;
    let (mut out, mut err) = (String::new(), String::new());
    session.stdout.read_to_string(&mut out).await?;
    session.stderr.as_mut().ok_or("no stderr")?.read_to_string(&mut err).await?;
    ensure(session.stdin.is_none() && ["box\nsleep\n", "box\nbash\n"].contains(&&*out), format!("{out:?}"))?;
    ensure(err.trim().parse::<i32>()? > 1, format!("{err:?}"))?;
    ensure(session.exit.await? == 42, "exit code")?;
    // Input, and its end.
    let mut session = runtime.exec(request("cat; echo over", false, true)).await?;
    let mut stdin = session.stdin.take().ok_or("no stdin")?;
    stdin.write_all(b"hello\n").await?;
    stdin.shutdown().await?;
    drop(stdin);
    let mut out = String::new();
    session.stdout.read_to_string(&mut out).await?;
    ensure(out == "hello\nover\n", format!("{out:?}"))?;
    terminal(runtime, &pod.container).await?;
    dropped(runtime, &pod.container).await?;
    // A program that is not there.
    let mut absent = request("", false, false);
    absent.command = vec!["nope".into()];
    let text = runtime.exec(absent).await.err().map(|e| e.to_string()).unwrap_or_default();
    let want = "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nope\": executable file \
                not found in $PATH: unknown";
    ensure(text == want, text)?;
    programs(&w, &pod.sandbox).await?;
    attached(&w, &pod.sandbox).await?;
    attach_ends_with_its_input(&w, &pod.sandbox).await?;
    missing_directory(&w, &pod.sandbox).await
}

fn request(container: &str, script: &str, tty: bool, stdin: bool) -> ExecRequest {
    ExecRequest {
        container_id: container.to_string(),
        command: vec!["bash".into(), "-c".into(), script.into()],
        tty,
        stdin,
    }
}

/// A session with a terminal, whose size is set from outside.
async fn terminal(runtime: &NodeRuntime, container: &str) -> Check {
    // Its size travels on another way than the input, so the shell waits for it, but not for ever.
    const TTY: &str = "tty; n=0; until [ \"$(stty size)\" = '33 99' ] || [ $n = 500 ]; do n=$((n+1)); sleep 0.01; done; \
                       stty size; read line; echo $line $TERM";
    let mut session = runtime.exec(request(container, TTY, true, true)).await?;
    session.resize.as_ref().ok_or("no resize")?.send(Size { columns: 99, rows: 33 }).await?;
    let mut out = String::new();
    while !out.contains("/dev/pts/") {
        let mut buffer = [0; 256];
        let length = session.stdout.read(&mut buffer).await?;
        ensure(length > 0, "the terminal ended early")?;
        out.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    session.stdin.as_mut().ok_or("no stdin")?.write_all(b"typed\r").await?;
    session.stdout.read_to_string(&mut out).await?;
    for wanted in ["33 99", "typed xterm"] {
        ensure(out.contains(wanted), format!("{wanted} is missing: {out:?}"))?;
    }
    ensure(session.exit.await? == 0, "exit code")
}

/// A session that is dropped ends its process.
async fn dropped(runtime: &NodeRuntime, container: &str) -> Check {
    let request = |script: &str, tty: bool, stdin: bool| request(container, script, tty, stdin);
    let session = runtime.exec(request("exec sleep 98", false, false)).await?;
    let running = |what: &'static str| {
        let request =
            request(&format!("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c '{what}'"), false, false);
        async move {
            let mut out = String::new();
            runtime.exec(request).await?.stdout.read_to_string(&mut out).await?;
            Ok::<bool, crate::world::Fault>(out.trim() != "0")
        }
    };
    ensure(running("sleep [9]8").await?, "it runs")?;
    drop(session);
    eventually(Duration::from_secs(5), async || {
        Ok(if running("sleep [9]8").await? { Err("it lives on".into()) } else { Ok(()) })
    })
    .await
}

/// Attaching: output from now on, and input to the container's own first process.
async fn attached(w: &World, sandbox: &str) -> Check {
    let runtime = &w.nodes[0].runtime;
    let mut config = shell("while read line; do echo got $line; done; echo over; exit 5");
    (config.stdin, config.stdin_once) = (true, true);
    config.log_path = "talk/0.log".into();
    let id = runtime.create_container(sandbox, config).await?;
    runtime.start_container(&id).await?;
    let mut session = runtime.attach(&id, true).await?;
    let mut stdin = session.stdin.take().ok_or("no stdin")?;
    stdin.write_all(b"one\n").await?;
    // A session that only looks takes the input from nobody, neither while it lasts nor at its end.
    let looks = runtime.attach(&id, false).await?;
    ensure(looks.stdin.is_none(), "it did not ask for the input")?;
    drop(looks);
    eventually(Duration::from_secs(5), async || {
        Ok(if w.log_of(0, &id).await?.contains("got one") { Ok(()) } else { Err("not read yet".into()) })
    })
    .await?;
    stdin.write_all(b"two\n").await?;
    drop(stdin);
    let mut out = String::new();
    session.stdout.read_to_string(&mut out).await?;
    ensure(out == "got one\ngot two\nover\n", format!("{out:?}"))?;
    ensure(session.exit.await? == 5, "exit code")?;
    ensure(ended(runtime, &id).await?.exit_code == 5, "exit code")?;
    ensure(w.log_of(0, &id).await?.matches("stdout F got").count() == 2, "the log has it too")
}

/// exec makes no working directory that is gone: it would make it as root, wherever the links of
/// the container lead.
async fn missing_directory(w: &World, sandbox: &str) -> Check {
    let runtime = &w.nodes[0].runtime;
    let mut config = shell("cd /; rm -r /opt/a; ln -s /shared /opt/a; echo moved; exec sleep 100");
    config.working_dir = Some("/opt/a/b".into());
    config.log_path = "directory/0.log".into();
    for name in ["work", "shared"] {
        let host_path = w.home.join(name);
        std::fs::create_dir(&host_path)?;
        config.mounts.push(cri::Mount {
            host_root: None,
            host_path,
            sub_path: "".into(),
            container_path: format!("/{name}").into(),
            read_only: false,
        });
    }
    let id = runtime.create_container(sandbox, config).await?;
    runtime.start_container(&id).await?;
    w.logged(0, &id, "moved").await?;
    let request = ExecRequest { container_id: id, command: vec!["pwd".into()], tty: false, stdin: false };
    let text = runtime.exec(request).await.err().map(|e| e.to_string()).unwrap_or_default();
    let want = "chdir to cwd (\"/opt/a/b\") set in config.json failed: no such file or directory: unknown";
    ensure(text.ends_with(want), text)?;
    ensure(std::fs::read_dir(w.home.join("shared"))?.count() == 0, "nothing was made in the other volume")
}

/// `echo hi | kubectl attach -i`: without `stdinOnce` the container's input stays open, and the
/// session ends with its own.
async fn attach_ends_with_its_input(w: &World, sandbox: &str) -> Check {
    let runtime = &w.nodes[0].runtime;
    for tty in [false, true] {
        let mut config = shell("while read line; do echo got $line; done; echo over");
        (config.stdin, config.stdin_once, config.tty) = (true, tty, tty); // `stdinOnce` means nothing with a terminal
        config.log_path = format!("piped-{tty}/0.log").into();
        let id = runtime.create_container(sandbox, config).await?;
        runtime.start_container(&id).await?;
        for line in ["one", "two"] {
            let mut session = runtime.attach(&id, true).await?;
            let mut stdin = session.stdin.take().ok_or("no stdin")?;
            stdin.write_all(format!("{line}\n").as_bytes()).await?;
            drop(stdin);
            let read = async {
                let mut out = Vec::new();
                session.stdout.read_to_end(&mut out).await?;
                Ok::<i32, crate::world::Fault>(session.exit.await?)
            };
            let code = tokio::time::timeout(Duration::from_secs(20), read).await;
            ensure(
                code.map_err(|_| "attach waits for the container's end")?? == 0,
                "a session that succeeded",
            )?;
            w.logged(0, &id, &format!("got {line}")).await?;
        }
        ensure(!w.log_of(0, &id).await?.contains("over"), "the container's input is open still")?;
        runtime.stop_container(&id, Duration::ZERO).await?;
    }
    Ok(())
}

/// A program that its user may not run keeps the container from starting, unless the container has
/// `DAC_OVERRIDE`. One that the kernel cannot run lets it start and end, and its output says why,
/// as with runc.
async fn programs(w: &World, sandbox: &str) -> Check {
    let runtime = &w.nodes[0].runtime;
    let scripts = w.home.join("scripts");
    std::fs::create_dir(&scripts)?;
    std::fs::set_permissions(&scripts, Permissions::from_mode(0o755))?;
    for (name, text, mode) in
        [("closed", "#!/usr/bin/bash\n", 0o744), ("lost", "#!/nowhere\n", 0o755), ("empty", "", 0o755)]
    {
        std::fs::write(scripts.join(name), text)?;
        std::fs::set_permissions(scripts.join(name), Permissions::from_mode(mode))?;
    }
    let make = async |program: &str, user: Option<u32>, dropped: &[&str]| {
        let mut config = shell("exec sleep 100");
        config.security.run_as_user = user;
        config.security.drop_capabilities = dropped.iter().map(|name| (*name).to_string()).collect();
        config.mounts.push(cri::Mount {
            host_root: None,
            host_path: scripts.clone(),
            sub_path: "".into(),
            container_path: "/scripts".into(),
            read_only: true,
        });
        let name = format!("{}-{}{}", program.replace('/', "-"), user.unwrap_or(0), dropped.concat());
        config.log_path = format!("programs/{name}.log").into();
        if !program.is_empty() {
            config.command = vec![program.to_string()];
        }
        runtime.create_container(sandbox, config).await
    };
    let mut refused = vec![("/scripts", None, "is a directory")];
    if w.ids != Ids::Single {
        refused.push(("/scripts/closed", Some(1000), "permission denied"));
        let id = make("/scripts/closed", Some(1000), &[]).await?;
        runtime.start_container(&id).await?;
        let status = ended(runtime, &id).await?;
        ensure(status.exit_code == 0, format!("{status:?}"))?;
    } // with one id there is no other user
    for (program, user, why) in refused {
        let id = make(program, user, &["ALL"]).await?;
        let text = runtime.start_container(&id).await.err().map(|e| e.to_string()).unwrap_or_default();
        ensure(text.ends_with(&format!("exec: {program:?}: {why}: unknown")), text)?;
    }
    let unrunnable =
        [("/scripts/lost", "no such file or directory"), ("/scripts/empty", "exec format error")];
    for (program, why) in unrunnable {
        let id = make(program, None, &[]).await?;
        runtime.start_container(&id).await?;
        let status = ended(runtime, &id).await?;
        ensure((status.exit_code, status.reason.as_str()) == (255, "Error"), format!("{status:?}"))?;
        let log = w.log_of(0, &id).await?;
        ensure(log.ends_with(&format!(" stderr F exec {program}: {why}\n")), log)?;
    }
    let container_id = make("", None, &[]).await?;
    runtime.start_container(&container_id).await?;
    let command = vec!["/scripts/lost".into()];
    let mut session = runtime.exec(ExecRequest { container_id, command, tty: false, stdin: false }).await?;
    let mut err = String::new();
    session.stderr.as_mut().ok_or("no stderr")?.read_to_string(&mut err).await?;
    ensure(err == "exec /scripts/lost: no such file or directory\n", err)?;
    ensure(session.exit.await? == 255, "the exit code of a command that is not run")
}

/// No container without filters has the keys of another one, nor of who started Ropewalk.
async fn keyrings(w: &World, sandbox: &str) -> Check {
    let runtime = &w.nodes[0].runtime;
    let ask = format!("perl -e 'print qq(keyring ), syscall({}, 0, -3, 0), qq(\\n)'", nix::libc::SYS_keyctl);
    let mut found = Vec::new();
    for name in ["first", "second"] {
        let mut config = shell(&ask);
        config.security.privileged = true;
        (config.name, config.log_path) = (name.into(), format!("keys-{name}/0.log").into());
        let id = runtime.create_container(sandbox, config).await?;
        runtime.start_container(&id).await?;
        ended(runtime, &id).await?;
        let log = w.log_of(0, &id).await?;
        let number = log.lines().find_map(|line| line.split_once("keyring ")?.1.parse::<i64>().ok());
        found.push(number.ok_or(log)?);
    }
    // -1 where a filter around Ropewalk forbids the question, or the kernel has no keys.
    ensure(found[0] == -1 || found[0] != found[1], format!("session keyrings {found:?}"))
}

/// What runc and containerd set in a program's environment.
pub(crate) async fn surroundings(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let passwd = w.home.join("passwd");
    std::fs::write(&passwd, "root:x:0:0::/elsewhere:/bin/sh\n")?;
    let mut config = shell("echo home=$HOME; exec sleep 100");
    config.env.extend([("HOME".into(), String::new()), ("TERM".into(), "dumb".into())]);
    let mount = |host_path: std::path::PathBuf, place: &str| cri::Mount {
        host_root: None,
        host_path,
        sub_path: "".into(),
        container_path: place.into(),
        read_only: true,
    };
    config.mounts.push(mount(passwd, "/etc/passwd"));
    let pod = w.pod(0, "env", config).await?;
    // The file is a volume, and an empty HOME is none.
    w.logged(0, &pod.container, "home=/elsewhere\n").await?;
    // A terminal of exec is another one than the container has.
    let command = vec!["printenv".into(), "HOME".into(), "TERM".into()];
    let request = ExecRequest { container_id: pod.container, command, tty: true, stdin: false };
    let mut out = String::new();
    runtime.exec(request).await?.stdout.read_to_string(&mut out).await?;
    ensure(out == "/elsewhere\r\nxterm\r\n", format!("{out:?}"))?;
    // lxcfs shows figures of a container's own over a few files of /proc, and over no other.
    let figures = w.home.join("figures");
    std::fs::write(&figures, "figures\n")?;
    for (place, may) in [("/proc/meminfo", true), ("/proc/version", false), ("/proc/self/stat", false)] {
        let mut config = shell(&format!("cat {place}"));
        config.mounts.push(mount(figures.clone(), place));
        config.log_path = format!("{}/0.log", place.replace('/', "-")).into();
        let id = runtime.create_container(&pod.sandbox, config).await?;
        let started = runtime.start_container(&id).await;
        match started {
            Ok(()) if may => {
                ended(runtime, &id).await?;
                let log = w.log_of(0, &id).await?;
                ensure(log.ends_with("stdout F figures\n"), log)?;
            }
            Err(e) if !may => ensure(e.to_string().contains("it is inside /proc"), e.to_string())?,
            other => return Err(format!("{place}: {other:?}").into()),
        }
    }
    keyrings(&w, &pod.sandbox).await
}
