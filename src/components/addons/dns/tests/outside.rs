//! Questions that are asked outside.

use crate::dns::message::is_answer;
use crate::dns::resolvers::{FORWARD_TIMEOUT, QUESTION_TIMEOUT, ask_udp};
use crate::dns::zone::Entry;
use crate::dns::*;
use hickory_proto::op::{Edns, Query};
use hickory_proto::rr::{Name, RecordType};
use linux::descriptors::{is_reserved, is_shortage};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn server(upstream: &[SocketAddr]) -> Server {
    Server {
        zone: CurrentZone::new(Zone { domain: "cluster.local".into(), ..Zone::default() }),
        upstream: Resolvers::new(upstream.to_vec()),
        forwards: forwards(),
        rng: Rng::seeded(1),
        tap: Tap::new(),
    }
}

fn question() -> Vec<u8> {
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii("example.org.").unwrap(), RecordType::A));
    question.to_vec().unwrap()
}

/// An answer to a question, with these bytes at its end.
fn answering(question: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut answer = [question, rest].concat();
    answer[2] |= 0x80;
    answer
}

#[test]
fn one_pod_does_not_take_all_questions_that_are_asked_outside() {
    let (forwards, pod) = (forwards(), |n: u8| std::net::IpAddr::from([10, 244, 1, n]));
    let mut held: Vec<Place> = (0..1000).map_while(|_| Place::begin(&forwards, pod(2))).collect();
    assert_eq!(held.len(), FORWARDS_MAX / 8);
    held.extend(Place::begin(&forwards, pod(3)));
    assert_eq!(held.len(), FORWARDS_MAX / 8 + 1, "another pod's question finds a place");
    // Eight pods and more ask all that they may: a pod that comes late finds a place all the
    // same.
    for n in 4..100 {
        held.extend((0..1000).map_while(|_| Place::begin(&forwards, pod(n))));
    }
    let late = Place::begin(&forwards, pod(200)).expect("a place");
    assert!(!late.end.is_cancelled());
    let asked = held.iter().filter(|place| !place.end.is_cancelled()).count();
    assert_eq!(asked + 1, FORWARDS_MAX);
}

/// A pod asks over TCP for names outside, whose server does not answer: it has as many places
/// as over UDP, and another pod has its own.
#[tokio::test]
async fn questions_over_tcp_share_the_bound_of_those_over_udp() {
    let outside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (server, question) = (server(&[outside.local_addr().unwrap()]), question());
    let pod = |n: u8| IpAddr::from([10, 244, 1, n]);
    let held: Vec<Place> = (0..1000).map_while(|_| Place::begin(&server.forwards, pod(2))).collect();
    let begun = std::time::Instant::now();
    assert_eq!(server.answer_tcp(&question, pod(2)).await, None);
    assert!(begun.elapsed() < FORWARD_TIMEOUT, "it is asked outside");
    let other = server.answer_tcp(&question, pod(3));
    let asked = tokio::time::timeout(FORWARD_TIMEOUT / 2, async {
        tokio::select! {
            _ = other => panic!("it finds no place"),
            accepted = outside.accept() => drop(accepted.unwrap()),
        }
    });
    asked.await.expect("another pod's question is asked outside");
    drop(held);
}

#[tokio::test]
async fn a_question_over_tcp_is_asked_outside_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (server, question) = (server(&[listener.local_addr().unwrap()]), question());
    let crew = Crew::new("t");
    let long = vec![7; 5000]; // more than UDP would bring
    crew.spawn(tcp::serve(listener, crew.clone(), move |asked: Vec<u8>, _| {
        let answer = answering(&asked, &long);
        async move { Some(answer) }
    }));
    let answer = server.answer_tcp(&question, IpAddr::from([10, 244, 1, 2])).await.unwrap();
    assert_eq!(answer, answering(&question, &[7; 5000]));
    crew.kill();
}

#[tokio::test]
async fn a_resolver_is_asked_over_ipv6() {
    let Ok(outside) = UdpSocket::bind("[::1]:0").await else { return }; // a kernel without IPv6
    let (upstream, question) = (outside.local_addr().unwrap(), question());
    let asked = tokio::spawn({
        let question = question.clone();
        async move { ask_udp(upstream, &question).await }
    });
    let mut buffer = [0; 512];
    let (count, from) = outside.recv_from(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..count], question);
    outside.send_to(&answering(&question, b"rest"), from).await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), answering(&question, b"rest"));
}

