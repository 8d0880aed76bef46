use super::*;
use crate::PodId;

fn fake() -> FakeRuntime {
    FakeRuntime::new(Ipv4Addr::new(172, 30, 0, 99), Ipv4Addr::new(10, 244, 9, 0), Rng::seeded(1))
}

fn pod(uid: &str) -> SandboxConfig {
    let pod = PodId { uid: uid.into(), name: "web".into(), ..PodId::default() };
    SandboxConfig { pod, ..SandboxConfig::default() }
}

async fn start(runtime: &FakeRuntime, name: &str) -> Result<String> {
    let sandbox = runtime.run_pod_sandbox(pod(name)).await?;
    let config = ContainerConfig { name: name.into(), image: "nginx".into(), ..Default::default() };
    let id = runtime.create_container(&sandbox.id, config).await?;
    runtime.start_container(&id).await?;
    Ok(id)
}

#[tokio::test(start_paused = true)]
async fn containers_do_what_their_script_says() {
    let runtime = fake();
    let mut events = runtime.events();
    let exit = Script::Exit { after: Duration::from_secs(30), code: 3, reason: "Error" };
    runtime.script("job", exit);
    runtime.script("deaf", Script::IgnoreStop);
    runtime.script("bad", Script::FailStart("no".into()));
    let job = start(&runtime, "job").await.unwrap();
    assert_eq!(runtime.container_status(&job).await.unwrap().state, ContainerState::Running);
    while events.recv().await.unwrap().kind != EventKind::Stopped {}
    assert_eq!(runtime.container_status(&job).await.unwrap().exit_code, 3);
    let deaf = start(&runtime, "deaf").await.unwrap();
    let before = clock::Instant::now();
    runtime.stop_container(&deaf, Duration::from_secs(30)).await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_secs(30));
    assert_eq!(runtime.container_status(&deaf).await.unwrap().exit_code, 137);
    assert!(matches!(start(&runtime, "bad").await, Err(Error::Start(_))));
    runtime.forget_image("nginx");
    assert!(matches!(start(&runtime, "web").await, Err(Error::NoImage { .. })));
    let ips: Vec<_> = runtime.list_pod_sandboxes().await.unwrap().iter().filter_map(|s| s.ip).collect();
    assert!(ips.iter().all(|ip| ip.octets()[..3] == [10, 244, 9] && ip.octets()[3] > 1), "{ips:?}");
    // One pod stays while others come and go, and its address with it.
    let stays = runtime.run_pod_sandbox(pod("stays")).await.unwrap();
    for _ in 0..300 {
        let goes = runtime.run_pod_sandbox(pod("goes")).await.unwrap();
        assert_ne!(goes.ip, stays.ip);
        runtime.remove_pod_sandbox(&goes.id).await.unwrap();
    }
    let mut others = 0..;
    while runtime.run_pod_sandbox(pod(&format!("{:?}", others.next()))).await.is_ok() {}
    assert_eq!(runtime.list_pod_sandboxes().await.unwrap().len(), 253);
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_is_removed_sends_events_of_its_containers() {
    let runtime = fake();
    let web = start(&runtime, "web").await.unwrap();
    let mut events = runtime.events();
    let sandbox = runtime.container_status(&web).await.unwrap().sandbox_id;
    runtime.remove_pod_sandbox(&sandbox).await.unwrap();
    let mut sent = Vec::new();
    while let Ok(event) = events.try_recv() {
        sent.push((event.container_id, event.kind));
    }
    let of_web = |kind| (web.clone(), kind);
    let stopped = (sandbox.clone(), EventKind::Stopped);
    assert_eq!(sent, [of_web(EventKind::Stopped), stopped, of_web(EventKind::Deleted)]);
}

