use super::*;
use crate::Home;

/// `down` takes a cluster that is not running for stopped, so an error that leaves that open must
/// not read so.
#[test]
fn a_socket_that_may_not_be_used_says_nothing_about_the_cluster() {
    let place = Home::at("/h").cluster("t").unwrap();
    let of = |code: i32| not_connected(&place, std::io::Error::from_raw_os_error(code));
    for code in [libc::ENOENT, libc::ENOTDIR, libc::ECONNREFUSED, libc::ECONNRESET] {
        assert!(matches!(of(code), Error::NotRunning(_)), "{code}");
    }
    for code in [libc::EACCES, libc::EMFILE, libc::ENOMEM, libc::ELOOP] {
        assert!(matches!(of(code), Error::File { .. }), "{code}");
    }
    assert!(matches!(of(libc::EAGAIN), Error::Hangs { main: None, .. }));
}

/// A main process that is stopped: each client leaves a connection in the queue.
#[tokio::test(start_paused = true)]
async fn a_full_queue_is_waited_for_as_long_as_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let place = Home::at(dir.path()).cluster("t").unwrap();
    place.make().unwrap();
    let listener = UnixListener::bind(place.socket()).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let mut waiting = Vec::new();
    while let Ok(one) = UnixStream::connect(place.socket()).await {
        waiting.push(one);
    }
    let begun = Instant::now();
    let refused = Control::connect(&place).await.err().unwrap();
    assert!(matches!(refused, Error::Hangs { main: None, .. }), "{refused}");
    assert!(begun.elapsed() >= HELLO_PATIENCE, "a loop would never pause");
    let connecting = dial(&place, Instant::now() + HELLO_PATIENCE);
    tokio::pin!(connecting);
    assert!(futures::poll!(connecting.as_mut()).is_pending());
    let _taken = listener.accept().await.unwrap();
    connecting.await.unwrap();
}

struct Idle(tap::Tap);

impl Target for Idle {
    fn tap(&self) -> &tap::Tap {
        &self.0
    }
    fn status<'a>(&'a self, _: &'a Progress) -> BoxFuture<'a, Value> {
        Box::pin(std::future::ready(Value::Null))
    }
    fn fault(&self, _: Fault) -> BoxFuture<'_, Reply> {
        Box::pin(std::future::ready(Reply::Ok(Value::Null)))
    }
    fn network(&self) -> BoxFuture<'_, Reply> {
        Box::pin(std::future::ready(Reply::Ok(Value::Null)))
    }
    fn past(&self, _: Past) -> BoxFuture<'_, Reply> {
        Box::pin(std::future::ready(Reply::Ok(Value::Null)))
    }
    fn without(&self, guest: &str) -> Reply {
        Reply::Error(guest.into())
    }
}

/// Tells its first news when it may, and waits for further ones.
struct Newsmonger(watch::Receiver<bool>);

impl Guest for Newsmonger {
    fn name(&self) -> &'static str {
        "news"
    }
    fn start(&self, _: &Crew, _: crate::guest::Host) {}
    fn ask(&self, _: Value) -> BoxStream<'static, Reply> {
        let replies = futures::stream::unfold((self.0.clone(), true), |(mut news, is_first)| async move {
            let has_news = match is_first {
                true => news.wait_for(|may| *may).await.is_ok(),
                false => news.changed().await.is_ok(),
            };
            has_news.then_some((Reply::Ok(Value::Null), (news, false)))
        });
        replies.boxed()
    }
}

/// A served control socket, with the senders of its progress and of its guest's news.
struct Served {
    crew: Crew,
    place: Place,
    progress: watch::Sender<Progress>,
    news: watch::Sender<bool>,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

fn served() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let place = Home::at(dir.path()).cluster("t").unwrap();
    place.make().unwrap();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let (progress, seen) = watch::channel(Progress::default());
    let (news, heard) = watch::channel(true);
    let target = Arc::new(Idle(tap::Tap::new()));
    let (stop, crew) = (CancellationToken::new(), Crew::new("control"));
    let guests: Vec<Arc<dyn Guest>> = vec![Arc::new(Newsmonger(heard))];
    serve(&crew, listener, Server { target, progress: seen, stop: stop.clone(), guests });
    Served { crew, place, progress, news, stop, _dir: dir }
}