/// A datagram with a forged sender has to guess the id, and an old answer is for another question.
#[tokio::test]
async fn messages_that_answer_something_else_are_passed_over() {
    let outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (upstream, question) = (outside.local_addr().unwrap(), question());
    let asked = tokio::spawn({
        let question = question.clone();
        async move { ask_udp(upstream, &question).await }
    });
    let mut buffer = [0; 512];
    let (_, from) = outside.recv_from(&mut buffer).await.unwrap();
    let right = answering(&question, b"rest");
    let changed = |at: usize| {
        let mut wrong = right.clone();
        wrong[at] ^= 1;
        wrong
    };
    let mut another = Message::query();
    another.add_query(Query::query(Name::from_ascii("example.net.").unwrap(), RecordType::A));
    another.metadata.id = u16::from_be_bytes([question[0], question[1]]);
    let another = answering(&another.to_vec().unwrap(), b"");
    for wrong in [changed(0), changed(1), changed(question.len() - 3), another, question.clone(), vec![1, 2]]
    {
        outside.send_to(&wrong, from).await.unwrap();
    }
    // The header is numbers, and a byte of the id may well be the code of a letter.
    let shouted = [right[..12].to_vec(), right[12..].to_ascii_uppercase()].concat();
    outside.send_to(&shouted, from).await.unwrap();
    let found = asked.await.unwrap().unwrap();
    assert_eq!(found, shouted, "the case of letters does not matter");
    // One that did not understand the question says so without it.
    let mut failed = right[..12].to_vec();
    (failed[3], failed[5]) = (1, 0);
    assert!(is_answer(&question, &failed));
}

/// A resolver that answers the questions for which `answers` says so, until the crew ends.
async fn resolver(crew: &Crew, answers: impl Fn(&[u8]) -> bool + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    crew.spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((count, from)) = socket.recv_from(&mut buffer).await {
            if answers(&buffer[..count]) {
                let _ = socket.send_to(&answering(&buffer[..count], b""), from).await;
            }
        }
    });
    address
}

/// A resolver that counts what it is asked, and leaves the first `silent` questions unanswered.
async fn counting(crew: &Crew, asked: &Arc<AtomicUsize>, silent: usize) -> SocketAddr {
    let asked = asked.clone();
    resolver(crew, move |_| asked.fetch_add(1, Ordering::Relaxed) >= silent).await
}

/// Asks outside. Returns the answer's code and the whole seconds that it took.
async fn forward(server: &Server) -> (ResponseCode, u64) {
    let (question, begun) = (question(), tokio::time::Instant::now());
    let request = Message::from_vec(&question).unwrap();
    let reply = server.forward(&question, &request, false).await.unwrap();
    (Message::from_vec(&reply).unwrap().metadata.response_code, begun.elapsed().as_secs())
}

/// Lets the checks of resolvers go on for a while.
async fn check(server: &Server) {
    let ended = tokio_util::sync::CancellationToken::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), server.upstream.check(&ended)).await;
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_is_down_is_asked_after_the_others_until_it_answers() {
    let (crew, up) = (Crew::new("t"), Arc::new(AtomicBool::new(false)));
    let is_up = up.clone();
    let first = resolver(&crew, move |_| is_up.load(Ordering::Relaxed)).await;
    let second = resolver(&crew, |_| true).await;
    let (server, question) = (server(&[first, second]), question());
    let request = Message::from_vec(&question).unwrap();
    let found = server.forward(&question, &request, false).await;
    assert_eq!(found, Some(answering(&question, b"")));
    assert_eq!(server.upstream.in_turn(), [first, second], "one question says nothing");
    check(&server).await;
    assert_eq!(server.upstream.in_turn(), [second, first]);
    up.store(true, Ordering::Relaxed);
    server.upstream.doubt(first);
    check(&server).await;
    assert_eq!(server.upstream.in_turn(), [first, second]);
    crew.kill();
}

/// A pod may ask all the time for a name whose own servers do not answer.
#[tokio::test(start_paused = true)]
async fn a_question_without_an_answer_takes_no_resolver_away_from_the_others() {
    let (crew, question) = (Crew::new("t"), question());
    let asked = question.clone();
    let first = resolver(&crew, move |bytes| bytes.len() != asked.len()).await;
    let second = resolver(&crew, |_| true).await;
    let server = server(&[first, second]);
    let request = Message::from_vec(&question).unwrap();
    for _ in 0..5 {
        assert!(server.forward(&question, &request, false).await.is_some());
        check(&server).await;
        assert_eq!(server.upstream.in_turn(), [first, second]);
    }
    crew.kill();
}

