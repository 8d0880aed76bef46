use super::*;

/// Whatever is sent without rights, the records of an allowed write stay, and so does the
/// learner's own refusal.
#[test]
fn refused_requests_do_not_push_the_trace_out() {
    let tap = Tap::new();
    let request = |user: User, id: String, is_allowed: bool| {
        let mut headers = HeaderMap::new();
        headers.insert("kubectl-session", "s".parse().unwrap());
        let (path, query) = ("/api/v1/namespaces/d/pods", Query::default());
        let info = Info::parse(&http::Method::POST, path, &query);
        let ctx = Context::new(id, user, info, query, headers, tap.clone());
        ctx.stage(Event::Authenticate { groups: vec![] });
        if is_allowed {
            ctx.authorized();
        }
        ctx.answered(if is_allowed { 201 } else { 403 }, Duration::ZERO, "");
    };
    let learner = || User::new(tap::LEARNER, &[]);
    request(learner(), "allowed".into(), true);
    request(learner(), "refused".into(), false);
    for n in 0..20_000 {
        let eve = User::new("eve", &[]);
        request(if n % 2 == 0 { User::anonymous() } else { eve }, n.to_string(), false);
        request(User::service_account("d", "robot"), n.to_string(), true);
    }
    let records = tap.since(0);
    let verbs = |id: &str| {
        let own = |r: &&std::sync::Arc<Record>| r.request.as_ref().is_some_and(|r| r.id == id);
        records.iter().filter(own).map(|r| r.event.verb()).collect::<Vec<_>>()
    };
    assert_eq!(verbs("allowed"), ["authenticate", "authorize", "answer"]);
    assert_eq!(verbs("refused"), ["authenticate", "answer"]);
    assert!(records.len() < 10_000, "{}", records.len());
}

/// Whatever a person reads, the records of writes stay, and those of the few reads of others.
#[test]
fn allowed_reads_do_not_push_the_trace_out() {
    let tap = Tap::new();
    let request = |user: &str, id: &str, method: http::Method, path: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("kubectl-session", "s".parse().unwrap());
        if id == "session" {
            headers.insert("connection", "Upgrade".parse().unwrap());
        }
        let query = Query::default();
        let info = Info::parse(&method, path, &query);
        let user = User::new(user, &[]);
        let ctx = Context::new(id.into(), user, info, query, headers, tap.clone());
        ctx.stage(Event::Authenticate { groups: vec![] });
        ctx.authorized();
        ctx.answered(200, Duration::ZERO, "");
    };
    let pods = "/api/v1/namespaces/d/pods";
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    request(tap::LEARNER, "write", http::Method::POST, pods);
    request(tap::LEARNER, "read", http::Method::GET, pods);
    request("eve", "exec", http::Method::GET, "/api/v1/namespaces/d/pods/x/exec");
    let proxied = "/api/v1/namespaces/d/pods/x/proxy/page";
    request("eve", "session", http::Method::GET, proxied);
    request("eve", "sent", http::Method::POST, proxied);
    for _ in 0..15_000 {
        request("eve", "flood", http::Method::GET, pods);
        request("eve", "page", http::Method::GET, proxied);
        request("eve", "flood", http::Method::POST, reviews);
    }
    let records = tap.since(0);
    let count = |id: &str| {
        records.iter().filter(|r| r.request.as_ref().is_some_and(|request| request.id == id)).count()
    };
    assert_eq!(["write", "read", "exec", "session", "sent"].map(count), [3; 5]);
    for id in ["flood", "page"] {
        assert!(count(id) < 15_000, "{id}: {}", count(id));
    }
}

#[test]
fn a_custom_resource_is_recorded_with_its_group() {
    let qualified = |path: &str| {
        let query = Query::default();
        let info = Info::parse(&http::Method::GET, path, &query);
        let tap = Tap::new();
        let (user, headers) = (User::new("u", &[]), HeaderMap::new());
        let ctx = Context::new("r".into(), user, info, query, headers, tap.clone());
        ctx.answered(200, Duration::ZERO, "");
        tap.since(0)[0].object.as_ref().map(tap::ObjectRef::qualified).unwrap_or_default()
    };
    assert_eq!(qualified("/api/v1/namespaces/d/services/web"), "services");
    assert_eq!(qualified("/apis/apps/v1/namespaces/d/deployments/web"), "deployments");
    assert_eq!(qualified("/apis/example.com/v1/namespaces/d/services/web"), "services.example.com");
}

