use super::*;
use crate::request::http::full;

/// The seat of a request that was let in.
fn enter(bounds: &Bounds, user: &User, info: &Info) -> Option<Arc<Seat>> {
    let seat = Seat::new(None);
    bounds.enter(user, info, &seat).ok().map(|()| seat)
}

/// The seat of a request whose body was read.
async fn read(bounds: &Bounds, user: &User, info: &Info, body: Body) -> Option<Arc<Seat>> {
    let seat = Seat::new(None);
    bounds.read(user, info, &seat, Request::new(body)).await.ok().map(|_| seat)
}

#[test]
fn all_but_health_checks_and_administrators_count() {
    let bounds = Bounds::default();
    let bob = User::new("bob", &[]);
    let info = |verb: &str, subresource: &str, path: &str| Info {
        verb: verb.into(),
        subresource: subresource.into(),
        path: path.into(),
        is_resource: path.starts_with("/api"),
        ..Info::default()
    };
    let pools = [&bounds.users, &bounds.addons, &bounds.control];
    let taken = |of: fn(&Places) -> &Arc<Pool>| pools.iter().map(|places| of(places).taken()).sum::<usize>();
    let counts = |user: &User, info: Info| {
        let _seat = enter(&bounds, user, &info).unwrap();
        taken(|places| &places.reading) == 1
    };
    assert!(
        counts(&bob, info("get", "", "/api/v1/pods/x")) && counts(&bob, info("list", "", "/api/v1/pods"))
    );
    let watch = enter(&bounds, &bob, &info("watch", "", "/api/v1/pods")).unwrap();
    let log = enter(&bounds, &bob, &info("get", "log", "/api/v1/pods/x/log")).unwrap();
    let exec = enter(&bounds, &bob, &info("create", "exec", "/api/v1/pods/x/exec")).unwrap();
    assert_eq!((bounds.users.long.taken(), bounds.users.streams.taken()), (1, 2));
    drop((watch, log, exec));
    for page in ["/healthz", "/livez", "/readyz"] {
        assert!(!counts(&bob, info("get", "", page)), "{page}");
        // What is below it counts, with whatever path the client chose.
        for below in [format!("{page}/x"), format!("{page}/"), format!("/{page}"), format!("{page}z")] {
            assert!(counts(&bob, info("get", "", &below)), "{below}");
        }
    }
    for own in ["system:kube-scheduler", "system:serviceaccount:kube-system:coredns"] {
        assert!(counts(&User::new(own, &[]), info("get", "", "/api/v1/pods/x")), "{own}");
    }
    assert!(!counts(&User::new("admin", &["system:masters"]), info("get", "", "/api/v1/pods/x")));
}

/// One user with as many slow requests as there are places takes half of them.
#[test]
fn one_user_does_not_lock_out_the_others() {
    let bounds = Bounds::default();
    let (eve, bob) = (User::new("eve", &[]), User::new("bob", &[]));
    let info = |verb: &str| Info {
        verb: verb.into(),
        path: "/api/v1/pods".into(),
        is_resource: true,
        ..Info::default()
    };
    let exec = Info { subresource: "exec".into(), ..info("create") };
    for (request, all) in [(info("list"), READING_MAX), (info("watch"), LONG_MAX), (exec, STREAMS_MAX)] {
        let held: Vec<_> = (0..all).map_while(|_| enter(&bounds, &eve, &request)).collect();
        assert_eq!(held.len(), all / 2, "{request:?}");
        assert!(enter(&bounds, &bob, &request).is_some(), "{request:?}");
        let refused = bounds.enter(&eve, &request, &Seat::new(None)).unwrap_err();
        let tells = refused.message.contains("exec") && refused.message.contains("end some");
        assert!(refused.code == 429 && tells == is_stream(&request), "{}", refused.message);
    }
}