/// A firewall may let no TCP through to it.
#[tokio::test(start_paused = true)]
async fn a_question_over_tcp_that_fails_says_nothing_about_the_resolver() {
    let crew = Crew::new("t");
    let (first, second) = (resolver(&crew, |_| false).await, resolver(&crew, |_| true).await);
    let (server, question) = (server(&[first, second]), question());
    let request = Message::from_vec(&question).unwrap();
    let failed = server.forward(&question, &request, true).await.unwrap();
    assert_eq!(Message::from_vec(&failed).unwrap().metadata.response_code, ResponseCode::ServFail);
    check(&server).await;
    assert_eq!(server.upstream.in_turn(), [first, second]);
    crew.kill();
}

/// Most networks have one resolver, and a datagram may be lost.
#[tokio::test(start_paused = true)]
async fn a_resolver_that_did_not_answer_is_asked_again() {
    let (crew, asked) = (Crew::new("t"), Arc::new(AtomicUsize::new(0)));
    let server = server(&[counting(&crew, &asked, 1).await]);
    assert_eq!(forward(&server).await, (ResponseCode::NoError, FORWARD_TIMEOUT.as_secs()));
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    crew.kill();
}

#[tokio::test(start_paused = true)]
async fn a_question_is_asked_outside_for_five_seconds_however_many_resolvers_there_are() {
    for resolvers in [1, 4] {
        let (crew, asked) = (Crew::new("t"), Arc::new(AtomicUsize::new(0)));
        let mut all = Vec::new();
        for _ in 0..resolvers {
            all.push(counting(&crew, &asked, usize::MAX).await);
        }
        let took = QUESTION_TIMEOUT.as_secs();
        assert_eq!(forward(&server(&all)).await, (ResponseCode::ServFail, took), "{resolvers}");
        assert_eq!(asked.load(Ordering::Relaxed), 3, "after 0, 2 and 4 s: {resolvers}");
        crew.kill();
    }
}

/// A second try would keep the client waiting for nothing.
#[tokio::test(start_paused = true)]
async fn resolvers_that_are_down_or_refuse_are_asked_once() {
    let (crew, asked) = (Crew::new("t"), Arc::new(AtomicUsize::new(0)));
    let silent = server(&[counting(&crew, &asked, usize::MAX).await]);
    silent.upstream.doubt(silent.upstream.in_turn()[0]);
    check(&silent).await;
    asked.store(0, Ordering::Relaxed);
    assert_eq!(forward(&silent).await, (ResponseCode::ServFail, FORWARD_TIMEOUT.as_secs()));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let refusing = server(&[SocketAddr::from((Ipv4Addr::LOCALHOST, 1))]); // tcpmux: nothing listens there
    assert_eq!(forward(&refusing).await, (ResponseCode::ServFail, 0));
    crew.kill();
}