#[test]
fn a_command_in_a_container_is_recorded_whatever_its_client_says() {
    let is_dry_run = |path: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", "ropewalk/1".parse().unwrap());
        headers.insert("kubectl-dry-run", "1".parse().unwrap());
        let query = Query::parse(Some("dryRun=All"));
        let info = Info::parse(&http::Method::GET, path, &query);
        let (user, tap) = (User::new(tap::LEARNER, &[]), Tap::new());
        Context::new("r".into(), user, info, query, headers, tap.clone()).answered(101, Duration::ZERO, "");
        tap.since(0).pop().map(|record| record.request.clone().expect("a request").dry_run)
    };
    for part in ["exec", "attach", "portforward", "proxy"] {
        let path = format!("/api/v1/namespaces/d/pods/p/{part}");
        assert_eq!(is_dry_run(&path), Some(false), "{part} is done");
    }
    assert_eq!(is_dry_run("/api/v1/namespaces/d/pods/p"), None, "the interface looks around");
}

#[test]
fn how_much_of_a_log_was_asked_for_is_recorded() {
    let tail = |path: &str, query: &str| {
        let query = Query::parse(Some(query));
        let info = Info::parse(&http::Method::GET, path, &query);
        let tap = Tap::new();
        let user = User::new(tap::LEARNER, &[]);
        let ctx = Context::new("r".into(), user, info, query, HeaderMap::new(), tap.clone());
        ctx.answered(200, Duration::ZERO, "");
        tap.since(0).pop().expect("a record").answer().expect("an answer").tail
    };
    let log = "/api/v1/namespaces/d/pods/p/log";
    assert_eq!(
        ["tailLines=0", "tailLines=10", "follow=true"].map(|query| tail(log, query)),
        [Some(0), Some(10), None]
    );
    assert_eq!(tail("/api/v1/namespaces/d/pods/p", "tailLines=0"), None);
}

#[test]
fn the_words_of_a_command_are_recorded_whole_or_not_at_all() {
    let argv = |path: &str, query: &str| {
        let query = Query::parse(Some(query));
        let info = Info::parse(&http::Method::POST, path, &query);
        let tap = Tap::new();
        let user = User::new(tap::LEARNER, &[]);
        let ctx = Context::new("r".into(), user, info, query, HeaderMap::new(), tap.clone());
        ctx.answered(101, Duration::ZERO, "");
        let answered = tap.since(0).pop().expect("a record").answer().expect("an answer").argv.clone();
        ctx.record_led_to("exec", "d", "p", 101);
        let led_to = tap.since(0).pop().expect("a record").answer().expect("an answer").argv.clone();
        (answered, led_to)
    };
    let exec = "/api/v1/namespaces/d/pods/p/exec";
    let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
    let told = words(&["sh", "-c", "echo a b", ""]);
    let query = "command=sh&stdout=true&command=-c&command=echo+a%20b&command=";
    assert_eq!(argv(exec, query), (told.clone(), told.clone()));
    // The pod's own subresource, or a node's kubelet that runs the command.
    assert_eq!(argv("/api/v1/nodes/n/proxy/exec/d/p/c", query), (vec![], told));
    assert_eq!(argv("/api/v1/namespaces/d/pods/p/attach", query).0, words(&[]));
    let most = "x".repeat(RECORDED_TEXT_MAX - 2);
    assert_eq!(argv(exec, &format!("command=ls&command={most}")).0, words(&["ls", &most]));
    assert_eq!(argv(exec, &format!("command=ls&command={most}x")).0, words(&[]));
    let many = |count: usize| "command=&".repeat(count);
    assert_eq!(argv(exec, &many(EXEC_WORDS_MAX)).0.len(), EXEC_WORDS_MAX);
    assert_eq!(argv(exec, &many(EXEC_WORDS_MAX + 1)).0.len(), 0);
}