/// Returns when the sender has so many receivers.
async fn receivers<T>(sender: &watch::Sender<T>, count: usize) {
    let reached = async {
        while sender.receiver_count() != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached).await.expect("nothing waits for it");
}

fn ask_guest() -> Ask {
    Ask::Guest { name: "news".into(), question: Value::Null }
}

/// A cluster with a node that is off: `repl -c` asks for progress, and there is no news. In an
/// idle one a session follows the lesson.
#[tokio::test]
async fn nothing_is_kept_for_a_client_that_has_hung_up() {
    let Served { crew, place, progress, news, stop: _, _dir } = served();
    for asks_ahead in [false, true] {
        let mut control = Control::connect(&place).await.unwrap();
        control.ask(&Ask::Wait).await.unwrap();
        receivers(&progress, 2).await;
        if asks_ahead {
            control.write.write_all(b"{\"do\":\"status\"}\n").await.unwrap();
        }
        drop(control);
        receivers(&progress, 1).await;
        let mut control = Control::connect(&place).await.unwrap();
        control.ask(&ask_guest()).await.unwrap();
        receivers(&news, 2).await;
        if asks_ahead {
            control.write.write_all(b"{\"do\":\"status\"}\n").await.unwrap();
        }
        drop(control);
        receivers(&news, 1).await;
    }
    crew.kill();
}

/// `echo '{"do":"wait"}' | nc -U control`
#[tokio::test]
async fn a_client_that_only_sends_no_more_still_hears_the_news() {
    let Served { crew, place, progress, news: _news, stop: _, _dir } = served();
    let mut control = Control::connect(&place).await.unwrap();
    control.ask(&Ask::Wait).await.unwrap();
    control.write.shutdown().await.unwrap();
    progress.send_modify(|progress| progress.ready = true);
    let news = control.next().await.unwrap().unwrap();
    assert_eq!(news["ready"], true);
    crew.kill();
}

/// `lab start` has set up half of it when the window is closed.
#[tokio::test]
async fn a_question_to_a_guest_is_carried_out_without_the_client() {
    let Served { crew, place, progress: _progress, news, stop: _, _dir } = served();
    news.send_replace(false);
    let mut control = Control::connect(&place).await.unwrap();
    let mut line = serde_json::to_vec(&ask_guest()).unwrap();
    line.push(b'\n');
    control.write.write_all(&line).await.unwrap();
    receivers(&news, 2).await;
    drop(control);
    // A later client is served after it: by then the server has noticed the hang-up.
    Control::connect(&place).await.unwrap();
    assert_eq!(news.receiver_count(), 2, "it was given up half done");
    news.send_replace(true);
    receivers(&news, 1).await;
    crew.kill();
}

/// `down` is ended by a signal right after it has asked.
#[tokio::test]
async fn a_cluster_ends_though_the_client_that_asked_for_it_has_hung_up() {
    let Served { crew, place, progress: _progress, news: _news, stop, _dir } = served();
    let mut control = Control::connect(&place).await.unwrap();
    let mut line = serde_json::to_vec(&Ask::Stop).unwrap();
    line.push(b'\n');
    control.write.write_all(&line).await.unwrap();
    drop(control);
    tokio::time::timeout(Duration::from_secs(60), stop.cancelled()).await.expect("it goes on");
    crew.kill();
}

/// What is killed must be the cluster, not another process of its number.
#[tokio::test]
async fn a_process_is_the_main_one_only_while_the_socket_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let place = Home::at(dir.path()).cluster("t").unwrap();
    place.make().unwrap();
    let own = std::process::id() as i32;
    assert!(main_process(&place, own).await.is_none(), "there is no socket");
    let listener = UnixListener::bind(place.socket()).unwrap();
    assert!(main_process(&place, own).await.is_some());
    let mut stranger = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    assert!(main_process(&place, stranger.id() as i32).await.is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    // It has ended. A process that another test is just making still has a copy of the socket.
    let ended = std::os::fd::AsRawFd::as_raw_fd(&listener);
    nix::sys::socket::shutdown(ended, nix::sys::socket::Shutdown::Both).unwrap();
    assert!(main_process(&place, own).await.is_none(), "it has ended");
}