/// A flood of connections takes every descriptor below the reserve. Questions of pods get none of
/// those, and the resolvers are not blamed for that: in a process of its own, whose limit is low.
#[tokio::test(start_paused = true)]
async fn questions_that_are_asked_outside_leave_files_their_descriptors() {
    const INSIDE: &str = "ROPEWALK_TEST_DNS_DESCRIPTORS";
    if std::env::var_os(INSIDE).is_none() {
        let test = "dns::tests::outside::questions_that_are_asked_outside_leave_files_their_descriptors";
        let ended = std::process::Command::new("sh")
            .args(["-c", "ulimit -n 200 && exec \"$@\"", "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success(), "{told}{}", String::from_utf8_lossy(&ended.stderr));
        assert!(told.contains("1 passed"), "{told}");
        return;
    }
    let (crew, asked, question) = (Crew::new("t"), Arc::new(AtomicUsize::new(0)), question());
    let (first, second) = (counting(&crew, &asked, 0).await, resolver(&crew, |_| true).await);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // the backlog takes connections
    let open = || std::fs::File::open("/dev/null").unwrap();
    let files: Vec<_> = std::iter::repeat_with(open).take_while(|file| !is_reserved(file)).collect();
    let over_tcp = tcp::ask(listener.local_addr().unwrap(), &question);
    let over_tcp = tokio::time::timeout(FORWARD_TIMEOUT, over_tcp).await.expect("it is not asked");
    for failed in [ask_udp(first, &question).await, over_tcp] {
        assert!(is_shortage(&failed.unwrap_err()));
    }
    // A check that cannot be made does not count.
    let two = server(&[first, second]);
    two.upstream.doubt(first);
    check(&two).await;
    assert_eq!(two.upstream.in_turn(), [first, second]);
    // A question that cannot be asked begins no check.
    let one = server(&[first]);
    assert_eq!(forward(&one).await, (ResponseCode::ServFail, 0));
    drop(files);
    check(&one).await;
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    assert_eq!(forward(&one).await, (ResponseCode::NoError, 0));
    crew.kill();
}

/// The client says with EDNS how much it takes, and the resolver may send as much.
#[tokio::test]
async fn a_long_answer_over_udp_is_not_cut_off() {
    let outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (upstream, question) = (outside.local_addr().unwrap(), question());
    let answer = answering(&question, &[7; 6000]);
    let asked = tokio::spawn(async move { ask_udp(upstream, &question).await });
    let (_, from) = outside.recv_from(&mut [0; 512]).await.unwrap();
    outside.send_to(&answer, from).await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap().len(), answer.len());
}

/// A resolver may cut a message in the middle of a record, and a broken one may send anything.
#[tokio::test]
async fn an_answer_that_cannot_be_read_is_no_silence() {
    let crew = Crew::new("t");
    let mut zone = Zone { domain: "cluster.local".into(), ..Zone::default() };
    let external = Entry { external_name: Some("example.org".into()), ..Entry::default() };
    zone.services.insert(("d".into(), "ext".into()), external);
    let mut question = Message::query();
    let name = Name::from_ascii("ext.d.svc.cluster.local.").unwrap();
    question.add_query(Query::query(name, RecordType::A));
    let question = question.to_vec().unwrap();
    for (flag, want) in [(0, (ResponseCode::ServFail, false, 0)), (0x02, (ResponseCode::NoError, true, 1))] {
        let outside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server =
            Server { zone: CurrentZone::new(zone.clone()), ..server(&[outside.local_addr().unwrap()]) };
        crew.spawn(async move {
            let mut buffer = [0; 512];
            let (count, from) = outside.recv_from(&mut buffer).await.unwrap();
            let mut answer = answering(&buffer[..count], b"\x07ex"); // the beginning of a name
            (answer[2], answer[7]) = (answer[2] | flag, 1); // one record
            outside.send_to(&answer, from).await.unwrap();
        });
        let Served::Outside(outside) = server.serve(&question, UDP_MAX) else { panic!("not asked outside") };
        let reply = server.ask(*outside, &question, UDP_MAX).await.expect("a reply");
        let said = Message::from_vec(&reply).unwrap();
        let told = (said.metadata.response_code, said.metadata.truncation, said.answers.len());
        assert_eq!(told, want, "truncation bit {flag:#x}");
    }
    crew.kill();
}

/// Otherwise an answer is cut to 512 bytes whatever the client takes.
#[test]
fn what_a_name_leads_to_is_asked_for_as_the_client_asks() {
    let target = Name::from_ascii("example.org.").unwrap();
    let asked = |request: &Message| Message::from_vec(&question_for(request, &target).unwrap()).unwrap();
    let mut request = Message::from_vec(&question()).unwrap();
    assert!(asked(&request).edns.is_none() && !asked(&request).metadata.checking_disabled);
    request.metadata.checking_disabled = true;
    for (allowed, wanted) in [(1232, 1232), (65535, 4096)] {
        let mut edns = Edns::new();
        edns.set_max_payload(allowed);
        request.edns = Some(edns);
        let question = asked(&request);
        assert_eq!(question.edns.unwrap().max_payload(), wanted);
        assert!(question.metadata.checking_disabled);
    }
}

#[tokio::test]
async fn a_reply_has_the_bits_that_are_copied_from_the_question() {
    let server = server(&[]); // no resolver: a question that is asked outside fails
    for name in ["nope.default.svc.cluster.local.", "example.org."] {
        for (recursion, unchecked) in [(true, false), (false, true)] {
            let mut question = Message::query();
            question.metadata.recursion_desired = recursion;
            question.metadata.checking_disabled = unchecked;
            question.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
            let pod = IpAddr::from([10, 244, 1, 2]);
            let reply = server.answer_tcp(&question.to_vec().unwrap(), pod).await.expect("a reply");
            let said = Message::from_vec(&reply).unwrap().metadata;
            let bits = (said.recursion_desired, said.checking_disabled, said.recursion_available);
            assert_eq!(bits, (recursion, unchecked, true), "{name}");
        }
    }
}