/// Writes that are refused before they have a place, and whose refusals their client does not
/// read.
#[test]
fn refusals_that_nobody_reads_hold_places() {
    let bounds = Bounds::default();
    let eve = User::new("system:serviceaccount:a:default", &[]);
    let info = Info { verb: "create".into(), is_resource: true, ..Info::default() };
    let answer_of = |code: u16, bytes: usize| crate::request::http::json_bytes(code, vec![b'x'; bytes]);
    let refused = |code: u16| {
        let seat = enter(&bounds, &eve, &info).unwrap();
        bounds.answer(&eve, &info, &seat, answer_of(code, 4000))
    };
    // A failure of the server's own is a refusal like any other.
    for code in [403, 500] {
        let unread: Vec<_> = (0..READING_MAX / 2).map(|_| refused(code)).collect();
        assert!(unread.iter().all(|answer| answer.status() == code));
        assert_eq!(bounds.users.reading.taken(), READING_MAX / 2);
        let more = refused(code);
        assert!(more.status() == 429 && size(&more) < 500, "without a place it is short");
        // A health page says what it has to say, as long as that is short.
        let page = Info { verb: "get".into(), path: "/readyz".into(), ..Info::default() };
        for (bytes, want) in [(REFUSAL_MAX, code), (REFUSAL_MAX + 1, 429)] {
            let seat = enter(&bounds, &eve, &page).unwrap();
            assert_eq!(bounds.answer(&eve, &page, &seat, answer_of(code, bytes)).status(), want, "{bytes}");
        }
        drop((unread, more));
        assert_eq!(bounds.users.reading.taken(), 0);
    }
    // A session that is refused has not begun: its refusal is given up like any answer.
    let exec = Info { subresource: "exec".into(), ..info.clone() };
    let seat = enter(&bounds, &eve, &exec).unwrap();
    let answer = bounds.answer(&eve, &exec, &seat, answer_of(502, 4000));
    assert!(seat.patience() == Some(Patience::Answer));
    drop((answer, seat));
    // What a server in a pod answers is no refusal: more than the account may have in memory.
    let proxy = Info { subresource: "proxy".into(), ..info.clone() };
    let seat = enter(&bounds, &eve, &proxy).unwrap();
    let mut page = answer_of(404, (BODIES_KIB << 10) / 2 + 1);
    page.extensions_mut().insert(FromPod);
    let answer = bounds.answer(&eve, &proxy, &seat, page);
    assert!(answer.status() == 404 && seat.patience() == Some(Patience::Session));
    drop((answer, seat));
    // A refusal without a place is short, however JSON writes its characters and whatever its
    // details are.
    for message in ["x".repeat(100_000), "\u{1}".repeat(1000), "가".repeat(1000), String::new()] {
        let long = Status::new(403, "Forbidden", message).with(json!({"name": "x".repeat(2000)}));
        let answer = bounds.refuse(&Seat::new(None), &long, failure);
        assert!(answer.status() == 403 && (1..=REFUSAL_MAX).contains(&size(&answer)), "{}", size(&answer));
    }
}

/// Reviews of 2.9 MB that their client does not read: the memory of this account ends, and that of
/// no other.
#[tokio::test]
async fn answers_to_writes_hold_their_memory_until_they_are_read() {
    let bounds = Bounds::default();
    let (eve, bob) = (User::new("system:serviceaccount:a:default", &[]), User::new("bob", &[]));
    let info = Info { verb: "create".into(), is_resource: true, ..Info::default() };
    let mut unread = vec![];
    let bytes = vec![b'x'; 2_900_000];
    for _ in 0..1000 {
        let Some(seat) = read(&bounds, &eve, &info, full(bytes.clone())).await else { break };
        unread.push(bounds.answer(&eve, &info, &seat, crate::request::http::json_bytes(201, bytes.clone())));
    }
    assert_eq!(unread.len(), (BODIES_KIB << 10) / 2 / 2_900_000);
    assert!(bounds.users.writing.taken() == unread.len() && bounds.users.bodies.taken() > 0);
    assert!(read(&bounds, &bob, &info, full(bytes.clone())).await.is_some());
    // A read whose answer would be more is refused, a large refusal counts as well.
    let reading = Info { verb: "get".into(), is_resource: true, ..Info::default() };
    let seat = enter(&bounds, &eve, &reading).unwrap();
    let answer = bounds.answer(&eve, &reading, &seat, crate::request::http::json_bytes(422, bytes));
    assert_eq!(answer.status(), 429);
    drop((unread, answer, seat));
    assert_eq!((bounds.users.writing.taken(), bounds.users.bodies.taken()), (0, 0));
}