/// `curl` after `kubectl`, with the learner's certificate, with a token of a service account, or
/// with neither. A program that goes on in the background has typed nothing, nor has a pod's.
#[test]
fn the_last_command_is_of_kubectl_or_of_a_client_used_by_hand() {
    let tap = tap::Tap::new();
    let emit = |id: &str, user: &str, agent: &str, session: &str| {
        let mut record = tap::Record::new(tap::Event::Commit(tap::Write::CREATED));
        let [id, user, user_agent, session] = [id, user, agent, session].map(String::from);
        record.request = Some(tap::Request { id, user, user_agent, session, ..Default::default() });
        tap.emit(record);
        last_command(&tap.since(0))
    };
    let ids = |ids: &[&str]| Some(ids.iter().map(|id| id.to_string()).collect::<Vec<_>>());
    assert_eq!(emit("p", tap::LEARNER, "Python/3.13", ""), None);
    assert_eq!(emit("k1", tap::LEARNER, "kubectl/v1.35.0", "s"), ids(&["k1"]));
    assert_eq!(emit("k2", tap::LEARNER, "kubectl/v1.35.0", "s"), ids(&["k1", "k2"]));
    for (id, user) in
        [("c1", tap::LEARNER), ("c2", "system:serviceaccount:d:robot"), ("c3", "system:anonymous")]
    {
        assert_eq!(emit(id, user, "curl/8.5.0", ""), ids(&[id]));
    }
    for (id, user, agent) in [
        ("q", tap::LEARNER, "Python/3.13"),
        ("t", tap::TEACHER, "ropewalk"),
        ("n", "system:node:n", "kubelet/v1.35.0"),
    ] {
        assert_eq!(emit(id, user, agent, ""), ids(&["c3"]), "{agent}");
    }
    assert_eq!(emit("k3", "jane", "kubectl/v1.35.0", "s"), ids(&["k3"]), "another user's session");
    let mut record = tap::Record::new(tap::Event::Commit(tap::Write::CREATED));
    let (id, user) = ("i".to_string(), "system:serviceaccount:d:robot".to_string());
    let user_agent = "curl/8.5.0".to_string();
    record.request = Some(tap::Request { id, user, user_agent, inside: true, ..Default::default() });
    tap.emit(record);
    assert_eq!(last_command(&tap.since(0)), ids(&["k3"]), "a loop in a pod");
}

/// Knative's Service has the plural of the core group's.
#[test]
fn an_object_of_another_group_with_the_same_plural_is_told_apart() {
    let tap = tap::Tap::new();
    for group in ["", "serving.example.com"] {
        let mut record = tap::Record::new(tap::Event::Commit(tap::Write::CREATED));
        let named = tap::ObjectRef::new("services", "default", "web");
        record.object = Some(tap::ObjectRef { group: group.into(), ..named });
        tap.emit(record);
    }
    let mut record = tap::Record::new(tap::Event::Commit(tap::Write::CREATED));
    let named = tap::ObjectRef::new("widgets", "default", "web");
    record.object = Some(tap::ObjectRef { group: "example.com".into(), ..named });
    tap.emit(record);
    let records = tap.since(0);
    let groups = |resource: &str| -> Vec<String> {
        let found = about(&records, resource, "default", "web");
        found.iter().filter_map(|r| r.object.as_ref().map(|o| o.group.clone())).collect()
    };
    assert_eq!(groups("services"), [""]);
    assert_eq!(groups("services.serving.example.com"), ["serving.example.com"]);
    assert_eq!(groups("widgets"), ["example.com"], "the group may be left out");
    assert!(about(&records, "services", "shop", "web").is_empty());
}