/// `kubectl get pods --watch-only` lists the pods, and prints only what changes.
#[test]
fn what_is_read_before_watch_only_is_recorded_as_unprinted() {
    let recorded = |query: &str| {
        let query = Query::parse(Some(query));
        let info = Info::parse(&http::Method::GET, "/api/v1/namespaces/d/pods", &query);
        let mut headers = HeaderMap::new();
        headers.insert("kubectl-watch", tap::WATCH_ONLY.parse().unwrap());
        let records = Tap::new();
        let user = User::new(tap::LEARNER, &[]);
        let ctx = Context::new("r".into(), user, info, query, headers, records.clone());
        ctx.answered(200, Duration::ZERO, "");
        let record = records.since(0).pop().expect("a record");
        let answer = record.answer().expect("an answer");
        (answer.verb.clone(), answer.unseen.clone(), answer.watch)
    };
    assert_eq!(recorded("limit=500"), ("list".to_string(), tap::UNPRINTED.to_string(), true));
    assert_eq!(recorded("watch=true"), ("watch".to_string(), String::new(), true));
}

#[test]
fn what_a_client_chooses_is_recorded_up_to_a_bound() {
    let record = |length: usize| {
        let (ascii, wide) = ("x".repeat(length), "é".repeat(length));
        let mut headers = HeaderMap::new();
        for name in ["user-agent", "kubectl-session", "kubectl-command", "kubectl-output", "kubectl-unseen"] {
            headers.insert(name, ascii.parse().unwrap());
        }
        let query = Query::parse(Some(&format!("labelSelector={wide}")));
        let path = format!("/api/v1/namespaces/{ascii}/pods/{ascii}");
        let info = Info::parse(&http::Method::GET, &path, &query);
        let tap = Tap::new();
        let ctx = Context::new("r".into(), User::new("u", &[]), info, query, headers, tap.clone());
        ctx.answered(404, Duration::ZERO, &wide);
        tap.since(0).pop().expect("a record")
    };
    let bytes = serde_json::to_vec(&*record(20_000)).unwrap().len();
    assert!(bytes < 32 << 10, "{bytes} bytes");
    // What is of a usual length stays as it is.
    let usual = record(200);
    let request = usual.request.clone().expect("a request");
    let texts = [&request.user_agent, &request.session, &request.command];
    assert!(texts.iter().all(|text| **text == "x".repeat(200)));
    assert_eq!(usual.object.clone().expect("an object").name, "x".repeat(200));
    let wide = "é".repeat(200);
    let answer = usual.answer().expect("an answer");
    assert!([&answer.message, &answer.labels, &answer.selector].iter().all(|text| **text == wide));
}

/// The head of an answer with longer ones is too long for some clients, which then do not hear that
/// their write is done.
#[test]
fn warnings_that_are_long_together_are_cut() {
    let warned = |texts: &[String]| {
        let (user, query) = (User::new("admin", &[]), Query::default());
        let info = Info::parse(&http::Method::POST, "/api/v1/namespaces/d/pods", &query);
        let ctx = Context::new("id".into(), user, info, query, HeaderMap::new(), Tap::new());
        texts.iter().for_each(|text| ctx.warn(text.as_str()));
        ctx.take_warnings()
    };
    let few: Vec<String> = (0..4).map(|n| format!("{n}{}", "x".repeat(1000))).collect();
    assert_eq!(warned(&few), few);
    // One alone has the room of all.
    let (fits, long) = (["x".repeat(4 << 10)], ["x".repeat((4 << 10) + 1)]);
    assert_eq!(warned(&fits), fits);
    assert_eq!(warned(&long), [format!("{}…", "x".repeat(256))]);
    let many: Vec<String> = (10..60).map(|n| format!("{n}{}", "한".repeat(300))).collect();
    let cut = warned(&many);
    assert!(cut.len() > 10 && cut.iter().all(|text| text.len() <= 256 + "…".len()), "{cut:?}");
    assert!(cut.iter().map(String::len).sum::<usize>() <= (4 << 10) + 256 + "…".len());
    let short: Vec<String> = (10..60).map(|n| format!("{n}{}", "x".repeat(98))).collect();
    assert_eq!(warned(&short), short[..41], "those that are short stay whole");
}