/// A client with a node's certificate, with a pod of kube-system, or with many users sends
/// requests that do not end: the control plane, the other nodes and the other users keep their
/// places, and the nodes' leases keep theirs.
#[tokio::test]
async fn a_flood_on_one_level_takes_nothing_from_the_others() {
    let info = |verb: &str, resource: &str| Info {
        verb: verb.into(),
        resource: resource.into(),
        path: "/api/v1/x".into(),
        is_resource: true,
        ..Info::default()
    };
    let node = |name: &str| User::new(name, &["system:nodes"]);
    let user = |name: &str| User::new(name, &[]);
    let floods: [Vec<User>; 4] = [
        (0..4).map(|n| user(&format!("user-{n}"))).collect(),
        vec![user("system:serviceaccount:kube-system:default")],
        vec![node("system:node:n1")],
        vec![user("system:kube-controller-manager")],
    ];
    for flood in &floods {
        let bounds = Bounds::default();
        let mut held = vec![];
        for from in flood {
            for verb in ["get", "watch"] {
                let (count, request) = (held.len(), info(verb, "pods"));
                held.extend((0..100_000).map_while(|_| enter(&bounds, from, &request)));
                assert!(held.len() - count < 100_000, "{}: there is no bound on {verb}", from.name);
            }
        }
        let mut whole = vec![];
        for from in flood {
            while let Some(body) = read(&bounds, from, &info("create", "pods"), full("{}")).await {
                whole.push(body);
                assert!(whole.len() < 100_000, "{}: there is no bound on writes", from.name);
            }
        }
        let is_flood = |who: &User| flood.iter().any(|from| from.name == who.name);
        let others = floods.iter().filter(|other| !std::ptr::eq(*other, flood)).flatten();
        let (n2, scheduler) = (node("system:node:n2"), user("system:kube-scheduler"));
        for other in others.chain([&n2, &scheduler]) {
            assert!(!is_flood(other));
            for verb in ["get", "watch"] {
                assert!(enter(&bounds, other, &info(verb, "pods")).is_some(), "{} {verb}", other.name);
            }
            let written = read(&bounds, other, &info("create", "pods"), full("{}")).await;
            assert!(written.is_some(), "{}", other.name);
        }
        // A component that has to renew a Lease can, even during a flood of its own.
        for keeper in [&node("system:node:n1"), &n2, &scheduler, &user("system:kube-controller-manager")] {
            assert!(enter(&bounds, keeper, &info("get", "leases")).is_some(), "{}", keeper.name);
            assert!(enter(&bounds, keeper, &info("update", "leases")).is_some(), "{}", keeper.name);
            let renewed = read(&bounds, keeper, &info("update", "leases"), full("{}")).await;
            assert!(renewed.is_some(), "{}", keeper.name);
        }
    }
}

/// Requests whose bodies never come: their number has a bound for the account, long heads count
/// more, and others are served.
#[tokio::test]
async fn requests_whose_bodies_do_not_come_hold_memory_of_their_account() {
    let bounds = Bounds::default();
    let (eve, bob) = (User::new("eve", &[]), User::new("bob", &[]));
    let info = Info { verb: "create".into(), is_resource: true, ..Info::default() };
    let asked = |head: usize| {
        let body = http_body_util::StreamBody::new(futures::stream::pending()).boxed_unsync();
        Request::builder().header("authorization", "x".repeat(head)).body(body).unwrap()
    };
    for (head, most) in [(0, 4096), (60_000, 256)] {
        let mut waiting = vec![];
        let refused = loop {
            let seat = Seat::new(None);
            let (bounds, eve, info, request) = (&bounds, &eve, &info, asked(head));
            let mut read = Box::pin(async move { bounds.read(eve, info, &seat, request).await });
            match futures::poll!(read.as_mut()) {
                std::task::Poll::Pending => waiting.push(read),
                std::task::Poll::Ready(answer) => break answer.err().map(|status| status.code),
            }
            assert!(waiting.len() < 10_000, "nothing bounds requests whose bodies do not come");
        };
        assert_eq!(refused, Some(429));
        assert!((most / 2..=most).contains(&waiting.len()), "{} with a head of {head}", waiting.len());
        assert_eq!(bounds.users.writing.taken(), 0, "they take no place of those who write");
        assert!(read(&bounds, &bob, &info, full("{}")).await.is_some());
        drop(waiting);
        assert_eq!(bounds.users.bodies.taken(), 0);
    }
}

#[tokio::test]
async fn bodies_of_one_user_take_half_of_the_memory() {
    let bounds = Bounds::default();
    let (eve, bob) = (User::new("eve", &[]), User::new("bob", &[]));
    let info = Info { verb: "create".into(), is_resource: true, ..Info::default() };
    let body = || full(vec![b' '; BODY_MAX]);
    let mut held = vec![];
    while let Some(whole) = read(&bounds, &eve, &info, body()).await {
        held.push(whole);
    }
    assert_eq!(held.len(), (BODIES_KIB << 10) / 2 / BODY_MAX);
    assert!(read(&bounds, &bob, &info, body()).await.is_some());
    drop(held);
    assert!(read(&bounds, &eve, &info, body()).await.is_some());
}