#[tokio::test(start_paused = true)]
async fn what_the_runtime_refuses_is_refused() {
    let runtime = fake();
    let line = |refused: Error| refused.to_string();
    let sandbox = runtime.run_pod_sandbox(pod("u")).await.unwrap().id;
    let twin = runtime.run_pod_sandbox(pod("u")).await.map(|s| s.id).map_err(line);
    assert_eq!(twin, Err("name \"web_u_0\" is reserved: it is there".into()));
    runtime.run_pod_sandbox(SandboxConfig { attempt: 1, ..pod("u") }).await.unwrap();
    let config = ContainerConfig { name: "c".into(), image: "nginx".into(), ..Default::default() };
    let first = runtime.create_container(&sandbox, config.clone()).await.unwrap();
    let twin = runtime.create_container(&sandbox, config.clone()).await.map_err(line);
    assert_eq!(twin, Err(format!("name \"c_{sandbox}_0\" is reserved: it is there")));
    runtime.start_container(&first).await.unwrap();
    let second = runtime.create_container(&sandbox, config).await.unwrap();
    runtime.stop_pod_sandbox(&sandbox).await.unwrap();
    let why = format!("sandbox container {sandbox:?} is not running");
    assert!(matches!(runtime.start_container(&second).await, Err(Error::Start(e)) if e == why));
    let ended = runtime.container_status(&second).await.unwrap();
    assert_eq!((ended.state, ended.exit_code), (ContainerState::Exited, 128));
    assert_eq!((ended.reason, ended.message), ("StartError".into(), why));
    runtime.run_pod_sandbox(pod("u")).await.unwrap(); // the first one was stopped
}

/// A kubelet that runs a command too early or too late would pass its tests otherwise.
#[tokio::test(start_paused = true)]
async fn a_program_is_run_only_in_a_container_that_runs() {
    let runtime = fake();
    let exec = async |id: &str| {
        let request = ExecRequest { container_id: id.into(), ..ExecRequest::default() };
        runtime.exec(request).await.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(exec("c").await, Err("container c not found".into()));
    let sandbox = runtime.run_pod_sandbox(pod("u")).await.unwrap().id;
    let config = ContainerConfig { name: "c".into(), image: "nginx".into(), ..Default::default() };
    let id = runtime.create_container(&sandbox, config).await.unwrap();
    let not_running = || Err::<(), String>(format!("container {id} is not running"));
    assert_eq!(exec(&id).await, not_running());
    runtime.start_container(&id).await.unwrap();
    assert_eq!(exec(&id).await, Err("exec is not implemented by this runtime".into()));
    runtime.exec_takes(Duration::from_secs(1), Duration::ZERO);
    assert_eq!(exec(&id).await, Ok(()));
    let ends_first = async {
        clock::pause(Duration::from_millis(500)).await;
        runtime.exit(&id, 0, "Completed");
    };
    assert_eq!(tokio::join!(exec(&id), ends_first).0, not_running(), "it ended before the program began");
    assert_eq!(exec(&id).await, not_running());
}

#[tokio::test]
async fn connections_are_given_away_in_their_order_while_the_sandbox_has_a_network() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let runtime = fake();
    let sandbox = runtime.run_pod_sandbox(pod("u")).await.unwrap().id;
    for name in [1, 2] {
        let (mut test, given) = tokio::io::duplex(8);
        test.write_all(&[name]).await.unwrap();
        runtime.give_connection(given);
    }
    for name in [1, 2] {
        assert_eq!(runtime.port_forward(&sandbox, 80).await.unwrap().read_u8().await.unwrap(), name);
        runtime.end_pause_process(&sandbox); // the network stays
    }
    let refused = async |id: &str| runtime.port_forward(id, 80).await.err().map(|error| error.line());
    let nothing_listens = "failed to connect to localhost:80 inside namespace: connection refused";
    assert_eq!(refused(&sandbox).await.as_deref(), Some(nothing_listens));
    runtime.stop_pod_sandbox(&sandbox).await.unwrap();
    let why = format!("sandbox container {sandbox:?} is not running");
    assert_eq!(refused(&sandbox).await, Some(why));
    assert_eq!(refused("s").await.as_deref(), Some("sandbox s not found"));
}

#[tokio::test(start_paused = true)]
async fn a_container_that_runs_on_keeps_no_runtime() {
    let runtime = fake();
    runtime.script("job", Script::Exit { after: Duration::from_secs(3600), code: 0, reason: "Completed" });
    start(&runtime, "job").await.unwrap();
    tokio::task::yield_now().await; // its task sleeps
    let (state, mut events) = (Arc::downgrade(&runtime.state), runtime.events());
    drop(runtime);
    assert!(state.upgrade().is_none());
    assert!(matches!(events.recv().await, Err(broadcast::error::RecvError::Closed)));
}
